//! Host resources of devices that are plugged and unplugged while a guest runs.

use std::path::Path;
use std::sync::PoisonError;
use std::time::Instant;

use xvirt_core::config::{Disk, Nic};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::net::Tap;
use xvirt_testing::process::Taken;

use crate::host;
use crate::support::{Guest, PATIENCE, config};
use crate::{ALONE, limit_arenas, virtual_memory};

/// A run with 500 also left nothing behind; that takes some minutes if the guest is emulated.
const CYCLES: usize = 100;

/// Each time, the devices use the same slots, and so the same addresses, doorbells and interrupt numbers, as before: if
/// one of them were not released, the next device could not be set up.
#[test]
fn disks_and_nics_that_come_and_go_leave_nothing_behind() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let image = |name, format| {
        let path = folder.path().join(name);
        disk::create(&path, format, 1 << 20).unwrap();
        path
    };
    let steady = image("steady", ImageFormat::Raw);
    let hot = [image("a.raw", ImageFormat::Raw), image("b.qcow2", ImageFormat::Qcow2)];
    let with_nics = Tap::create(None).inspect_err(|error| println!("without NICs: {error}")).is_ok();
    let line = CommandLine::new([Mode::HotPlug, Mode::BlkLoad]).blocks(2).every(1);
    let mut guest = Guest::start(config(&line).disk(Disk::raw(steady)), &host).unwrap();
    guest.expect("hotplug: ready");
    let mut cycle = |path: &Path| {
        let disk = guest.vm.plug_disk(Disk::open(path).unwrap()).unwrap();
        let text = guest.expect("hotplug: slot 2 plugged");
        assert!(text.contains("blk 1: ok") && !text.contains(demo::FAILED), "{text}");
        let nic = with_nics.then(|| {
            let nic = guest.vm.plug_nic(Nic::new_tap()).unwrap();
            let text = guest.expect("hotplug: slot 3 plugged");
            assert!(text.contains("net 0: sent"), "{text}");
            nic
        });
        // Both disks are written and verified meanwhile.
        let text = guest.expect("blk 1: round");
        assert!(text.contains("blk 0: round"), "{text}");
        guest.vm.unplug_disk(disk, PATIENCE).unwrap();
        if let Some(nic) = nic {
            guest.vm.unplug_nic(nic, PATIENCE).unwrap();
        }
    };
    limit_arenas();
    (0..10).for_each(|n| cycle(&hot[n % 2]));
    let (before, memory, began) = (Taken::now(), virtual_memory(), Instant::now());
    (0..CYCLES).for_each(|n| cycle(&hot[n % 2]));
    println!("{CYCLES} cycles: {:.1?}", began.elapsed());
    assert_eq!(Taken::now(), before);
    let grown = virtual_memory().saturating_sub(memory);
    // One leaked thread stack would be 512 KiB, 100 of them 50 MiB.
    assert!(grown < 4 << 10, "{grown} KiB more are mapped than before");
    guest.expect("blk 0: round");
}
