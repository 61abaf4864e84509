//! Cloud Hypervisor's migration from one process to another. It cannot limit the bandwidth, and reports no downtime.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xvirt_benches::Result;
use xvirt_benches::api::request;
use xvirt_benches::guest::{Guest, IN_USE};
use xvirt_benches::monitor::Monitor;
use xvirt_benches::peers::{add_cloud_hypervisor_guest, named};
use xvirt_core::migrate::Migration;

use crate::contender::{Contender, Moved, RUNS};
use xvirt_benches::memory::touch_free;

/// How long the target may take to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(10);

struct CloudHypervisor(OsString);

pub(crate) fn find() -> Result<Box<dyn Contender>> {
    Ok(Box::new(CloudHypervisor(named("CLOUD_HYPERVISOR")?)))
}

impl CloudHypervisor {
    fn command(&self, socket: &Path) -> Command {
        let mut command = Command::new(&self.0);
        command.arg("--api-socket").arg(socket);
        command
    }
}

impl Contender for CloudHypervisor {
    fn name(&self) -> &str {
        "cloud-hypervisor"
    }

    fn migrate(&mut self, guest: &Guest, settings: &Migration) -> Result<Moved> {
        let folder = tempfile::tempdir_in(guest.folder())?;
        let (first, second) = (folder.path().join("first.sock"), folder.path().join("second.sock"));
        let mut command = self.command(&first);
        add_cloud_hypervisor_guest(&mut command, guest.memory, &guest.kernel, &guest.command_line);
        let mut monitor = Monitor::start(command)?;
        monitor.wait_for(IN_USE)?;
        let mut target = Monitor::start(self.command(&second))?;
        let port = free_port()?;
        let url = format!("tcp:127.0.0.1:{port}");
        let receive = json!({"receiver_url": url});
        let total = thread::scope(|scope| -> Result<Duration> {
            // Answered once the VM has arrived.
            let arrival = scope.spawn(|| {
                let received = request(&second, "PUT", "/api/v1/vm.receive-migration", &receive);
                received.map_err(|error| error.to_string())
            });
            wait_listening(port)?;
            touch_free(guest.used)?;
            let began = Instant::now();
            request(&first, "PUT", "/api/v1/vm.send-migration", &send(&url, settings))?;
            arrival.join().map_err(|_| "the request to receive panicked")??;
            Ok(began.elapsed())
        })?;
        target.wait_for(RUNS)?;
        Ok(Moved { total, downtime: None })
    }
}

/// The request to send.
fn send(url: &str, settings: &Migration) -> Value {
    let mut request = json!({"destination_url": url, "downtime_ms": settings.downtime.as_millis() as u64});
    if settings.connections > 1 {
        request["connections"] = settings.connections.into();
    }
    request
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Waits until a socket listens on `port`. Connecting to it would be taken for the migration.
fn wait_listening(port: u16) -> Result<()> {
    let (listening, began) = (format!(":{port:04X} 00000000:0000 0A"), Instant::now());
    while !std::fs::read_to_string("/proc/net/tcp")?.contains(&listening) {
        if began.elapsed() > LISTENS_WITHIN {
            return Err("the target does not listen".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
