//! Cloud Hypervisor's snapshots.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use xvirt_benches::Result;
use xvirt_benches::api::request;
use xvirt_benches::guest::{Guest, IN_USE};
use xvirt_benches::monitor::Monitor;
use xvirt_benches::peers::{add_cloud_hypervisor_guest, named};

use crate::peer::{Cache, Peer, sync, time};

struct CloudHypervisor(OsString);

pub(crate) fn find() -> Result<Box<dyn Peer>> {
    Ok(Box::new(CloudHypervisor(named("CLOUD_HYPERVISOR")?)))
}

impl CloudHypervisor {
    fn command(&self, socket: &Path) -> Command {
        let mut command = Command::new(&self.0);
        command.arg("--api-socket").arg(socket);
        command
    }
}

impl Peer for CloudHypervisor {
    fn name(&self) -> &str {
        "cloud-hypervisor"
    }

    fn suspend_and_resume(&mut self, guest: &Guest, cache: Cache) -> Result<(Duration, Duration)> {
        let folder = tempfile::tempdir_in(guest.folder())?;
        let saved = folder.path().join("saved");
        std::fs::create_dir(&saved)?;
        let url = format!("file://{}", saved.canonicalize()?.display());
        let first = folder.path().join("first.sock");
        let mut command = self.command(&first);
        add_cloud_hypervisor_guest(&mut command, guest.memory, &guest.kernel, &guest.command_line);
        let mut monitor = Monitor::start(command)?;
        monitor.wait_for(IN_USE)?;
        request(&first, "PUT", "/api/v1/vm.pause", &Value::Null)?;
        let suspend = time(|| {
            request(&first, "PUT", "/api/v1/vm.snapshot", &json!({"destination_url": url}))?;
            sync(&saved)
        })?;
        drop(monitor);
        cache.prepare(&saved)?;
        let second = folder.path().join("second.sock");
        let mut monitor = Monitor::start(self.command(&second))?;
        let how = match cache {
            Cache::Cold => json!({"source_url": url, "prefault": true}),
            Cache::Warm => json!({"source_url": url, "memory_restore_mode": "OnDemand"}),
        };
        let resume = time(|| {
            request(&second, "PUT", "/api/v1/vm.restore", &how)?;
            request(&second, "PUT", "/api/v1/vm.resume", &Value::Null)
        })?;
        monitor.wait_for("pass ")?;
        Ok((suspend, resume))
    }
}
