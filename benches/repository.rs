//! Measures how long it takes to create a VM from a template with a small or a large disk.
//!
//! `cargo bench -p xvirt-benches --bench repository`; the repository is in the temporary folder (`TMPDIR`), and
//! removing the VM is not measured.

mod measure;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use criterion::Criterion;
use xvirt_benches::Result;
use xvirt_core::config::{Boot, ByteSize, Disk, VmConfig};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::repository::Repository;
use xvirt_core::template::Template;

use crate::measure::measure;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let repository = Repository::open(folder.path())?;
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("repository");
    group.sample_size(50);
    for format in [ImageFormat::Qcow2, ImageFormat::Raw] {
        for size in [ByteSize::gib(1), ByteSize::gib(1024)] {
            let template = template(&repository, format, size)?;
            measure(&mut group, &format!("instantiate, {size} {format}"), || instantiate(&repository, &template))?;
        }
    }
    group.finish();
    Ok(())
}

fn template(repository: &Repository, format: ImageFormat, size: ByteSize) -> Result<Template> {
    let mut stage = repository.stage()?;
    let path = stage.disk_path(0, format);
    disk::create(&path, format, size.bytes())?;
    let config = VmConfig::new("golden").boot(Boot::from_disk()).disk(Disk::open(path)?);
    let vm = stage.commit(config)?;
    Ok(repository.seal(format!("{size} {format}"), &vm, &())?)
}

fn instantiate(repository: &Repository, template: &Template) -> Result<Duration> {
    let begun = Instant::now();
    let vm = repository.instantiate(template, "instance")?;
    let time = begun.elapsed();
    repository.remove_vm(vm.uuid())?;
    Ok(time)
}
