//! xvirt: this process is the source, and another one the target.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xvirt_benches::Result;
use xvirt_benches::guest::{Guest, IN_USE};
use xvirt_benches::monitor::Monitor;
use xvirt_core::host::Host;
use xvirt_core::migrate::{Channel, Migration, Reception, receive};
use xvirt_core::vm::Vm;

use crate::contender::{Contender, Moved, RUNS};
use crate::memory::touch_free;
use crate::tls::{HOST, load};

/// What the other process prints before its address, and once the guest runs there.
const LISTENING: &str = "listening on ";
const ARRIVED: &str = "the guest runs";
/// A time within which even a very busy machine makes progress.
const PATIENCE: Duration = Duration::from_secs(120);

/// With the certificate in this folder, over TLS.
pub(crate) struct Xvirt {
    pub(crate) tls: Option<PathBuf>,
}

impl Contender for Xvirt {
    fn name(&self) -> &str {
        "xvirt"
    }

    fn migrate(&mut self, guest: &Guest, settings: &Migration) -> Result<Moved> {
        let (mut target, address) = start_target(&["receive-vm"], self.tls.as_deref())?;
        let vm = start(guest)?;
        let connect = move |limit| TcpStream::connect_timeout(&address, limit);
        touch_free(guest.used)?;
        let began = Instant::now();
        let summary = match &self.tls {
            Some(folder) => vm.migrate(&load(folder)?.connect_to(HOST, connect)?, settings, &(), &())?,
            None => vm.migrate(&connect, settings, &(), &())?,
        };
        let total = began.elapsed();
        target.wait_for(ARRIVED)?;
        Ok(Moved { total, downtime: Some(summary.downtime.total()) })
    }
}

/// Starts this program as another process, and returns it with the address at which it listens.
pub(crate) fn start_target(arguments: &[&str], tls: Option<&Path>) -> Result<(Monitor, SocketAddr)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    if let Some(folder) = tls {
        command.arg("--tls").arg(folder);
    }
    let mut target = Monitor::start(command)?;
    target.wait_for(LISTENING)?;
    let address = target.wait_for("\n")?.parse()?;
    Ok((target, address))
}

/// Listens, and prints the address for [`start_target`].
pub(crate) fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{LISTENING}{}", listener.local_addr()?);
    Ok(listener)
}

/// The target.
pub(crate) fn receive_vm(tls: Option<&Path>) -> Result<()> {
    let host = Host::probe()?;
    let listener = listen()?;
    let channel: Box<dyn Channel> = match tls {
        Some(folder) => Box::new(load(folder)?.accept(listener)),
        None => Box::new(listener),
    };
    let vm = receive(&*channel, &host, &Reception::default(), &(), &(), &mut |arriving| {
        arriving.config().cloned().ok_or_else(|| vec!["it has no configuration".to_owned()])
    })?;
    vm.console().reader().wait_for(RUNS, PATIENCE)?;
    println!("{ARRIVED}");
    // The source ends this process.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn start(guest: &Guest) -> Result<Vm> {
    let vm = guest.config("migration").build(&Host::probe()?)?;
    vm.start()?;
    vm.console().reader().wait_for(IN_USE, PATIENCE)?;
    Ok(vm)
}
