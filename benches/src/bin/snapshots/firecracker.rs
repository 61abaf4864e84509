//! Firecracker's snapshots. It maps the memory file when it loads one, so that its guest reads memory as it needs it.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use xvirt_benches::Result;
use xvirt_benches::api::request;
use xvirt_benches::guest::{Guest, IN_USE};
use xvirt_benches::monitor::Monitor;
use xvirt_benches::peers::named;

use crate::peer::{Cache, Peer, sync, time};

struct Firecracker(OsString);

pub(crate) fn find() -> Result<Box<dyn Peer>> {
    Ok(Box::new(Firecracker(named("FIRECRACKER")?)))
}

impl Firecracker {
    fn start(&self, socket: &Path) -> Result<Monitor> {
        let mut command = Command::new(&self.0);
        command.arg("--api-sock").arg(socket);
        Monitor::start(command)
    }
}

impl Peer for Firecracker {
    fn name(&self) -> &str {
        "firecracker"
    }

    fn suspend_and_resume(&mut self, guest: &Guest, cache: Cache) -> Result<(Duration, Duration)> {
        let folder = tempfile::tempdir_in(guest.folder())?;
        let saved = folder.path().join("saved");
        std::fs::create_dir(&saved)?;
        let (state, memory) = (saved.join("state"), saved.join("memory"));
        let first = folder.path().join("first.sock");
        let mut monitor = self.start(&first)?;
        let source = json!({"kernel_image_path": guest.kernel, "boot_args": guest.command_line});
        request(&first, "PUT", "/boot-source", &source)?;
        request(&first, "PUT", "/machine-config", &json!({"vcpu_count": 1, "mem_size_mib": guest.mebibytes()}))?;
        request(&first, "PUT", "/actions", &json!({"action_type": "InstanceStart"}))?;
        monitor.wait_for(IN_USE)?;
        request(&first, "PATCH", "/vm", &json!({"state": "Paused"}))?;
        let suspend = time(|| {
            let files = json!({"snapshot_type": "Full", "snapshot_path": state, "mem_file_path": memory});
            request(&first, "PUT", "/snapshot/create", &files)?;
            sync(&saved)
        })?;
        drop(monitor);
        cache.prepare(&saved)?;
        let second = folder.path().join("second.sock");
        let mut monitor = self.start(&second)?;
        let backend = json!({"backend_type": "File", "backend_path": memory});
        let files = json!({"snapshot_path": state, "mem_backend": backend, "resume_vm": true});
        let resume = time(|| request(&second, "PUT", "/snapshot/load", &files))?;
        monitor.wait_for("pass ")?;
        Ok((suspend, resume))
    }
}
