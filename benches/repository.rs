//! Measures how long it takes to create a VM from a template with a small or a large disk, and to seal it again.
//!
//! `cargo bench -p xvirt-benches --bench repository`; the repository is in the temporary folder (`TMPDIR`), and
//! removing the VM is not measured.

mod measure;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use criterion::Criterion;
use xvirt_benches::Result;
use xvirt_core::config::{Boot, ByteSize, Disk, DiskSource, VmConfig};
use xvirt_core::disk::{self, Access, GuestSlice, ImageFormat};
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
    let full = full(&repository, folder.path())?;
    measure(&mut group, "seal an instance of 2 GiB, unwritten", || seal(&repository, &full, None))?;
    // Each takes seconds.
    group.sample_size(10);
    let mut bytes = vec![1; 4096];
    measure(&mut group, "seal an instance of 2 GiB, 4 KiB written", || seal(&repository, &full, Some(&mut bytes)))?;
    group.finish();
    Ok(())
}

/// A template with a disk of 2 GiB without holes.
fn full(repository: &Repository, folder: &Path) -> Result<Template> {
    let path = folder.join("full.raw");
    let mut file = BufWriter::new(File::create(&path)?);
    (0..2048_u32).try_for_each(|number| file.write_all(&number.to_le_bytes().repeat(1 << 18)))?;
    file.into_inner()?.sync_all()?;
    let config = VmConfig::new("full").boot(Boot::from_disk()).disk(Disk::raw(&path));
    let template = repository.seal("full", &config, &())?;
    fs::remove_file(path)?;
    Ok(template)
}

/// Creates an instance, writes `bytes` to its disk, and measures sealing it.
fn seal(repository: &Repository, template: &Template, bytes: Option<&mut Vec<u8>>) -> Result<Duration> {
    let vm = repository.instantiate(template, "instance")?;
    let config = vm.config();
    let source = config.disks.first().map(|disk| &disk.source);
    if let (Some(bytes), Some(DiskSource::Image { path, format })) = (bytes, source) {
        let opened = disk::open(path, Some(*format), Access::ReadWrite)?;
        opened.write(&[GuestSlice::from(bytes.as_mut_slice())], 0)?;
        opened.flush()?;
    }
    let begun = Instant::now();
    let sealed = repository.seal("again", &vm, &())?;
    let time = begun.elapsed();
    repository.remove_vm(vm.uuid())?;
    repository.remove_template(&sealed)?;
    Ok(time)
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
