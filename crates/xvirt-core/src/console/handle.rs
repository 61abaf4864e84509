//! The console handle.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vmm_sys_util::eventfd::EventFd;

use super::connection::ConnectionAttachment;
use super::port::ConsolePort;
use super::pty::PtyAttachment;
use super::reader::ConsoleReader;
use super::saved::ConsoleContents;
use super::shared::Shared;
use super::socket::SocketAttachment;
use super::writer::ConsoleWriter;
use crate::descriptor::Descriptor;
use crate::wait::{Ended, Wait};
use crate::{Error, ErrorKind, Result};

/// How many bytes of output a console keeps by default.
const DEFAULT_CAPACITY: usize = 1 << 20;

/// How long a blocking write waits for a guest that does not read its input.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The console of a VM: its output so far, and its input.
///
/// A clone is cheap and refers to the same console; all methods may be called from any thread. No user of the console
/// slows the guest down: output goes into a bounded ring, and readers that fall behind lose the oldest bytes and are
/// told so. The console is kept across reboots and ends with the VM. In a child of fork(2) it is closed.
///
/// Input goes only to the guest that is running when it is sent. A halted VM accepts none. Input that the guest has not
/// read when it is halted or reset is dropped, so the next boot never executes old input. The guest of a paused VM
/// reads its input once it is unpaused, and that of a suspended VM once it is resumed. If another process resumes the
/// VM, its console has the newest 64 KiB of the output, and the input that the guest had not read at the suspend.
///
/// ```no_run
/// # fn example(vm: &xvirt_core::vm::Vm) -> xvirt_core::Result<()> {
/// use std::time::Duration;
///
/// let mut reader = vm.console().reader(); // from the first byte
/// reader.wait_for("login:", Duration::from_secs(60))?;
/// vm.console().write_all(b"root\n")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

impl Console {
    /// A console that keeps the newest 1 MiB of output; memory is allocated as output arrives.
    ///
    /// # Errors
    /// `OutOfDescriptors`.
    pub fn new() -> Result<Self> {
        Self::with_capacity(DEFAULT_CAPACITY)
    }

    /// A console that keeps the newest `capacity` bytes of output.
    ///
    /// # Errors
    /// `OutOfDescriptors`.
    pub fn with_capacity(capacity: usize) -> Result<Self> {
        Ok(Self { shared: Arc::new(Shared::new(capacity)?) })
    }

    /// A reader that starts at the VM's first byte of output (or at the oldest byte still kept: see
    /// [`ConsoleReader::lost`]).
    pub fn reader(&self) -> ConsoleReader {
        ConsoleReader::new(Arc::clone(&self.shared), 0)
    }

    /// A reader that sees only new output.
    pub fn reader_at_end(&self) -> ConsoleReader {
        let end = self.shared.lock().map_or(0, |state| state.ring.end());
        ConsoleReader::new(Arc::clone(&self.shared), end)
    }

    /// Sends `bytes` as input. Up to 64 KiB wait for the guest; beyond that, this blocks until the guest reads. It waits
    /// at most 10 s.
    ///
    /// # Errors
    /// `Timeout` if the guest did not read in time (the message says how many bytes were accepted), `InvalidState` if
    /// the VM is halted, or is halted or reset while this waits, `Gone` if the console is closed.
    pub fn write_all(&self, bytes: &[u8]) -> Result<()> {
        self.write_all_timeout(bytes, WRITE_TIMEOUT)
    }

    /// Like [`write_all`](Self::write_all), with a timeout.
    ///
    /// # Errors
    /// As [`write_all`](Self::write_all).
    pub fn write_all_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<()> {
        let wait = Wait::at_most(timeout);
        let boot = self.shared.boot()?;
        let mut written = 0;
        while written < bytes.len() {
            let accepted = self.shared.input(&bytes[written..], boot, wait)?;
            written += accepted.map_err(|ended| guest_does_not_read(ended, written, bytes.len(), timeout))?;
        }
        Ok(())
    }

    /// Sends as much of `bytes` as there is room for, without waiting; returns how many bytes, possibly 0. A
    /// [`writer`](Self::writer) can also tell when there is room again.
    ///
    /// # Errors
    /// `InvalidState` if the VM is halted, `Gone` if the console is closed.
    pub fn try_write(&self, bytes: &[u8]) -> Result<usize> {
        self.shared.try_input(bytes, self.shared.boot()?, None)
    }

    /// A writer for an event loop, which tells when there is room for more input.
    ///
    /// # Errors
    /// `OutOfDescriptors`; `InvalidState` in a child of fork(2).
    pub fn writer(&self) -> Result<ConsoleWriter> {
        ConsoleWriter::new(Arc::clone(&self.shared))
    }

