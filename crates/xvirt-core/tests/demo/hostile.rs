//! Guests that break every rule of their devices, next to guests that work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use xvirt_core::config::{ByteSize, Disk, Nic, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::net::Tap;
use xvirt_core::vm::PowerState;

use crate::host;
use crate::support::{Guest, PATIENCE, config};

const DISK_SIZE: u64 = 8 << 20;
const BLOCKS: u64 = 100;
/// How long a hostile guest may be silent before it counts as ended.
const SILENCE: Duration = Duration::from_secs(10);

fn image(folder: &Path, name: &str, format: ImageFormat) -> PathBuf {
    let path = folder.join(name);
    disk::create(&path, format, DISK_SIZE).unwrap();
    path
}

/// A guest that soaks a raw and a qcow2 disk, and these disks.
struct Honest {
    guest: Guest,
    images: [PathBuf; 2],
    seed: u64,
}

impl Honest {
    fn start(host: &Host, folder: &Path, seed: u64, rounds: u64) -> Self {
        let images = [("raw", ImageFormat::Raw), ("qcow2", ImageFormat::Qcow2)]
            .map(|(name, format)| image(folder, &format!("honest-{seed}.{name}"), format));
        let line = CommandLine::new([Mode::Soak, Mode::PowerOff]).seed(seed).blocks(BLOCKS).rounds(rounds);
        let config = images.iter().fold(small(&line), |config, image| config.disk(Disk::open(image).unwrap()));
        Self { guest: Guest::start(config, host).unwrap(), images, seed }
    }

    /// Waits for its end, and compares the disks with the contents that the guest reports.
    fn check(mut self) {
        let text = self.guest.expect(demo::DONE);
        self.guest.vm.wait_halted(PATIENCE).unwrap();
        for (number, image) in self.images.iter().enumerate() {
            let end = format!("soak {number}: ended");
            let line = text.lines().find(|line| line.starts_with(&end)).unwrap_or_else(|| panic!("no end in {text}"));
            assert_ne!(demo::value(line, "verified"), Some("0"), "{line}");
            let disk = disk::open(image, None, Access::ReadOnly).unwrap();
            let digest = demo::soak_digest(&*disk, self.seed, number as u32, BLOCKS).unwrap();
            assert_eq!(demo::value(line, "digest"), Some(digest.to_string().as_str()), "{line}");
        }
    }
}

fn small(line: &CommandLine) -> VmConfig {
    config(line).memory(ByteSize::mib(32))
}

/// A guest with a CPU for each side of a race, and every type of device.
fn hostile(folder: &Path, seed: u64, tap: bool) -> VmConfig {
    let line = CommandLine::new([Mode::Smp, Mode::Hostile]).seed(seed).every(5);
    let disks = [("raw", ImageFormat::Raw), ("qcow2", ImageFormat::Qcow2)]
        .map(|(name, format)| image(folder, &format!("hostile-{seed}.{name}"), format));
    let config = disks.iter().fold(small(&line).vcpus(2), |config, disk| config.disk(Disk::open(disk).unwrap()));
    if tap { config.nic(Nic::new_tap()) } else { config }
}

#[test]
fn hostile_guests_take_nothing_from_others() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let tap = Tap::create(None).is_ok();
    if !tap {
        println!("SKIPPED hostile_guests_take_nothing_from_others, its network cards: no taps here");
    }
    let honest: Vec<_> = (1..=3).map(|seed| Honest::start(&host, folder.path(), seed, 40)).collect();
    let mut attacks = 0;
    for seed in 1..=3 {
        let mut guest = Guest::start(hostile(folder.path(), seed, tap), &host).unwrap();
        // Some attacks crash the attacker first, which is fine.
        attacks += (0..4).take_while(|_| guest.console.wait_for("hostile: round", SILENCE).is_ok()).count();
        // Whatever it has done to its devices, the verbs still work.
        if guest.vm.power_state() == PowerState::Running {
            guest.vm.pause().unwrap();
            guest.vm.unpause().unwrap();
            guest.vm.hard_shutdown().unwrap();
        }
    }
    assert!(attacks >= 6, "only {attacks} times five attacks were seen through");
    let written = (1..=3).any(|seed| has_data(&folder.path().join(format!("hostile-{seed}.raw"))));
    assert!(written, "no attack came as far as a disk");
    honest.into_iter().for_each(Honest::check);
}

fn has_data(image: &Path) -> bool {
    disk::open(image, None, Access::ReadOnly).unwrap().next_data(0).unwrap().is_some()
}
