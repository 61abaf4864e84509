//! The terminal of a guest: every key goes to it, except Ctrl-], which leaves.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use hyper_util::rt::TokioIo;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::name::Found;
use crate::vms::shown;

/// Ctrl-].
const LEAVE: u8 = 0x1d;

/// Connects this terminal to the console of a VM, until the guest or the user ends that.
///
/// If standard input is no terminal, it is sent to the guest, whose output is printed until the console ends.
pub async fn attach(client: &Client, vm: &Found) -> Result<()> {
    let what = format!("the console of {}", shown(&vm.record));
    let failed = |error: io::Error| Failure::new(&what, error);
    let console =
        client.console(&vm.reference).await.map_err(|failure| failure.doing(format!("cannot connect to {what}")))?;
    let (mut output, mut input) = tokio::io::split(TokioIo::new(console));
    let listen = |kind| signal(kind).map_err(failed);
    let (mut terminate, mut hangup) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    let terminal = Raw::enter();
    if terminal.is_some() {
        eprint!("Connected to {what}. Ctrl-] leaves.\r\n");
    }
    let mut keys = keys(terminal.is_some());
    let mut buffer = vec![0; 4096];
    let mut typing = true;
    let ended = loop {
        tokio::select! {
            read = output.read(&mut buffer) => match read {
                Ok(0) => break "The console has ended.",
                Ok(length) => print(buffer.get(..length).unwrap_or_default()).map_err(failed)?,
                // The service was stopped, or the VM.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break "The console has ended.",
                Err(error) => return Err(failed(error)),
            },
            typed = keys.recv(), if typing => match typed {
                Some(Typed::Bytes(bytes)) => input.write_all(&bytes).await.map_err(failed)?,
                Some(Typed::Leave) => break "Left the console; the VM runs on.",
                None => typing = false,
            },
            _ = terminate.recv() => break "Left the console; the VM runs on.",
            _ = hangup.recv() => break "Left the console; the VM runs on.",
        }
    };
    if terminal.is_some() {
        drop(terminal);
        eprintln!("\n{ended}");
    }
    Ok(())
}

enum Typed {
    Bytes(Vec<u8>),
    Leave,
}

/// Reads standard input on a thread, because a terminal that does not block would not do so for others either.
fn keys(can_leave: bool) -> mpsc::Receiver<Typed> {
    let (typed, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = io::stdin().read(&mut buffer) {
            let bytes = buffer.get(..length).unwrap_or_default();
            let leave = bytes.iter().position(|byte| can_leave && *byte == LEAVE);
            let before = bytes.get(..leave.unwrap_or(length)).unwrap_or_default();
            if !before.is_empty() && typed.blocking_send(Typed::Bytes(before.to_vec())).is_err() {
                return;
            }
            if leave.is_some() {
                let _ = typed.blocking_send(Typed::Leave);
                return;
            }
        }
    });
    keys
}

fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// The terminal while every key goes to the guest. Dropping this restores it.
struct Raw(Termios);

impl Raw {
    /// Switches the mode, if standard input is a terminal.
    fn enter() -> Option<Self> {
        let before = io::stdin().is_terminal().then(|| tcgetattr(io::stdin()).ok()).flatten()?;
        let mut modes = before.clone();
        modes.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &modes).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
