//! Virtual appliances of running VMs, and VMs that run from appliances.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, Disk, VmConfig};
use xvirt_core::console::ConsoleReader;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, Access, BlockBackend, ImageFormat};
use xvirt_core::repository::Repository;
use xvirt_core::vm::{PowerState, Vm};
use xvirt_core::xva::{self, Archive, Export, Import};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

const DISK_SIZE: u64 = 16 << 20;

fn image(folder: &Path, name: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    disk::create(&path, ImageFormat::Raw, DISK_SIZE).unwrap();
    path
}

fn all(disk: &dyn BlockBackend) -> Vec<u8> {
    let mut bytes = vec![0xee; disk.capacity() as usize];
    disk.read(&[GuestSlice::from(bytes.as_mut_slice())], 0).unwrap();
    bytes
}

/// A writer during which the guest keeps running, and overwrites its disk before half of the archive is written.
struct WhileTheGuestWrites<'a> {
    vm: &'a Vm,
    console: &'a mut ConsoleReader,
    archive: Vec<u8>,
    writes: usize,
}

impl Write for WhileTheGuestWrites<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        if self.writes == 1 {
            self.vm.unpause().unwrap();
        }
        // A round that began after that moment, and has ended.
        for _ in 0..if self.writes <= 3 { 2 } else { 0 } {
            self.console.wait_for("blk 0: round", PATIENCE).unwrap();
        }
        self.archive.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_archive_of_a_running_vm_is_its_state_at_one_moment() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let disk = disk::open(image(folder.path(), "a.raw"), None, Access::ReadWrite).unwrap();
    let line = CommandLine::new([Mode::BlkLoad]).blocks(40).every(1);
    let Guest { vm, mut console, .. } =
        Guest::start(config(&line).disk(Disk::backend(Arc::clone(&disk))), &host).unwrap();
    console.wait_for("blk 0: round", PATIENCE).unwrap();
    for options in [Export::none(), Export::zstd()] {
        vm.pause().unwrap();
        let state = all(&*disk);
        let mut output = WhileTheGuestWrites { vm: &vm, console: &mut console, archive: Vec::new(), writes: 0 };
        xva::export_running(&vm, None, folder.path(), &mut output, &options, &()).unwrap();
        let path = folder.path().join("a.xva");
        fs::write(&path, output.archive).unwrap();
        assert_eq!(vm.power_state(), PowerState::Running);
        assert!(all(&*Archive::open(&path).unwrap().disks()[0]) == state, "{options:?}");
        assert!(all(&*disk) != state, "the guest did not write");
    }
}

#[test]
fn a_vm_starts_from_its_archive_and_is_imported_while_it_runs() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let kernel = |modes: &[Mode]| {
        let line = CommandLine::new(modes.iter().copied()).seed(5).blocks(60);
        Boot::kernel(demo::kernel()).command_line(line.to_string())
    };
    let run = |config: VmConfig, modes: &[Mode]| {
        let mut guest = Guest::start(config.boot(kernel(modes)), &host).unwrap();
        guest.expect("blk 0: ok");
        guest
    };
    let source = config(&CommandLine::default()).disk(Disk::raw(image(folder.path(), "a.raw")));
    run(source.clone(), &[Mode::Blk, Mode::PowerOff]).vm.wait_halted(PATIENCE).unwrap();
    let path = folder.path().join("a.xva");
    xva::export(&source, File::create(&path).unwrap(), &Export::zstd(), &()).unwrap();

    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let streaming = xva::import_streaming(&path, &repository, &Import::default()).unwrap();
    let without_nics = |mut config: VmConfig| {
        config.nics.clear();
        config
    };
    // The guest finds what it wrote before the export, and writes the same again while the import is completed.
    let guest = run(without_nics(streaming.config().clone()), &[Mode::BlkVerify, Mode::Echo]);
    let stored = streaming.complete(&()).unwrap().vm;
    assert_eq!(guest.vm.power_state(), PowerState::Running);
    let busy = without_nics(stored.config()).boot(kernel(&[Mode::Hello])).build(&host).unwrap().start().unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Busy);
    drop(guest);
    drop(streaming);
    std::fs::remove_file(path).unwrap();
    run(without_nics(stored.config()), &[Mode::BlkVerify, Mode::PowerOff]);
}
