//! Whatever happened to a VM before, its next guest must work like the first.

use std::io::{Read, Write};
use std::time::Duration;

use xvirt_core::config::{CpuLimit, NicLimit, RateLimit};
use xvirt_core::console::ConsoleReader;
use xvirt_core::demo::ECHO_READY;
use xvirt_core::vm::Vm;
use xvirt_core::{Error, ErrorKind, Result};

use crate::devices;
use crate::power;
use crate::process::NoDescriptors;
use crate::subject::{DISK_SIZE, MEMORY, Subject};

/// Enough time for any action of a guest on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The port on which the guest listens.
const PORT: u32 = 1000;

/// Starts the VM, which is halted and used by no other thread, lets its guest exercise all devices, and shuts it down.
pub fn check(subject: &Subject) -> std::result::Result<(), String> {
    let failed = |error: Error| format!("its guest does not serve: {error}");
    let mut console = subject.vm().console().reader_at_end();
    refuse_without_descriptors(subject)?;
    power::start(subject);
    {
        // The start has opened all descriptors that the devices will need.
        let _none = NoDescriptors::new();
        console.wait_for(ECHO_READY, PATIENCE).map_err(failed)?;
    }
    succeeds(subject, "write to a console", |vm| vm.console().write_all(b"last\n"))?;
    // Input that was sent before the power-off, by any thread, is not for this guest.
    let text = console.wait_for("echo: last", PATIENCE).map_err(failed)?;
    if ["echo: typed", "pong", "status:"].iter().any(|answer| text.contains(answer)) {
        return Err(format!("its guest was told what was typed before: {text}"));
    }
    talk(subject)?;
    succeeds(subject, "refresh_memory_statistics", |vm| vm.refresh_memory_statistics(PATIENCE))?;
    use_devices(subject, &mut console)?;
    succeeds(subject, "clean_reboot", |vm| vm.clean_reboot(PATIENCE))?;
    console.wait_for(ECHO_READY, PATIENCE).map_err(failed)?;
    subject.follow().shutdown_begins();
    let down = succeeds(subject, "clean_shutdown", |vm| vm.clean_shutdown(PATIENCE));
    subject.follow().shutdown_ends();
    down.map(drop)
}

/// Plugs, changes and unplugs disks and network interfaces.
fn use_devices(subject: &Subject, console: &mut ConsoleReader) -> std::result::Result<(), String> {
    let disk = devices::plug_disk(subject).ok_or("it takes no disk")?;
    console.wait_for(" plugged", PATIENCE).map_err(|error| error.to_string())?;
    succeeds(subject, "resize_disk", |vm| vm.resize_disk(disk, 2 * DISK_SIZE))?;
    succeeds(subject, "set_disk_limit", |vm| vm.set_disk_limit(disk, RateLimit::none().operations_per_second(100)))?;
    succeeds(subject, "disk_limit", |vm| vm.disk_limit(disk))?;
    succeeds(subject, "unplug_disk", |vm| vm.unplug_disk(disk, PATIENCE))?;
    let nic = devices::plug_nic(subject, false).ok_or("it takes no network interface")?;
    console.wait_for(" plugged", PATIENCE).map_err(|error| error.to_string())?;
    succeeds(subject, "set_link", |vm| vm.set_link(nic, false))?;
    succeeds(subject, "set_nic_limit", |vm| vm.set_nic_limit(nic, NicLimit::none()))?;
    succeeds(subject, "unplug_nic", |vm| vm.unplug_nic(nic, PATIENCE))?;
    if subject.bench().cpu_limits {
        succeeds(subject, "set_cpu_limit", |vm| vm.set_cpu_limit(CpuLimit::none()))?;
    }
    succeeds(subject, "set_memory_target", |vm| vm.set_memory_target(MEMORY))?;
    succeeds(subject, "wait_memory_target", |vm| vm.wait_memory_target(PATIENCE))
}

/// A start without enough descriptors fails with that error.
fn refuse_without_descriptors(subject: &Subject) -> std::result::Result<(), String> {
    let none = NoDescriptors::new();
    let start = || subject.vm().start();
    let (started, _) = subject.bench().watch.during(&subject.name, "start without descriptors", start);
    drop(none);
    match started {
        Err(error) if error.kind() == ErrorKind::OutOfDescriptors => Ok(()),
        other => Err(format!("without descriptors its start gave {other:?}")),
    }
}

fn succeeds<T>(
    subject: &Subject,
    what: &'static str,
    call: impl FnOnce(&Vm) -> Result<T>,
) -> std::result::Result<T, String> {
    let called = subject.call(what, call);
    called.result.map_err(|error| format!("nobody else uses it, and {what} gave {error}"))
}

/// The guest sends back what it receives.
fn talk(subject: &Subject) -> std::result::Result<(), String> {
    let mut stream = succeeds(subject, "vsock_connect", |vm| vm.vsock_connect(PORT, PATIENCE))?;
    let mut back = [0; 5];
    let answered = (|| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"hello")?;
        stream.read_exact(&mut back)
    })();
    match answered {
        Ok(()) if back == *b"hello" => Ok(()),
        other => Err(format!("its guest sends back {back:?} over vsock: {other:?}")),
    }
}
