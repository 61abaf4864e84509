//! Compares the disk and network performance of a guest under xvirt and its peers.

mod cloud_hypervisor;
mod data;
mod demo;
mod guest;
mod jobs;
mod qemu;
mod report;
mod shell;
mod xvirt;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use data::DataDisk;
use guest::{Guest, LINUX_COMMAND_LINE};
use jobs::Network;
use report::Report;
use shell::Shell;
use xvirt_benches::Result;
use xvirt_core::config::ByteSize;

/// Measures a raw disk, a qcow2 disk, an overlay and the network to the host, under xvirt, QEMU (virtio-blk-pci with
/// io_uring, virtio-net-pci on a tap without vhost) and Cloud Hypervisor, each through the page cache and past it, in
/// turns, on the same images and the same tap. The raw and the qcow2 disk are fully allocated; the overlay is a layer
/// over a raw disk, empty at each boot.
///
/// QEMU is the program in QEMU, or qemu-system-x86_64 on the PATH (QEMU_DATA: its folders of firmware, as in PATH).
/// CLOUD_HYPERVISOR names that program. Peers that are not there are left out and named.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    guest: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// With fio and iperf3 in a stock Debian.
    Linux {
        /// The guest's root disk, as scripts/debian-disk --include fio,iperf3 makes it.
        #[arg(long)]
        disk: PathBuf,
        /// The folder with vmlinuz and initrd.img of the same making.
        #[arg(long)]
        kernels: PathBuf,
        /// For how long each job runs, in seconds.
        #[arg(long, default_value_t = 5)]
        seconds: u32,
        #[command(flatten)]
        common: Common,
    },
    /// With the demo guest, which needs nothing and runs on any KVM.
    Demo(Common),
    /// Be the process that is measured: boot one guest, its serial port on standard input and output.
    #[command(hide = true)]
    Boot(Guest),
}

#[derive(Debug, Args)]
struct Common {
    /// Where the data disks are made; O_DIRECT must work there for cache=none [default: the system's temporary folder].
    #[arg(long)]
    folder: Option<PathBuf>,
    /// The size of each data disk.
    #[arg(long, default_value = "256MiB")]
    size: ByteSize,
    /// How often each contender is measured.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only jobs whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Only contenders whose name contains this, such as `xvirt` or `direct`; can be given several times.
    #[arg(long, value_name = "NAME")]
    contender: Vec<String>,
    /// The CPU that QEMU gives the guest: qemu64 where KVM refuses the host's.
    #[arg(long, default_value = "host")]
    qemu_cpu: String,
    /// Leave the network out; a tap needs CAP_NET_ADMIN, and a Linux guest needs iperf3 here too.
    #[arg(long)]
    no_network: bool,
}

/// Somebody who can boot the guest.
struct Contender {
    name: String,
    command: Box<dyn Fn(&Guest) -> std::process::Command>,
}

fn main() -> ExitCode {
    let done = match Options::parse().guest {
        Command::Boot(guest) => xvirt::boot(&guest),
        Command::Linux { disk, kernels, seconds, common } => linux(&disk, &kernels, seconds, &common),
        Command::Demo(common) => demo(&common),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The environment of the measurement, the same for all contenders.
struct Bench {
    folder: tempfile::TempDir,
    data: Vec<DataDisk>,
    network: Option<Network>,
    contenders: Vec<Contender>,
}

impl Bench {
    fn new(common: &Common, serve: bool) -> Result<Self> {
        let folder = match &common.folder {
            Some(folder) => tempfile::tempdir_in(folder)?,
            None => tempfile::tempdir()?,
        };
        let data = data::all(folder.path(), common.size.bytes())?;
        let network = if common.no_network { None } else { Some(Network::new(serve)?) };
        let mut contenders = Vec::from(xvirt::contenders()?);
        for peers in [qemu::contenders(&common.qemu_cpu), cloud_hypervisor::contenders()] {
            match peers {
                Ok(peers) => contenders.extend(peers),
                Err(reason) => println!("not measured: {reason}"),
            }
        }
        let wanted = |name: &str| common.contender.iter().any(|part| name.contains(part.as_str()));
        contenders.retain(|contender| common.contender.is_empty() || wanted(&contender.name));
        if contenders.is_empty() {
            return Err("nobody is left to be measured; see --contender in --help".into());
        }
        Ok(Self { folder, data, network, contenders })
    }

    fn tap(&self) -> Option<String> {
        self.network.as_ref().map(|network| network.tap().to_owned())
    }

    /// All contenders in a rotating order, so that none is always the first.
    fn turns(&self, runs: usize) -> impl Iterator<Item = usize> + use<> {
        let count = self.contenders.len();
        (0..runs).flat_map(move |run| (0..count).map(move |turn| (turn + run) % count))
    }
}

fn linux(disk: &Path, kernels: &Path, seconds: u32, common: &Common) -> Result<()> {
    let bench = Bench::new(common, true)?;
    let mut jobs = jobs::all(bench.network.is_some());
    jobs.retain(|job| job.name().contains(&common.only));
    let names = jobs.iter().map(|job| (job.name().to_owned(), job.unit)).collect();
    let mut report = Report::new(&bench.contenders, names);
    for index in bench.turns(common.runs) {
        let Contender { name, command } = &bench.contenders[index];
        let mut shell =
            Shell::start(command(&linux_guest(disk, kernels, &bench)?)).map_err(|e| format!("{name}: {e}"))?;
        for (number, job) in jobs.iter().enumerate() {
            let value = job.run(&mut shell, seconds).map_err(|e| format!("{name}, {}: {e}", job.name()))?;
            report.add(index, number, value);
        }
    }
    print!("{}", report.table());
    Ok(())
}

/// The guest with a new overlay over its root disk, which is not written.
fn linux_guest(disk: &Path, kernels: &Path, bench: &Bench) -> Result<Guest> {
    let mut disks = vec![data::layer(disk, bench.folder.path().join("root"))?];
    for disk in &bench.data {
        disks.push(disk.image()?);
    }
    Ok(Guest {
        kernel: kernels.join("vmlinuz"),
        initrd: Some(kernels.join("initrd.img")),
        append: LINUX_COMMAND_LINE.to_owned(),
        disks,
        direct: false,
        tap: bench.tap(),
    })
}

fn demo(common: &Common) -> Result<()> {
    let bench = Bench::new(common, false)?;
    let kernel = bench.folder.path().join("demo.elf");
    std::fs::write(&kernel, xvirt_core::demo::kernel())?;
    let data: Vec<_> = bench.data.iter().map(DataDisk::name).collect();
    let mut jobs = demo::all(data.len(), bench.network.is_some());
    jobs.retain(|job| job.name(&data).contains(&common.only));
    let names = jobs.iter().map(|job| (job.name(&data), job.unit())).collect();
    let mut report = Report::new(&bench.contenders, names);
    for index in bench.turns(common.runs) {
        let Contender { name, command } = &bench.contenders[index];
        for (number, job) in jobs.iter().enumerate() {
            let (disks, tap) = match job {
                demo::Job::Disk { disk, .. } => (vec![bench.data[*disk].image()?], None),
                demo::Job::Ping => (Vec::new(), bench.tap()),
            };
            let guest =
                Guest { kernel: kernel.clone(), initrd: None, append: job.command_line(), disks, direct: false, tap };
            let value = job.run(command(&guest)).map_err(|e| format!("{name}, {}: {e}", job.name(&data)))?;
            report.add(index, number, value);
        }
    }
    print!("{}", report.table());
    Ok(())
}
