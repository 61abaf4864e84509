//! Makes a template of a Debian disk, VMs from the template, an appliance of one of them, and a VM from the appliance.
//!
//! `scripts/quickstart` runs this after `debian`, with the same disk, which is not changed.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use xvirt_core::config::{ByteSize, Disk, VmConfig};
use xvirt_core::host::Host;
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::xva::{self, Export, Import};
use xvirt_examples::{Guest, GuestOptions, Result, Steps, host_of_stock_kernels};

/// Makes a template of a Debian disk, boots two clones of it together, exports one as an appliance, imports it, and
/// boots the new VM.
///
/// Needs KVM with hardware virtualization, and space for two copies of the disk's contents in the folder for temporary
/// files.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    guest: GuestOptions,
}

fn main() -> ExitCode {
    match run(&Options::parse().guest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("templates: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &GuestOptions) -> Result<()> {
    let mut steps = Steps::default();
    let host = host_of_stock_kernels()?;
    let folder = tempfile::tempdir()?;
    let repository = Repository::open(folder.path().join("repository"))?;

    let debian = VmConfig::new("debian").memory(options.memory).disk(Disk::raw(&options.disk));
    let template = repository.seal("debian", &debian, &())?;
    steps.done(&format!("sealed the disk as the template {}:{}", template.name(), template.version()));

    let clones = [repository.instantiate(&template, "web-1")?, repository.instantiate(&template, "web-2")?];
    steps.done("made two VMs from the template");

    let [one, two] = [start(&clones[0], &host, options)?, start(&clones[1], &host, options)?];
    one.wait_ready()?;
    two.wait_ready()?;
    steps.done("both booted, side by side, from disks that share the template's data");

    one.run("echo 'I was web-1' >/root/diary && sync")?;
    two.run("test ! -e /root/diary")?;
    one.shut_down()?;
    two.shut_down()?;
    steps.done("wrote to one, checked that the other is unaffected, and shut both down");

    let archive = folder.path().join("web-1.xva");
    let size = export(&clones[0], &archive)?;
    steps.done(&format!("exported one as an appliance of {} MiB", size.bytes() >> 20));

    let imported = xva::import(File::open(&archive)?, &repository, &Import::default().name("web-3"), &())?;
    for remark in &imported.remarks {
        println!("  {remark}");
    }
    steps.done("imported the appliance as a new VM");

    let three = start(&imported.vm, &host, options)?;
    three.wait_ready()?;
    three.run("cat /root/diary")?;
    steps.done("it booted with the data of its origin");
    three.shut_down()?;
    steps.done("shut it down");
    steps.summary();
    Ok(())
}

fn start(vm: &StoredVm, host: &Host, options: &GuestOptions) -> Result<Guest> {
    Guest::start(vm.config().boot(options.boot()).build(host)?, options.timeout())
}

/// Writes an appliance and syncs it to stable storage. Level 1 suffices for a file that is read once.
fn export(vm: &StoredVm, path: &Path) -> Result<ByteSize> {
    let file = File::create(path)?;
    let exported = xva::export_stored(vm, &file, &Export::zstd().level(1), &())?;
    file.sync_all()?;
    Ok(ByteSize::new(exported.size))
}
