//! Saves and resets a machine whose devices the demo guest has used.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use super::devices::SavedDevice;
use super::{
    BareMachine, CrashReason, ElapsedTime, Machine, MachineState, Parts, Prepared, ProcessorState, Processors, Restore,
    Throttle,
};
use crate::arch::x86_64::layout;
use crate::bus::BusDevice;
use crate::config::{Boot, ByteSize, CpuConfig, EntryProtocol, IoEngine, MemoryBacking};
use crate::console::{Console, ConsoleReader};
use crate::demo::{self, CommandLine, Mode};
use crate::device::Device;
use crate::disk::{self, Access, CopyBeforeWrite, ImageFormat};
use crate::host::Host;
use crate::memory::testing::copy_pages;
use crate::memory::{GuestRam, allocate};
use crate::net::FrameStream;
use crate::port::PortStream;
use crate::state::{StateReader, StateWriter};
use crate::virtio::{self, Balloon, BalloonState, Block, BlockState, ConsoleState, DeviceState, Net, NetState, Rng};
use crate::{ErrorKind, Result};

const PATIENCE: Duration = Duration::from_secs(60);
/// How many frames are sent to the guest at a time.
const FRAMES: usize = 100;

/// A parked machine.
struct Rig {
    machine: Machine,
    console: ConsoleReader,
    folder: TempDir,
    /// The other end of the network card's cable.
    cable: UnixStream,
}

