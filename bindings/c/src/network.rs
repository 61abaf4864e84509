//! Networks that the program implements, and connections that carry frames.

use std::ffi::c_void;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use xvirt_core::net::FrameStream;
use xvirt_core::{Error, ErrorKind, Result};

use crate::call::entry;
use crate::error::{XvirtError, XvirtStatus};
use crate::functions::XvirtFrameStream;
use crate::handle::{free, given, put_handle};
use crate::input::{At, Plain, argument, bytes, invalid, owned, sized};
use crate::output::out;

/// The largest frame: an IP packet with its Ethernet header and VLAN tag.
const MAX_FRAME: usize = 65_535 + 18;

/// What a network does that the program implements.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtNetworkOperations {
    /// The size of this struct, which the caller sets.
    pub struct_size: usize,
    /// Gets each Ethernet frame that the guest sends, without the checksum at its end. It is called on a thread of the
    /// network, one call at a time; different networks call it at once. The frame is gone when it has returned. It may
    /// call xvirt_network_send(). Required.
    pub transmit: Option<extern "C" fn(user_data: *mut c_void, frame: *const u8, length: usize)>,
    /// Called once, when `transmit` will never be called again. It may be NULL.
    pub release: Option<extern "C" fn(user_data: *mut c_void)>,
    /// What the functions get.
    pub user_data: *mut c_void,
}

// SAFETY: a number, and pointers to functions that are what the caller says.
unsafe impl Plain for XvirtNetworkOperations {}

/// The program's functions and data, on their way to the thread of the network.
struct Program(XvirtNetworkOperations);

// SAFETY: the program promises that its functions may be called on another thread with its data.
unsafe impl Send for Program {}

impl Program {
    /// Not by dropping it: a network that cannot be created leaves the data to the caller.
    fn release(self) {
        if let Some(release) = self.0.release {
            release(self.0.user_data);
        }
    }
}

/// A network that the program implements, for one NIC.
///
/// Several threads may use it at once. Free it with xvirt_network_free() when no call uses it any more.
pub struct XvirtNetwork {
    ours: std::sync::Arc<FrameStream>,
    socket: UnixStream,
    theirs: Mutex<Option<FrameStream>>,
    ends: std::sync::Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl XvirtNetwork {
    fn new(operations: XvirtNetworkOperations) -> Result<Self> {
        let failed = |error| Error::io("cannot create a network", error);
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let socket = ours.try_clone().map_err(failed)?;
        let (watched, ends) = (ours.try_clone().map_err(failed)?, std::sync::Arc::new(AtomicBool::new(false)));
        let ours = std::sync::Arc::new(FrameStream::new(ours)?);
        let theirs = Mutex::new(Some(FrameStream::new(theirs)?));
        let (program, stream, end) = (Program(operations), std::sync::Arc::clone(&ours), std::sync::Arc::clone(&ends));
        let thread = thread::Builder::new()
            .name("xvirt-network".to_owned())
            .spawn(move || {
                carry(&program, &stream, &watched, &end);
                program.release();
            })
            .map_err(failed)?;
        Ok(Self { ours, socket, theirs, ends, thread: Some(thread) })
    }
}

impl Drop for XvirtNetwork {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // It can only fail if the other side has closed the connection, and then the thread ends as well.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Hands the guest's frames to the program until the connection ends.
fn carry(program: &Program, stream: &FrameStream, socket: &UnixStream, ends: &AtomicBool) {
    let Some(transmit) = program.0.transmit else { return };
    let mut frame = vec![0; MAX_FRAME];
    while !ends.load(Ordering::Relaxed) {
        match stream.receive(&mut frame) {
            Ok(length) => transmit(program.0.user_data, frame.as_ptr(), length.min(frame.len())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // A signal only makes it look again.
                let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], None);
            }
            Err(_) => return,
        }
    }
}

/// Makes a network that the program implements. If the call succeeds, `release` is called once in the end.
///
/// Free `network` with xvirt_network_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_network_new(
    operations: *const XvirtNetworkOperations,
    network: Option<&mut *mut XvirtNetwork>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let network = out(network, ptr::null_mut(), "network")?;
        // SAFETY: the caller passes NULL or what the header asks for.
        let operations = argument(unsafe { sized(operations, &At::root("operations")) }?, "operations")?;
        argument(operations.transmit, "operations.transmit")?;
        put_handle(network, XvirtNetwork::new(operations)?);
        Ok(())
    })
}

