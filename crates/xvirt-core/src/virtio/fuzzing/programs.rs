//! Host programs that talk to a vsock device.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::virtio::port_path;

/// The host port at which a program listens.
const PORT: u32 = 1;
/// The most programs that are connected at once.
const MAX: usize = 8;

/// Programs to which the guest connects, and programs that connect to the guest.
#[derive(Debug)]
pub(super) struct Programs {
    path: PathBuf,
    listener: UnixListener,
    connected: Vec<UnixStream>,
}

impl Programs {
    pub(super) fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("xvirt-fuzz-{}-{number}", std::process::id()));
        // A crashed process with the same id may have left one.
        let _ = fs::remove_file(port_path(&path, PORT));
        let listener = UnixListener::bind(port_path(&path, PORT)).expect("a socket can be made");
        listener.set_nonblocking(true).expect("it is a socket");
        Self { path, listener, connected: Vec::new() }
    }

    /// The path of the device's socket.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Performs one action: the first byte selects it, and the rest is its data.
    pub(super) fn act(&mut self, bytes: &[u8]) {
        if self.connected.len() < MAX
            && let Ok((program, _)) = self.listener.accept()
        {
            self.keep(program);
        }
        let [choice, contents @ ..] = bytes else { return };
        let which = usize::from(choice >> 3).checked_rem(self.connected.len());
        match (choice & 7, which) {
            (0, _) => self.ask(contents),
            (1, _) => self.ask(format!("CONNECT {}\n", contents.len()).as_bytes()),
            (2, Some(which)) => drop(self.connected.swap_remove(which)),
            // Fails if the guest has closed the connection already.
            (3, Some(which)) => drop(self.connected[which].shutdown(std::net::Shutdown::Write)),
            (4 | 5, Some(which)) => drop(self.connected[which].write(contents)),
            (_, Some(which)) => drop(self.connected[which].read(&mut [0; 4096])),
            (_, None) => {}
        }
    }

    /// Connects to the device if it accepts, and sends `line`.
    fn ask(&mut self, line: &[u8]) {
        if self.connected.len() < MAX
            && let Ok(mut program) = UnixStream::connect(&self.path)
        {
            let _ = program.write(line);
            self.keep(program);
        }
    }

    fn keep(&mut self, program: UnixStream) {
        program.set_nonblocking(true).expect("it is a socket");
        self.connected.push(program);
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_file(port_path(&self.path, PORT));
    }
}
