//! QEMU's migration to a file.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use xvirt_benches::Result;
use xvirt_benches::guest::{Guest, IN_USE};
use xvirt_benches::qemu::{Qemu, Qmp};

use crate::peer::{Cache, Peer, sync, time};

struct QemuFile {
    qemu: Qemu,
    name: String,
    /// Whether it can migrate to a file itself, as versions from 8.2 can; older ones start a program that writes it.
    writes_files: bool,
}

pub(crate) fn find() -> Result<Box<dyn Peer>> {
    let qemu = Qemu::find()?;
    let writes_files = qemu.is_at_least(8, 2);
    let how = if writes_files { "file:" } else { "exec:" };
    Ok(Box::new(QemuFile { name: format!("qemu {} {how}", qemu.version()), qemu, writes_files }))
}

impl QemuFile {
    fn address(&self, file: &Path, program: &str, direction: char) -> String {
        match self.writes_files {
            true => format!("file:{}", file.display()),
            false => format!("exec:{program} {direction} {}", file.display()),
        }
    }
}

impl Peer for QemuFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn suspend_and_resume(&mut self, guest: &Guest, cache: Cache) -> Result<(Duration, Duration)> {
        let folder = tempfile::tempdir_in(guest.folder())?;
        let saved = folder.path().join("saved");
        std::fs::create_dir(&saved)?;
        let file = saved.join("state");
        let socket = folder.path().join("first.sock");
        let mut monitor = self.qemu.start(guest, &socket, &[])?;
        monitor.wait_for(IN_USE)?;
        let mut qmp = Qmp::connect(&socket)?;
        qmp.run("stop", &json!({}))?;
        qmp.run("migrate-set-parameters", &json!({"max-bandwidth": 1_u64 << 40}))?;
        let suspend = time(|| {
            qmp.run("migrate", &json!({"uri": self.address(&file, "cat", '>')}))?;
            qmp.wait("query-migrate", &["completed"], &["failed", "cancelled"])?;
            sync(&saved)
        })?;
        drop(monitor);
        cache.prepare(&saved)?;
        let socket = folder.path().join("second.sock");
        let mut monitor = self.qemu.start(guest, &socket, &["-incoming", "defer"])?;
        let mut qmp = Qmp::connect(&socket)?;
        let resume = time(|| {
            qmp.run("migrate-incoming", &json!({"uri": self.address(&file, "cat", '<')}))?;
            // It was stopped when it was saved, and is so now.
            qmp.wait("query-status", &["paused", "postmigrate", "running"], &["internal-error", "shutdown"])?;
            qmp.run("cont", &json!({}))
        })?;
        monitor.wait_for("pass ")?;
        Ok((suspend, resume))
    }
}
