//! Debian from a repository: from layered templates, from an imported appliance, and directly from an appliance.

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::Instant;

use xvirt_core::config::{ByteSize, Disk, VmConfig};
use xvirt_core::repository::Repository;
use xvirt_core::template::Source;
use xvirt_core::vm::PowerState;
use xvirt_core::xva::{self, Export, Import};

use crate::guest::{Guest, PATIENCE};
use crate::{needs, without_mitigations};

fn debian(disk: &Path) -> VmConfig {
    VmConfig::new("debian").memory(ByteSize::mib(512)).boot(without_mitigations()).disk(Disk::raw(disk))
}

/// Prints how long each step took.
struct Steps(Instant);

impl Steps {
    fn done(&mut self, what: &str) {
        println!("{what}: {:.1?}", self.0.elapsed());
        self.0 = Instant::now();
    }
}

#[test]
fn layers_on_layers_boot_and_hold_what_each_added() {
    let Some((host, [disk])) = needs(["XVIRT_DEBIAN_DISK"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let mut steps = Steps(Instant::now());
    let mut template = repository.seal("debian", Source::Config(&debian(&disk)), &()).unwrap();
    steps.done("sealed debian");
    for layer in ["patches", "application"] {
        let stored = repository.instantiate(&template, "golden").unwrap();
        let mut guest = Guest::start(stored.config().build(&host).unwrap());
        guest.log_in();
        guest.run(&format!("echo {layer} >> /etc/layers && sync"));
        guest.vm.clean_shutdown(PATIENCE).unwrap();
        steps.done("booted an instance and changed it");
        drop(guest);
        template = repository.seal(layer, Source::Stored(&stored), &()).unwrap();
        steps.done(&format!("sealed {layer}"));
    }
    let stored = repository.instantiate(&template, "web-1").unwrap();
    let mut guest = Guest::start(stored.config().build(&host).unwrap());
    guest.log_in();
    assert_eq!(guest.run("xargs < /etc/layers"), "patches application");
    guest.vm.clean_shutdown(PATIENCE).unwrap();
    steps.done("booted an instance of all three layers");
}

#[test]
fn an_appliance_boots_imported_and_straight_from_its_archive() {
    let Some((host, [disk])) = needs(["XVIRT_DEBIAN_DISK"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let archive = folder.path().join("debian.xva");
    let mut steps = Steps(Instant::now());
    xva::export(&debian(&disk), File::create(&archive).unwrap(), &Export::zstd().level(1), &()).unwrap();
    steps.done("exported");

    let imported = xva::import(File::open(&archive).unwrap(), &repository, &Import::default(), &()).unwrap();
    steps.done("imported");
    let mut guest = Guest::start(imported.vm.config().boot(without_mitigations()).build(&host).unwrap());
    guest.log_in();
    guest.run("test -d /var/lib/dpkg");
    guest.vm.clean_shutdown(PATIENCE).unwrap();
    drop(guest);
    steps.done("booted what was imported");

    let streaming = xva::import_streaming(&archive, &repository, &Import::default().name("at once")).unwrap();
    let config = streaming.config().clone().boot(without_mitigations());
    thread::scope(|scope| {
        let mut guest = Guest::start(config.build(&host).unwrap());
        guest.log_in();
        steps.done("booted straight from the archive");
        let completed = scope.spawn(|| streaming.complete(&()));
        guest.run("echo kept > /etc/kept && sync");
        let stored = completed.join().unwrap().unwrap().vm;
        steps.done("imported the rest while it ran");
        assert_eq!(guest.vm.power_state(), PowerState::Running);
        assert_eq!(guest.run("cat /etc/kept"), "kept");
        guest.vm.clean_shutdown(PATIENCE).unwrap();
        assert_eq!(repository.vm("at once").unwrap().uuid(), stored.uuid());
    });
    assert_eq!(repository.check(&()).unwrap().problems, []);
}
