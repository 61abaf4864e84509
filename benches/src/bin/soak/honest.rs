//! A VM that works correctly and detects lost data.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xvirt_benches::Result;
use xvirt_core::config::{Boot, ByteSize, Disk, Nic, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::net::{MacAddress, Tap};
use xvirt_core::vm::{PowerState, Vm};

use crate::lines::Lines;
use crate::ping::{self, Ping, Pings};

/// The memory of every VM.
pub(crate) const MEMORY: ByteSize = ByteSize::mib(32);
/// The size of every disk.
pub(crate) const DISK_SIZE: u64 = 64 << 20;
const BLOCKS: u64 = 512;
const BLOCK_SIZE: u64 = 4096;
const FORMATS: [(&str, ImageFormat); 2] = [("raw", ImageFormat::Raw), ("qcow2", ImageFormat::Qcow2)];
/// The timeout for a shutdown while all other guests are busy.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Honest {
    vm: Vm,
    seed: u64,
    images: Vec<PathBuf>,
    lines: Lines,
    disks: [Work; 2],
    network: Option<Network>,
    /// The failures.
    pub(crate) failures: Vec<String>,
}

/// The work of a guest on one disk.
#[derive(Clone, Debug, Default)]
struct Work {
    written: u64,
    verified: u64,
    /// The expected digest, once the guest has ended.
    digest: Option<u64>,
}

struct Network {
    // The guest also holds a descriptor of it; its address disappears with the last one.
    _tap: Tap,
    guest: Ipv4Addr,
    ping: Option<Ping>,
}

/// Creates images in `folder`, and adds them to `config` as disks.
pub(crate) fn with_disks(mut config: VmConfig, folder: &Path) -> Result<(VmConfig, Vec<PathBuf>)> {
    let mut images = Vec::new();
    for (extension, format) in FORMATS {
        let path = folder.join(format!("{}.{extension}", config.name));
        disk::create(&path, format, DISK_SIZE)?;
        config = config.disk(Disk::open(&path)?);
        images.push(path);
    }
    Ok((config, images))
}

impl Honest {
    pub(crate) fn start(host: &Host, folder: &Path, number: u32, seed: u64, network: bool) -> Result<Self> {
        let [high, low] = (number as u16).to_be_bytes();
        let guest = Ipv4Addr::new(10, 200 + high, low, 2);
        let mut modes = vec![Mode::Soak];
        modes.extend(network.then_some(Mode::Net));
        let line = CommandLine::new(modes).seed(seed).blocks(BLOCKS).every(10).net_every(1 << 30).ip(guest);
        let boot = Boot::kernel(demo::kernel()).command_line(line.to_string());
        let config = VmConfig::new(format!("honest-{number}")).memory(MEMORY).boot(boot);
        let (mut config, images) = with_disks(config, folder)?;
        let network = if network {
            let tap = Tap::create(None)?;
            tap.set_address(Ipv4Addr::new(10, 200 + high, low, 1), 30)?;
            tap.set_up()?;
            let mac = MacAddress::new([2, 0, 0, 0, high, low]);
            ping::know(guest, mac, tap.name())?;
            config = config.nic(Nic::tap_descriptor(tap.as_fd().try_clone_to_owned()?).mac(mac));
            Some(Network { _tap: tap, guest, ping: None })
        } else {
            None
        };
        let vm = config.build(host)?;
        vm.start()?;
        let lines = Lines::new(vm.console().reader());
        Ok(Self { vm, seed, images, lines, disks: Default::default(), network, failures: Vec::new() })
    }

    /// Sends pings for `time`.
    pub(crate) fn ping(&mut self, time: Duration) -> Result<()> {
        if let Some(network) = &mut self.network {
            network.ping = Some(Ping::start(network.guest, time)?);
        }
        Ok(())
    }

    /// Reads the guest's output.
    pub(crate) fn look(&mut self) {
        for line in self.lines.take() {
            if !self.count(&line) && (line.starts_with("soak") || line.contains("error") || line.contains("exception"))
            {
                self.failures.push(format!("{}: {line}", self.vm.name()));
            }
        }
        if self.vm.power_state() != PowerState::Running && self.disks.iter().any(|disk| disk.digest.is_none()) {
            self.failures.push(format!("{} is {}", self.vm.name(), self.vm.power_state()));
        }
    }

    /// Parses a progress line.
    fn count(&mut self, line: &str) -> bool {
        let number = |key| demo::value(line, key).and_then(|value| value.parse().ok());
        if line.starts_with("soak") && number("blocks").is_some() {
            return true;
        }
        let disk = line.strip_prefix("soak ").and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
        let Some(work) = disk.and_then(|disk| self.disks.get_mut(disk)) else { return false };
        let (Some(written), Some(verified)) = (number("written"), number("verified")) else { return false };
        *work = Work { written, verified, digest: number("digest") };
        true
    }

    /// Whether both disks are active.
    pub(crate) fn is_up(&self) -> bool {
        self.disks.iter().all(|disk| disk.written > 0)
    }

    /// The bytes written, and the bytes read and verified.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let sum = |of: fn(&Work) -> u64| self.disks.iter().map(of).sum::<u64>() * BLOCK_SIZE;
        (sum(|work| work.written), sum(|work| work.verified))
    }

    /// Shuts the guest down and compares its images with the expected digests.
    pub(crate) fn finish(&mut self) -> Result<Pings> {
        let pings = match self.network.as_mut().and_then(|network| network.ping.take()) {
            Some(ping) => ping.finish()?,
            None => Pings::default(),
        };
        if pings.sent != pings.received {
            self.failures.push(format!("{} answered {} pings of {}", self.vm.name(), pings.received, pings.sent));
        }
        self.vm.clean_shutdown(PATIENCE)?;
        self.look();
        for (number, (image, work)) in self.images.iter().zip(&self.disks).enumerate() {
            let disk = disk::open(image, None, Access::ReadOnly)?;
            match demo::soak_digest(&*disk, self.seed, number as u32, BLOCKS) {
                Ok(digest) if Some(digest) == work.digest => {}
                Ok(_) => self.failures.push(format!("{} lacks a write", image.display())),
                Err(error) => self.failures.push(format!("{}: {error}", image.display())),
            }
        }
        Ok(pings)
    }
}