/// A machine that has not run yet, or one that goes on from a saved state with the disk of the one that was saved. `None`
/// if this host cannot run one.
fn machine(folder: TempDir, restore: Option<Restore<'_>>) -> Option<Rig> {
    let saved = restore.as_ref().map(|restore| restore.state);
    if let Err(error) = Host::probe().unwrap().require_kvm() {
        println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
        return None;
    }
    let [serial, second] = [Console::new().unwrap(), Console::new().unwrap()];
    let console = serial.reader();
    let modes =
        [Mode::Rng, Mode::Blk, Mode::BlkLoad, Mode::Net, Mode::Balloon, Mode::Watchdog, Mode::Timer, Mode::Counter];
    let line = CommandLine::new(modes).blocks(16).pages(16).every(1).net_every(1000).to_string();
    let boot = Boot::kernel(demo::kernel()).command_line(line).protocol(EntryProtocol::Pvh);
    let mut machine = Machine::new(Parts {
        processors: &Processors::new(&CpuConfig::default(), &Host::probe().unwrap()).unwrap(),
        memory: ByteSize::mib(64),
        backing: &MemoryBacking::default(),
        generation_id: Uuid::nil(),
        boot: &boot,
        serial: Arc::new(serial),
        seccomp: false,
        restore,
    })
    .unwrap();
    let path = folder.path().join("disk");
    if saved.is_none() {
        File::create(&path).unwrap().set_len(1 << 20).unwrap();
    }
    let disk = disk::open(&path, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    let state = |slot| saved.map(|state| state.devices.function(slot).unwrap());
    let block = BlockState::new(&*disk, "one", 1);
    let block = Block::new(disk, IoEngine::Auto, Arc::new(|_| {}), block).unwrap();
    machine.insert(1, Arc::new(block), state(1)).unwrap();
    let (cable, end) = UnixStream::pair().unwrap();
    let card = match state(3).map(|state| &state.device) {
        Some(DeviceState::Net(card)) => card.clone(),
        _ => NetState::new([2; 6], Some(1500)),
    };
    let card = Net::new(Arc::new(FrameStream::new(end).unwrap()), card);
    machine.insert(3, Arc::new(card), state(3)).unwrap();
    let agent = PortStream::new("a.port", second.device_event()).backend();
    let ports = match state(31).map(|state| &state.device) {
        Some(DeviceState::Console(ports)) => ports.clone(),
        _ => ConsoleState::default(),
    };
    machine.add(31, Arc::new(virtio::Console::new(Arc::new(second), agent, ports)), state(31)).unwrap();
    machine.add(30, Arc::new(Rng), state(30)).unwrap();
    let balloon = match state(29).map(|state| &state.device) {
        Some(DeviceState::Balloon(balloon)) => *balloon,
        _ => BalloonState::new(16, true),
    };
    machine.add(29, Arc::new(Balloon::new(None, balloon).unwrap()), state(29)).unwrap();
    Some(Rig { machine, console, folder, cable })
}

/// A machine that has not run yet.
fn rig() -> Option<Rig> {
    let rig = machine(tempfile::tempdir().unwrap(), None)?;
    rig.machine.power_on(&no_disk).unwrap();
    Some(rig)
}

impl Rig {
    /// Runs until the guest has used its devices and counts, then parks.
    fn run_for_a_while(&mut self) {
        let sent: Vec<_> = (0..FRAMES).flat_map(|_| [&60_u32.to_be_bytes()[..], &[2; 60]].concat()).collect();
        self.cable.write_all(&sent).unwrap();
        self.machine.run();
        self.console.wait_for("pass", PATIENCE).unwrap();
        // What the guest sends back of this is still under way when the machine is parked.
        self.cable.write_all(&sent).unwrap();
        self.console.wait_for("pass", PATIENCE).unwrap();
        self.machine.park().unwrap();
    }

    /// Saves the machine to a file, drops it, and makes another from the file, which is saved alike.
    fn saved_and_restored(self, time: ElapsedTime) -> Self {
        let path = self.folder.path().join("state");
        let saved = self.machine.save().unwrap();
        let mut writer = StateWriter::new(File::create(&path).unwrap());
        writer.memory(self.machine.ram(), &()).unwrap();
        writer.section(&saved.processors).unwrap();
        writer.section(&saved.devices).unwrap();
        drop(writer.finish().unwrap());
        let Self { machine: before, folder, .. } = self;
        drop(before);
        let reader = StateReader::new(File::open(&path).unwrap()).unwrap();
        let read = MachineState { processors: reader.section().unwrap(), devices: reader.section().unwrap() };
        assert_eq!(read, saved);
        let restored =
            machine(folder, Some(Restore { state: &read, time, of_another: false, prepared: Prepared::Nothing }))
                .unwrap();
        reader.memory(restored.machine.ram(), &()).unwrap();
        restored.machine.finish_restore().unwrap();
        let again = restored.machine.save().unwrap();
        assert_eq!(again.devices, saved.devices);
        assert_eq!(differences(&again.processors, &saved.processors), [""; 0]);
        assert_eq!(bytes(&again), bytes(&saved));
        restored
    }
}

/// The bytes of both sections.
fn bytes(state: &MachineState) -> [Vec<u8>; 2] {
    [rmp_serde::to_vec_named(&state.processors).unwrap(), rmp_serde::to_vec_named(&state.devices).unwrap()]
}

/// The places at which two states differ, and the values there.
fn differences(one: &ProcessorState, other: &ProcessorState) -> Vec<String> {
    fn compare(place: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
        match (one, other) {
            (Value::Object(fields), Value::Object(_)) => {
                fields.iter().for_each(|(name, value)| compare(&format!("{place}.{name}"), value, &other[name], found));
            }
            (Value::Array(values), Value::Array(others)) if values.len() == others.len() => {
                for (at, (value, other)) in values.iter().zip(others).enumerate() {
                    compare(&format!("{place}[{at}]"), value, other, found);
                }
            }
            _ if one != other => found.push(format!("{place}: {one}, {other}")),
            _ => {}
        }
    }
    let mut found = Vec::new();
    compare("", &serde_json::to_value(one).unwrap(), &serde_json::to_value(other).unwrap(), &mut found);
    found
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
fn setting_the_state_of_the_processors_leaves_the_memory_as_it_is() {
    let Some(mut rig) = rig() else { return };
    rig.run_for_a_while();
    let mut saved = rig.machine.save().unwrap();
    saved.processors.ask_for_wall_clock(0x2008);
    let processors = Processors::new(&CpuConfig::default(), &Host::probe().unwrap()).unwrap();
    let ram = allocate(ByteSize::mib(64), &MemoryBacking::default()).unwrap();
    ram.write_slice(&[0xa5; 64], GuestAddress(0x2000)).unwrap();
    let bare = BareMachine::new(&processors, saved.processors.cpuid(), ram).unwrap();
    saved.processors.set(&bare, ElapsedTime::Counted).unwrap();
    let mut bytes = [0; 64];
    bare.ram.read_slice(&mut bytes, GuestAddress(0x2000)).unwrap();
    assert_eq!(bytes, [0xa5; 64]);
}

#[test]
fn a_parked_machine_is_saved_twice_alike_and_goes_on() {
    let Some(mut rig) = rig() else { return };
    let new = rig.machine.save().unwrap();
    rig.run_for_a_while();
    let saved = rig.machine.save().unwrap();
    assert_eq!(differences(&rig.machine.save().unwrap().processors, &saved.processors), [""; 0]);
    assert_eq!(rig.machine.save().unwrap(), saved);
    let expected = [
        "PciBus",
        "Serial",
        "Rtc",
        "Power",
        "HotPlug",
        "Panic",
        "Virtio 1",
        "Virtio 3",
        "Virtio 29",
        "Virtio 30",
        "Virtio 31",
        "Watchdog",
    ];
    assert_eq!(names(&saved.devices.devices), expected);
    let (saved, new) = (saved.devices.devices, new.devices.devices);
    let changed: Vec<_> = saved.iter().zip(&new).filter(|(saved, new)| saved != new).map(|(saved, _)| saved).collect();
    assert!(changed.len() >= 6, "the guest has used too little: {changed:?}");
    rig.run_for_a_while();
}

#[test]
fn a_machine_goes_on_from_its_saved_state() {
    let Some(mut rig) = rig() else { return };
    rig.run_for_a_while();
    for time in [ElapsedTime::Counted, ElapsedTime::Ignored, ElapsedTime::Counted] {
        rig = rig.saved_and_restored(time);
        rig.run_for_a_while();
    }
}

#[test]
fn a_machine_that_is_reset_is_a_new_one() {
    let Some(mut rig) = rig() else { return };
    let new = rig.machine.save().unwrap().devices;
    rig.run_for_a_while();
    assert_ne!(rig.machine.save().unwrap().devices, new);
    rig.machine.reset(&no_disk).unwrap();
    assert_eq!(rig.machine.save().unwrap().devices, new);
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
    assert!(rig.machine.save().unwrap().devices.devices.iter().any(|device| device.slot == Some(2)));
}

#[test]
fn what_cannot_be_saved_is_named() {
    let Some(mut rig) = rig() else { return };
    let failure = |saved: Result<MachineState>| {
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
    assert!(rig.machine.save().unwrap().devices.devices.iter().all(|device| device.slot != Some(1)));
}

#[test]
fn all_that_the_guest_and_its_devices_write_is_logged() {
    let Some(mut rig) = rig() else { return };
    let ram = rig.machine.ram().clone();
    let ranges: Vec<_> = ram.iter().map(|region| (region.start_addr(), region.len() as usize)).collect();
    let copy = GuestRam::from_ranges(&ranges).unwrap();
    rig.run_for_a_while();
    let log = rig.machine.dirty_log().unwrap();
    assert_eq!(rig.machine.dirty_log().unwrap_err().kind(), ErrorKind::Busy);
    let all: usize = ranges.iter().map(|(_, length)| length / 4096).sum();
    let pages: Vec<_> = ranges.iter().map(|(_, length)| vec![u64::MAX; length / 4096 / 64]).collect();
    assert_eq!(copy_pages(&ram, &copy, &pages), all);
    for round in 0..10 {
        rig.machine.run();
        let copied = copy_pages(&ram, &copy, &log.take().unwrap());
        assert!((usize::from(round > 0)..all / 4).contains(&copied), "{copied} pages of {all} in round {round}");
        rig.run_for_a_while();
    }
    copy_pages(&ram, &copy, &log.take().unwrap());
    assert_eq!(log.take().unwrap().iter().flatten().map(|word| word.count_ones()).sum::<u32>(), 0);
    for (start, length) in ranges {
        for place in (0..length).step_by(4096).map(|offset| start.unchecked_add(offset as u64)) {
            let mut pages = [[0; 4096]; 2];
            ram.read_slice(&mut pages[0], place).unwrap();
            copy.read_slice(&mut pages[1], place).unwrap();
            assert!(pages[0] == pages[1], "the page at {place:?} differs");
        }
    }
    drop(log);
    rig.machine.dirty_log().unwrap();
}

#[test]
fn slowed_vcpus_run_less_and_still_obey() {
    let Some(rig) = rig() else { return };
    let Rig { machine, mut console, .. } = rig;
    let machine = Arc::new(machine);
    machine.run();
    console.wait_for("pass", PATIENCE).unwrap();
    let spent = || machine.vcpu_statistics().map(|(_, time)| time).sum::<Duration>();
    let throttle = Throttle::start(Arc::clone(&machine), 99).unwrap();
    let (before, began) = (spent(), Instant::now());
    console.wait_for("pass", PATIENCE).unwrap();
    console.wait_for("pass", PATIENCE).unwrap();
    let share = (spent() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    assert!(share < 0.5, "the vCPU has run for {share} of the time");
    for _ in 0..10 {
        machine.park().unwrap();
        machine.run();
    }
    throttle.set(0);
    console.wait_for("pass", PATIENCE).unwrap();
    drop(throttle);
    console.wait_for("pass", PATIENCE).unwrap();
}

#[test]
fn a_failure_that_a_reset_meets_is_over_as_a_whole() {
    let Some(rig) = machine(tempfile::tempdir().unwrap(), None) else { return };
    let vcpus = &rig.machine.vcpus;
    for _ in 0..2000 {
        std::thread::scope(|scope| {
            scope.spawn(|| vcpus.fail(CrashReason::TripleFault));
            while !vcpus.recover() {
                std::hint::spin_loop();
            }
        });
        assert!(vcpus.failure().is_none() && !vcpus.is_failed());
    }
}