/// The guest's end of the network, for the `connection` of an XvirtNicBackendConfig. It can be taken once.
///
/// Free `frame_stream` with xvirt_frame_stream_free(); a VM that got it keeps it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_network_frame_stream(
    network: Option<&XvirtNetwork>,
    frame_stream: Option<&mut *mut XvirtFrameStream>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let frame_stream = out(frame_stream, ptr::null_mut(), "frame_stream")?;
        let network = given(network, "network")?;
        let mut theirs = network.theirs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let stream = theirs.take().ok_or_else(|| {
            Error::new(ErrorKind::InvalidState, "the guest's end of this network was taken already")
                .with_remedy("make a network for each NIC")
        })?;
        put_handle(frame_stream, XvirtFrameStream(std::sync::Arc::new(stream)));
        Ok(())
    })
}

/// Sends an Ethernet frame to the guest, without the checksum at its end.
///
/// Errors: XVIRT_STATUS_BUSY if the guest has not taken earlier frames yet; a network drops the frame then.
/// XVIRT_STATUS_GONE if the VM was freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_network_send(
    network: Option<&XvirtNetwork>,
    frame: *const u8,
    length: usize,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let network = given(network, "network")?;
        // SAFETY: the caller passes NULL or a frame of this length.
        let frame = argument(unsafe { bytes(frame, length, &At::root("frame")) }?, "frame")?;
        send(&network.ours, &frame)
    })
}

/// Frees a network, which disconnects its NIC. It waits for the end of `transmit`, so it must not be called there. NULL
/// is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_network_free(network: Option<Box<XvirtNetwork>>) {
    free(network);
}

/// Makes a connection that carries frames from a connected unix stream socket, which is duplicated. Each frame is preceded
/// by its length, four bytes in network order.
///
/// Free `frame_stream` with xvirt_frame_stream_free(); a VM that got it keeps it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_frame_stream_new(
    socket: std::ffi::c_int,
    frame_stream: Option<&mut *mut XvirtFrameStream>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let frame_stream = out(frame_stream, ptr::null_mut(), "frame_stream")?;
        let stream = FrameStream::new(owned(socket, "socket")?.into())?;
        put_handle(frame_stream, XvirtFrameStream(std::sync::Arc::new(stream)));
        Ok(())
    })
}

/// Sends one frame. Errors: as for xvirt_network_send().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_frame_stream_send(
    frame_stream: Option<&XvirtFrameStream>,
    frame: *const u8,
    length: usize,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let stream = given(frame_stream, "frame_stream")?;
        // SAFETY: the caller passes NULL or a frame of this length.
        let frame = argument(unsafe { bytes(frame, length, &At::root("frame")) }?, "frame")?;
        send(&stream.0, &frame)
    })
}

/// Receives one frame, without waiting. `length` gets its length, or 0 if there is none.
///
/// Errors: XVIRT_STATUS_GONE if the other side has closed the connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_frame_stream_receive(
    frame_stream: Option<&XvirtFrameStream>,
    buffer: *mut u8,
    size: usize,
    length: Option<&mut usize>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let length = out(length, 0, "length")?;
        let stream = given(frame_stream, "frame_stream")?;
        if buffer.is_null() || isize::try_from(size).is_err() {
            return Err(invalid("buffer is NULL"));
        }
        let mut frame = vec![0; size.min(MAX_FRAME)];
        match stream.0.receive(&mut frame) {
            Ok(received) => {
                let received = received.min(frame.len());
                // SAFETY: the caller's buffer has `size` bytes, which are at least as many.
                unsafe { ptr::copy_nonoverlapping(frame.as_ptr(), buffer, received) };
                *length = received;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(lost(error)),
        }
    })
}

fn send(stream: &FrameStream, frame: &[u8]) -> Result<()> {
    stream.send(|bytes| bytes.extend_from_slice(frame)).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::new(ErrorKind::Busy, "the guest has not taken earlier frames yet"),
        io::ErrorKind::InvalidInput => invalid(format!("a frame of {} bytes is too large", frame.len())),
        _ => lost(error),
    })
}

fn lost(error: io::Error) -> Error {
    Error::new(ErrorKind::Gone, "the connection for frames has ended").because(error)
}
