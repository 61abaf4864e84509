//! QEMU's migration from one process to another, with multifd for several connections.

use std::time::Duration;

use serde_json::{Value, json};
use xvirt_benches::Result;
use xvirt_benches::guest::{Guest, IN_USE};
use xvirt_benches::qemu::{Qemu, Qmp};
use xvirt_core::migrate::Migration;

use crate::contender::{Contender, Moved, RUNS};
use xvirt_benches::memory::touch_free;

/// More than any machine has.
const UNLIMITED: u64 = 1 << 40;

struct QemuTcp {
    qemu: Qemu,
    name: String,
}

pub(crate) fn find() -> Result<Box<dyn Contender>> {
    let qemu = Qemu::find()?;
    Ok(Box::new(QemuTcp { name: format!("qemu {}", qemu.version()), qemu }))
}

impl Contender for QemuTcp {
    fn name(&self) -> &str {
        &self.name
    }

    fn migrate(&mut self, guest: &Guest, settings: &Migration) -> Result<Moved> {
        let folder = tempfile::tempdir_in(guest.folder())?;
        let (first, second) = (folder.path().join("first.sock"), folder.path().join("second.sock"));
        let mut target_monitor = self.qemu.start(guest, &second, &["-incoming", "defer"])?;
        let mut target = Qmp::connect(&second)?;
        set(&mut target, settings)?;
        target.run("migrate-incoming", &json!({"uri": "tcp:127.0.0.1:0"}))?;
        let listening = target.ask("query-migrate", &json!({}))?;
        let port = listening["socket-address"][0]["port"].as_str().ok_or("QEMU does not say where it listens")?;

        let mut monitor = self.qemu.start(guest, &first, &[])?;
        monitor.wait_for(IN_USE)?;
        let mut source = Qmp::connect(&first)?;
        set(&mut source, settings)?;
        touch_free(guest.used)?;
        source.run("migrate", &json!({"uri": format!("tcp:127.0.0.1:{port}")}))?;
        let ended = source.wait("query-migrate", &["completed"], &["failed", "cancelled"])?;
        target_monitor.wait_for(RUNS)?;
        let time = |name: &str| ended.get(name).and_then(Value::as_u64).map(Duration::from_millis);
        let total = time("total-time").ok_or("QEMU does not say how long it took")?;
        Ok(Moved { total, downtime: time("downtime") })
    }
}

/// Sets one side. The bandwidth of QEMU is that of all connections.
fn set(qmp: &mut Qmp, settings: &Migration) -> Result<()> {
    let connections = u64::from(settings.connections);
    let bandwidth = settings.bandwidth.map_or(UNLIMITED, |rate| rate.bytes() * connections);
    let downtime = settings.downtime.as_millis() as u64;
    qmp.run("migrate-set-parameters", &json!({"max-bandwidth": bandwidth, "downtime-limit": downtime}))?;
    if connections > 1 {
        let capability = json!([{"capability": "multifd", "state": true}]);
        qmp.run("migrate-set-capabilities", &json!({"capabilities": capability}))?;
        qmp.run("migrate-set-parameters", &json!({"multifd-channels": connections}))?;
    }
    Ok(())
}
