//! Disks and network of a stock Debian under xvirt and under QEMU, in turns: fio and iperf3 in the guest.

mod guest;
mod jobs;
mod qemu;
mod report;
mod shell;
mod xvirt;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use guest::{Guest, Image};
use report::Report;
use shell::Shell;
use xvirt_benches::Result;
use xvirt_core::config::ByteSize;
use xvirt_core::disk::{self, ImageFormat, OverlayKind};

/// Boots the same Debian under xvirt and under QEMU (virtio-blk-pci with io_uring, virtio-net-pci on a tap without
/// vhost), in turns, and lets fio and iperf3 measure in the guest: a raw and a qcow2 disk, fully allocated, and the
/// network to the host. Whatever is measured is measured on the same images and the same tap.
///
/// QEMU is the program in QEMU, or qemu-system-x86_64 on the PATH (QEMU_DATA: its folders of firmware, as in PATH).
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Options {
    /// The guest's root disk, with fio and iperf3, as scripts/debian-disk --include fio,iperf3 makes it.
    #[arg(long, required = true)]
    disk: Option<PathBuf>,
    /// The folder with vmlinuz and initrd.img of the same making.
    #[arg(long, required = true)]
    kernels: Option<PathBuf>,
    /// Where the data disks are made; O_DIRECT must work there for cache=none [default: the system's temporary folder].
    #[arg(long)]
    folder: Option<PathBuf>,
    /// The size of each data disk.
    #[arg(long, default_value = "256MiB")]
    size: ByteSize,
    /// For how long each job runs, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// How often each contender is booted and measured.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only jobs whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Leave QEMU out.
    #[arg(long)]
    alone: bool,
    /// Leave the network out; a tap needs CAP_NET_ADMIN, and iperf3 has to be installed here too.
    #[arg(long)]
    no_network: bool,
    #[command(subcommand)]
    boot: Option<Boot>,
}

#[derive(Debug, Subcommand)]
enum Boot {
    /// Be the process that is measured: boot one guest, its console on standard input and output.
    #[command(hide = true)]
    Boot(Guest),
}

/// Somebody who can boot the guest.
struct Contender {
    name: String,
    command: Box<dyn Fn(&Guest) -> std::process::Command>,
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    let done = match options.boot.take() {
        Some(Boot::Boot(guest)) => xvirt::boot(&guest),
        None => run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let (Some(disk), Some(kernels)) = (&options.disk, &options.kernels) else {
        return Err("--disk and --kernels are needed".into());
    };
    let mut data = Vec::new();
    for (name, format) in [("raw", ImageFormat::Raw), ("qcow2", ImageFormat::Qcow2)] {
        let image = Image { format, path: folder.path().join(format!("data.{name}")) };
        image.fill(options.size.bytes())?;
        data.push(image);
    }
    let network = if options.no_network { None } else { Some(jobs::Network::new()?) };
    let jobs: Vec<_> =
        jobs::all(network.is_some()).into_iter().filter(|job| job.name().contains(&options.only)).collect();
    let mut contenders = vec![xvirt::contender()?];
    if !options.alone {
        contenders.extend(qemu::contenders()?);
    }
    let mut report = Report::new(&contenders, &jobs);
    for run in 0..options.runs {
        for turn in 0..contenders.len() {
            // Nobody is always the first.
            let index = (turn + run) % contenders.len();
            let guest = guest(disk, kernels, folder.path(), &data, network.as_ref().map(|network| network.tap()))?;
            let mut shell = Shell::start((contenders[index].command)(&guest))
                .map_err(|error| format!("{}: {error}", contenders[index].name))?;
            for (number, job) in jobs.iter().enumerate() {
                let value = job.run(&mut shell, options.seconds);
                let value = value.map_err(|error| format!("{}, {}: {error}", contenders[index].name, job.name()))?;
                eprintln!(
                    "run {} of {}: {}: {}: {value:.1}",
                    run + 1,
                    options.runs,
                    contenders[index].name,
                    job.name()
                );
                report.add(index, number, value);
            }
        }
    }
    print!("{}", report.table());
    Ok(())
}

/// The guest with a fresh layer over its root disk, which nobody writes to.
fn guest(disk: &Path, kernels: &Path, folder: &Path, data: &[Image], tap: Option<&str>) -> Result<Guest> {
    let root = folder.join("root");
    if root.exists() {
        std::fs::remove_file(&root)?;
    }
    let format = match disk::overlay(disk, Some(ImageFormat::Raw), &root)? {
        OverlayKind::Reflink => ImageFormat::Raw,
        _ => ImageFormat::Qcow2,
    };
    let mut disks = vec![Image { format, path: root }];
    disks.extend_from_slice(data);
    Ok(Guest {
        kernel: kernels.join("vmlinuz"),
        initrd: kernels.join("initrd.img"),
        disks,
        tap: tap.map(str::to_owned),
    })
}
