//! Measures the memory overhead of a running VM.
//!
//! `cargo run --release -p xvirt-benches --bin memory [-- --vms N --disks N --runs N]`

mod processes;

use std::process::ExitCode;

use xvirt_benches::resident::Resident;
use xvirt_benches::{Result, demo_vm};
use xvirt_core::host::Host;
use xvirt_core::vm::Vm;

const USAGE: &str = "\
usage: memory [--vms N] [--disks N] [--runs N]

Runs 1 and then N (50) VMs of 1 vCPU and 128 MiB with the demo guest in this process, each with so many disks (0), and
tells the process's proportional set size beyond guest memory: in all, and for each VM. What the kernel keeps for a VM
does not count to any process and is not in it.

Then starts programs that run one such VM each, so many times (5): the program vm of this package, and the programs
named in FIRECRACKER and CLOUD_HYPERVISOR, if they are set.";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match Plan::parse(&arguments).and_then(|plan| plan.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Plan {
    vms: usize,
    disks: usize,
    runs: usize,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut plan = Self { vms: 50, disks: 0, runs: 5 };
        let mut words = arguments.iter();
        while let Some(option) = words.next() {
            let number = words.next().and_then(|word| word.parse().ok());
            let number = number.ok_or_else(|| format!("{option} needs a number\n\n{USAGE}"))?;
            match option.as_str() {
                "--vms" => plan.vms = number,
                "--disks" => plan.disks = number,
                "--runs" => plan.runs = number,
                _ => return Err(format!("there is no option {option}\n\n{USAGE}").into()),
            }
        }
        Ok(plan)
    }

    fn run(&self) -> Result<()> {
        let host = Host::probe()?;
        let folder = tempfile::tempdir()?;
        println!("KiB, VMs of {} with {} disks; guest memory apart", demo_vm::MEMORY, self.disks);
        println!("{:>5} {:>12} {:>12} {:>14} {:>16}", "VMs", "beyond", "a VM", "a further VM", "guest memory/VM");
        let empty = look(0)?.rest;
        println!("{:>5} {empty:>12}", 0);
        let mut vms = Vec::new();
        for count in [1, self.vms] {
            while vms.len() < count {
                vms.push(self.start(&host, &folder, vms.len())?);
            }
            let now = look(count)?;
            let each = |kib: u64| kib.checked_div(count as u64).unwrap_or_default();
            let further = each(now.rest.saturating_sub(empty));
            println!("{count:>5} {:>12} {:>12} {further:>14} {:>16}", now.rest, each(now.rest), each(now.guests));
        }
        drop(vms);
        processes::measure(self.runs)
    }

    fn start(&self, host: &Host, folder: &tempfile::TempDir, number: usize) -> Result<Vm> {
        let config = demo_vm::config(&format!("vm-{number}"));
        let vm = demo_vm::with_disks(config, folder.path(), self.disks)?.build(host)?;
        vm.start()?;
        demo_vm::wait_up(&vm)?;
        Ok(vm)
    }
}

/// Measures this process, in which `vms` VMs run.
fn look(vms: usize) -> Result<Resident> {
    let each = demo_vm::MEMORY.bytes() >> 10;
    let now = Resident::of_this_process()?;
    // Otherwise the two kinds of memory were not distinguished correctly, and the result would be wrong.
    if now.guest_size != each * vms as u64 {
        return Err(format!("{vms} guests of {each} KiB seem to have {} KiB of memory", now.guest_size).into());
    }
    Ok(now)
}
