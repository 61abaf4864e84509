//! xvirt: this process is the source, and another one the target.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xvirt_benches::Result;
use xvirt_benches::guest::{Guest, IN_USE};
use xvirt_benches::monitor::Monitor;
use xvirt_core::host::Host;
use xvirt_core::migrate::{Channel, Migration, Reception, Sockets, receive};

use crate::contender::{Contender, Moved, RUNS};
use crate::tls::load;
use xvirt_benches::memory::{fill, touch_free};

/// What the other process prints before its address, and once the guest runs there.
const LISTENING: &str = "listening on ";
const ARRIVED: &str = "the guest runs";
/// A time within which even a very busy machine makes progress.
const PATIENCE: Duration = Duration::from_secs(600);

/// How VMs are moved.
pub(crate) enum Xvirt {
    Tcp,
    /// With the certificate in this folder.
    Tls(PathBuf),
    /// Over a unix socket in this folder, without a copy of the memory.
    LocalHandOver(PathBuf),
}

impl Contender for Xvirt {
    fn name(&self) -> &str {
        "xvirt"
    }

    fn migrate(&mut self, guest: &Guest, settings: &Migration) -> Result<Moved> {
        let mut config = guest.config("migration");
        let (mut target, channel): (Monitor, Box<dyn Channel>) = match self {
            Self::LocalHandOver(folder) => {
                config = config.shared_memory();
                let private = tempfile::tempdir_in(folder)?;
                let socket = private.path().join("socket");
                let (target, _) = start_target(&["receive-vm"], "--socket", Some(&socket))?;
                let stream = UnixStream::connect(&socket)?;
                (target, Box::new(Sockets::new([stream])?))
            }
            Self::Tls(folder) => {
                let (target, address) = start_target(&["receive-vm"], TLS, Some(folder))?;
                (target, Box::new(load(folder)?.channel(&address)?))
            }
            Self::Tcp => {
                let (target, address) = start_target(&["receive-vm"], TLS, None)?;
                let address: SocketAddr = address.parse()?;
                (target, Box::new(move |limit| TcpStream::connect_timeout(&address, limit)))
            }
        };
        let vm = config.build(&Host::probe()?)?;
        vm.start()?;
        vm.console().reader().wait_for(IN_USE, PATIENCE)?;
        if guest.filled {
            fill(guest.memory)?;
        }
        touch_free(guest.used)?;
        let began = Instant::now();
        let summary = vm.migrate(&*channel, settings, &(), &())?;
        let total = began.elapsed();
        target.wait_for(ARRIVED)?;
        Ok(Moved { total, downtime: Some(summary.downtime.total()) })
    }
}

/// The option for a certificate.
pub(crate) const TLS: &str = "--tls";

/// Starts this program as another process, with `option` if it has a value, and returns it with the address at which it
/// listens.
pub(crate) fn start_target(arguments: &[&str], option: &str, value: Option<&Path>) -> Result<(Monitor, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    if let Some(value) = value {
        command.arg(option).arg(value);
    }
    let mut target = Monitor::start(command)?;
    target.wait_for(LISTENING)?;
    let address = target.wait_for("\n")?;
    Ok((target, address))
}

/// Listens, and prints the address for [`start_target`].
pub(crate) fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{LISTENING}{}", listener.local_addr()?);
    Ok(listener)
}

fn listen_at(socket: &Path) -> Result<UnixListener> {
    let listener = UnixListener::bind(socket)?;
    println!("{LISTENING}{}", socket.display());
    Ok(listener)
}

/// The target.
pub(crate) fn receive_vm(tls: Option<&Path>, socket: Option<&Path>) -> Result<()> {
    let host = Host::probe()?;
    let channel: Box<dyn Channel> = match (tls, socket) {
        (_, Some(socket)) => Box::new(listen_at(socket)?),
        (Some(folder), None) => Box::new(load(folder)?.accept(listen()?)),
        (None, None) => Box::new(listen()?),
    };
    let vm = receive(&*channel, &host, &Reception::default().silence_limit(PATIENCE), &(), &(), &mut |arriving| {
        arriving.config().cloned().ok_or_else(|| vec!["it has no configuration".to_owned()])
    })?;
    vm.console().reader().wait_for(RUNS, PATIENCE)?;
    println!("{ARRIVED}");
    // The source ends this process.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
