//! The driver-visible side of a vsock device.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use vmm_sys_util::epoll::Epoll;

use super::handler::VsockHandler;
use super::table::Table;
use crate::descriptor::Descriptor;
use crate::sandbox::Work;
use crate::socket::{self, SocketFile};
use crate::sync::lock;
use crate::virtio::device::read_config_bytes;
use crate::virtio::{DeviceKind, DeviceState, Handler, VirtioDevice, VsockState};
use crate::{Error, Result};

const QUEUE_SIZES: [u16; 3] = [128, 128, 16];
pub(super) const RECEIVE: usize = 0;
pub(super) const TRANSMIT: usize = 1;
pub(super) const EVENT: usize = 2;

/// `VIRTIO_VSOCK_F_STREAM` (virtio 1.2, section 5.10.3).
const STREAMS: u64 = 1 << 0;

/// A virtio socket device.
#[derive(Debug)]
pub(crate) struct Vsock {
    state: VsockState,
    path: PathBuf,
    // Dropped in this order: the socket file is removed while the listener still exists. A listener from the program
    // has no such file.
    _file: Option<SocketFile>,
    listener: Arc<UnixListener>,
    /// The `epoll` that watches connections.
    epoll: SharedEpoll,
    /// The driver has connections that did not survive a restore, and does not know it yet.
    moved: AtomicBool,
}

/// The `epoll` of a device, while no handler owns it.
pub(super) type SharedEpoll = Arc<Mutex<Option<Epoll>>>;

impl Vsock {
    /// Builds the device of `state`, which listens for host programs at `path`. `moved` means that the state was saved
    /// elsewhere; the driver is then told that its connections are gone.
    ///
    /// # Errors
    /// Another listener uses `path`, or the socket cannot be created.
    pub(crate) fn new(path: &Path, state: VsockState, moved: bool) -> Result<Self> {
        let (listener, file) = socket::listen_at(path, "vsock socket")?;
        Self::with(path, listener, Some(file), state, moved)
    }

    /// Like [`new`](Self::new), with a listener from the program. `path` is only used for connections from the guest.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) if it is not a listening unix stream socket.
    pub(crate) fn with_listener(path: &Path, listener: &Descriptor, state: VsockState, moved: bool) -> Result<Self> {
        Self::with(path, socket::given_listener(listener, "a vsock socket")?, None, state, moved)
    }

    fn with(
        path: &Path,
        listener: UnixListener,
        file: Option<SocketFile>,
        state: VsockState,
        moved: bool,
    ) -> Result<Self> {
        let epoll = Arc::new(Mutex::new(Some(Epoll::new().map_err(no_epoll)?)));
        let (path, listener, moved) = (path.to_owned(), Arc::new(listener), AtomicBool::new(moved));
        Ok(Self { state, path, _file: file, listener, epoll, moved })
    }
}

impl VirtioDevice for Vsock {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Vsock
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn features(&self) -> u64 {
        STREAMS
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        read_config_bytes(&self.state.guest_cid.to_le_bytes(), offset, data);
    }

    fn activate(&self, _: u64) -> Result<Box<dyn Handler>> {
        // The epoll is absent if the previous handler panicked.
        let epoll = lock(&self.epoll).take().map_or_else(Epoll::new, Ok).map_err(no_epoll)?;
        let (path, listener) = (self.path.clone(), Arc::clone(&self.listener));
        let table = Table::new(self.state.guest_cid, path, listener, epoll).map_err(no_epoll)?;
        let reset_event = self.moved.swap(false, Ordering::Relaxed);
        let epoll = Arc::clone(&self.epoll);
        Ok(Box::new(VsockHandler::new(self.state.guest_cid, table, epoll, reset_event)))
    }

    fn save(&self) -> DeviceState {
        DeviceState::Vsock(self.state.clone())
    }

    fn work(&self) -> Option<Work> {
        Some(Work::Sockets)
    }
}

fn no_epoll(error: io::Error) -> Error {
    Error::io("cannot watch a vsock device's sockets", error)
}
