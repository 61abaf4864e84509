//! Saves and resets a machine whose devices the demo guest has used.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;
use vm_memory::{Bytes, GuestAddress};

use super::devices::SavedDevice;
use super::{Machine, Parts, Processors};
use crate::arch::x86_64::layout;
use crate::bus::BusDevice;
use crate::config::{Boot, ByteSize, CpuConfig, EntryProtocol, IoEngine, MemoryBacking};
use crate::console::{Console, ConsoleReader};
use crate::demo::{self, CommandLine, Mode};
use crate::device::Device;
use crate::disk::{self, Access, CopyBeforeWrite, ImageFormat};
use crate::host::Host;
use crate::port::PortStream;
use crate::virtio::{self, Balloon, BalloonState, Block, BlockState, ConsoleState, Rng};
use crate::{ErrorKind, Result};

const PATIENCE: Duration = Duration::from_secs(60);

/// A parked machine that has not run yet.
struct Rig {
    machine: Machine,
    console: ConsoleReader,
    _folder: TempDir,
}

/// `None` if this host cannot run one.
fn rig() -> Option<Rig> {
    if let Err(error) = Host::probe().unwrap().require_kvm() {
        println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let [serial, second] = [Console::new().unwrap(), Console::new().unwrap()];
    let console = serial.reader();
    let modes = [Mode::Rng, Mode::Blk, Mode::Balloon, Mode::Watchdog, Mode::Counter];
    let line = CommandLine::new(modes).blocks(16).pages(16).every(1).to_string();
    let boot = Boot::kernel(demo::kernel()).command_line(line).protocol(EntryProtocol::Pvh);
    let mut machine = Machine::new(Parts {
        processors: &Processors::new(&CpuConfig::default(), None).unwrap(),
        memory: ByteSize::mib(64),
        backing: &MemoryBacking::default(),
        generation_id: Uuid::nil(),
        boot: &boot,
        serial: Arc::new(serial),
        seccomp: false,
    })
    .unwrap();
    let path = folder.path().join("disk");
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    let disk = disk::open(&path, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    let state = BlockState::new(&*disk, "one", 1);
    machine.insert(1, Arc::new(Block::new(disk, IoEngine::Auto, Arc::new(|_| {}), state).unwrap())).unwrap();
    let agent = PortStream::new("a.port", second.device_event()).backend();
    machine.add(Arc::new(virtio::Console::new(Arc::new(second), agent, ConsoleState::default()))).unwrap();
    machine.add(Arc::new(Rng)).unwrap();
    machine.add(Arc::new(Balloon::new(None, BalloonState::new(16, true)).unwrap())).unwrap();
    machine.power_on(&no_disk).unwrap();
    Some(Rig { machine, console, _folder: folder })
}

impl Rig {
    /// Runs until the guest has used its devices and counts, then parks.
    fn run_for_a_while(&mut self) {
        self.machine.run();
        self.console.wait_for("pass", PATIENCE).unwrap();
        self.console.wait_for("pass", PATIENCE).unwrap();
        self.machine.park().unwrap();
    }
}

fn no_disk(_: usize) -> Option<Arc<CopyBeforeWrite>> {
    None
}

/// The type and PCI slot of each device.
fn names(saved: &[SavedDevice]) -> Vec<String> {
    let name = |device: &SavedDevice| {
        let text = format!("{:?}", device.state);
        let (name, _) = text.split_once('(').unwrap();
        format!("{name}{}", device.slot.map(|slot| format!(" {slot}")).unwrap_or_default())
    };
    saved.iter().map(name).collect()
}

#[test]
fn a_parked_machine_is_saved_twice_alike_and_goes_on() {
    let Some(mut rig) = rig() else { return };
    let new = rig.machine.save().unwrap();
    rig.run_for_a_while();
    let saved = rig.machine.save().unwrap();
    assert_eq!(rig.machine.save().unwrap(), saved);
    let text = serde_json::to_string(&saved).unwrap();
    assert_eq!(serde_json::from_str::<Vec<SavedDevice>>(&text).unwrap(), saved);
    let expected = [
        "PciBus",
        "Serial",
        "Rtc",
        "Power",
        "HotPlug",
        "Panic",
        "Virtio 1",
        "Virtio 29",
        "Virtio 30",
        "Virtio 31",
        "Watchdog",
    ];
    assert_eq!(names(&saved), expected);
    let changed: Vec<_> = saved.iter().zip(&new).filter(|(saved, new)| saved != new).map(|(saved, _)| saved).collect();
    assert!(changed.len() >= 6, "the guest has used too little: {changed:?}");
    rig.run_for_a_while();
}

#[test]
fn a_machine_that_is_reset_is_a_new_one() {
    let Some(mut rig) = rig() else { return };
    let new = rig.machine.save().unwrap();
    rig.run_for_a_while();
    assert_ne!(rig.machine.save().unwrap(), new);
    rig.machine.reset(&no_disk).unwrap();
    assert_eq!(rig.machine.save().unwrap(), new);
}

#[test]
fn a_reset_loads_what_the_machine_boots_again() {
    let Some(mut rig) = rig() else { return };
    let kernel = |machine: &Machine| {
        let mut bytes = vec![0; 4096];
        machine.ram.read_slice(&mut bytes, GuestAddress(layout::HIGH_MEMORY)).unwrap();
        bytes
    };
    let loaded = kernel(&rig.machine);
    rig.run_for_a_while();
    rig.machine.ram.write_slice(&vec![0; 4096], GuestAddress(layout::HIGH_MEMORY)).unwrap();
    rig.machine.reset(&no_disk).unwrap();
    assert_eq!(kernel(&rig.machine), loaded);
    rig.run_for_a_while();
}

#[test]
fn what_is_plugged_into_a_parked_machine_is_parked_with_it() {
    let Some(rig) = rig() else { return };
    rig.machine.plug(2, Arc::new(Rng)).unwrap();
    assert!(rig.machine.save().unwrap().iter().any(|device| device.slot == Some(2)));
}

#[test]
fn what_cannot_be_saved_is_named() {
    let Some(mut rig) = rig() else { return };
    let failure = |saved: Result<Vec<SavedDevice>>| {
        let error = saved.unwrap_err();
        (error.kind(), error.to_string())
    };
    rig.run_for_a_while();
    rig.machine.functions()[0].resume();
    let text = "the virtio-blk in PCI slot 1 cannot be saved: it is not paused; park the machine first";
    assert_eq!(failure(rig.machine.save()), (ErrorKind::InvalidState, text.to_owned()));
    rig.machine.functions()[0].pause();
    rig.machine.platform.hotplug.write(8, &2_u32.to_le_bytes());
    let text = "the hot plug controller cannot be saved: the guest has ejected the device in PCI slot 1, which is \
                still there; remove it first";
    assert_eq!(failure(rig.machine.save()), (ErrorKind::InvalidState, text.to_owned()));
    rig.machine.take_ejected();
    assert!(rig.machine.save().unwrap().iter().all(|device| device.slot != Some(1)));
}