    /// Opens a pseudo-terminal whose other end can be opened by path, for example by `screen` or `minicom`. Its output
    /// starts with the oldest byte kept. Input is dropped while the VM is halted. One thread serves it until the
    /// attachment is dropped.
    ///
    /// # Errors
    /// `NotFound` or `Io` if the host cannot provide a pseudo-terminal.
    pub fn attach_pty(&self) -> Result<PtyAttachment> {
        PtyAttachment::new(&self.shared)
    }

    /// Listens on a Unix socket at `path` (mode 0600). Up to 32 clients at a time may connect. Each gets the output
    /// from the oldest byte kept, and may send input, which is dropped while the VM is halted. A stale socket file on
    /// which no process listens is replaced. One thread serves all clients until the attachment is dropped.
    ///
    /// # Errors
    /// `Busy` if a process listens there, `AlreadyExists` if the path is something other than a socket, `InvalidConfig`
    /// if the path is too long for a socket address, `NotFound` or `PermissionDenied` because of its folder.
    pub fn attach_unix_socket(&self, path: impl AsRef<Path>) -> Result<SocketAttachment> {
        SocketAttachment::new(&self.shared, path.as_ref())
    }

    /// Serves the peer of a connected unix stream socket, which becomes non-blocking: it gets the output from the oldest
    /// byte kept, and may send input, which is dropped while the VM is halted. One thread serves it until the peer hangs
    /// up, the console is closed or the attachment is dropped. A peer that does not read loses the oldest output, and
    /// is told so.
    ///
    /// # Errors
    /// `InvalidConfig` if it is not a unix stream socket, `OutOfDescriptors`.
    pub fn attach_connection(&self, connection: impl Into<Descriptor>) -> Result<ConnectionAttachment> {
        ConnectionAttachment::new(&self.shared, &connection.into())
    }

    /// Closes the console permanently, as dropping its VM does: readers get the remaining output and then end of file,
    /// input is refused. Closing it twice has no effect.
    pub fn close(&self) {
        self.shared.close();
    }
}

impl Console {
    /// The console of a VM that is halted.
    pub(crate) fn powered_off() -> Result<Self> {
        let console = Self::new()?;
        console.power_off();
        Ok(console)
    }

    /// The event that tells the device of input, for other backends that the same device serves.
    pub(crate) fn device_event(&self) -> Arc<EventFd> {
        Arc::clone(&self.shared.input_event)
    }

    /// Attaches a new guest, which receives no input that was sent before.
    pub(crate) fn power_on(&self) {
        self.shared.power_on();
    }

    /// The newest output, and the input that the guest has not taken.
    pub(crate) fn contents(&self) -> ConsoleContents {
        self.shared.contents()
    }

    /// Goes on from the contents of another console, for the same guest. This console is new.
    pub(crate) fn go_on_from(&self, contents: ConsoleContents) {
        self.shared.go_on_from(contents);
    }

    /// Attaches the guest after a reset, which receives no input that was sent before.
    pub(crate) fn reset(&self) {
        self.shared.reset();
    }

    /// Detaches the guest. Input that it has not read is dropped.
    pub(crate) fn power_off(&self) {
        self.shared.power_off();
    }
}

impl ConsolePort for Console {
    fn output(&self, bytes: &[u8]) {
        self.shared.output(bytes);
    }

    fn read_input(&self, buf: &mut [u8]) -> usize {
        self.shared.take_input(buf)
    }

    fn input_event(&self) -> &EventFd {
        &self.shared.input_event
    }
}

/// Blocks like [`Console::write_all`].
impl io::Write for Console {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Blocks like [`Console::write_all`].
impl io::Write for &Console {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let wait = Wait::at_most(WRITE_TIMEOUT);
        let not_read = |ended| guest_does_not_read(ended, 0, buf.len(), WRITE_TIMEOUT);
        match self.shared.boot().and_then(|boot| self.shared.input(buf, boot, wait)) {
            Ok(Ok(n)) => Ok(n),
            Ok(Err(Ended::TooLate)) => Err(io::Error::new(io::ErrorKind::TimedOut, not_read(Ended::TooLate))),
            Ok(Err(Ended::Cancelled)) => Err(io::Error::other(not_read(Ended::Cancelled))),
            Err(error) => Err(io::Error::new(io::ErrorKind::BrokenPipe, error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

fn guest_does_not_read(ended: Ended, written: usize, total: usize, timeout: Duration) -> Error {
    let accepted = format!("{written} of {total} bytes were accepted");
    match ended {
        Ended::TooLate => {
            let what = format!("the guest does not read its console: {accepted} in {timeout:?}");
            Error::new(ErrorKind::Timeout, what)
                .with_remedy("check that the VM is running and reads its console, or use try_write")
        }
        Ended::Cancelled => {
            let what = format!("the wait for the guest to read its console was cancelled: {accepted}");
            Error::new(ErrorKind::Cancelled, what)
        }
    }
}
