//! Archives imported into a repository as VMs, and exported again.

use std::sync::atomic::{AtomicU32, Ordering};

use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, ByteSize, CrashAction, Disk, Nic, RateLimit, VmConfig};
use xvirt_core::progress::{Done, Progress};
use xvirt_core::repository::Repository;
use xvirt_core::xva::{self, Appliance, Export, Import};

use crate::support::*;

fn repository(folder: &tempfile::TempDir) -> Repository {
    Repository::open(folder.path().join("repository")).unwrap()
}

/// Checks that a repository is empty, without partial results.
fn is_empty(repository: &Repository) -> bool {
    let empty = |room: &str| repository.folder().join(room).read_dir().unwrap().count() == 0;
    repository.vms().unwrap().is_empty() && empty("staging") && empty("trash") && empty("vms")
}

/// The contents of an appliance, without the parts that legitimately change: its producer, the memory image, and the
/// generation ID, which every VM here has.
fn meaning(appliance: &Appliance) -> serde_json::Value {
    let mut value = serde_json::to_value(appliance).unwrap();
    let fields = value.as_object_mut().unwrap();
    fields.remove("producer");
    fields.remove("suspended");
    fields.remove("generation_id");
    value
}

#[test]
fn every_sample_keeps_its_disks_and_meaning_through_import_and_export() {
    for name in SAMPLES.iter().filter(|name| !name.starts_with("xs70")) {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(&folder);
        let before = extract(&sample(name), &folder.path().join("before")).unwrap();
        let imported = xva::import(&sample(name)[..], &repository, &Import::default().preserve(), &()).unwrap();
        let mut archive = Vec::new();
        xva::export_stored(&imported.vm, &mut archive, &Export::zstd(), &()).unwrap();
        let after = extract(&archive, &folder.path().join("after")).unwrap();
        let sums = |paths: &[std::path::PathBuf]| paths.iter().map(|path| sha256(path)).collect::<Vec<_>>();
        assert_eq!(sums(&before.disks), sums(&after.disks), "{name}");
        assert_eq!(meaning(&before.appliance), meaning(&after.appliance), "{name}");
        let (old, new) = (before.appliance.generation_id, after.appliance.generation_id);
        assert!(old.is_none() || old == new, "{name}: {old:?} {new:?}");
        assert_eq!(after.remarks, [""; 0], "{name}");
    }
}

#[test]
fn an_empty_disk_is_imported_and_exported_without_being_read() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample("xs70-genuine-ovaxml-emptydisk.xva");
    let imported = xva::import(&sample[..], &repository(&folder), &Import::default(), &()).unwrap();
    let mut archive = Vec::new();
    xva::export_stored(&imported.vm, &mut archive, &Export::none(), &()).unwrap();
    let report = verify(&archive[..]).unwrap();
    assert!(report.good, "{:?}", report.problems);
    assert_eq!((report.disks[0].size, report.disks[0].whole), (32_212_254_720, true));
    assert!(archive.len() < 3 << 20);
}

#[test]
fn what_has_no_meaning_here_is_exported_again() {
    let folder = tempfile::tempdir().unwrap();
    let imported =
        xva::import(&sample("xapi-suspended.xva")[..], &repository(&folder), &Import::default(), &()).unwrap();
    let mut archive = Vec::new();
    xva::export_stored(&imported.vm, &mut archive, &Export::none(), &()).unwrap();
    let text = String::from_utf8_lossy(&archive[..64 << 10]).into_owned();
    for kept in ["VTPM", "vTPM'_content", "guest_metrics", "bios_strings", "Pool-wide network associated with eth0"] {
        assert!(text.contains(kept), "{kept}");
    }
    assert!(text.contains("<name>power_state</name><value>Halted</value>"));
    assert!(text.contains("<name>product_brand</name><value>xvirt</value>"));
}

#[test]
fn the_configuration_is_that_of_the_appliance_and_the_rest_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder);
    let options = Import::default().name("new").network("Pool-wide network associated with eth0", "br3");
    let imported = xva::import(&sample("xapi-suspended.xva")[..], &repository, &options, &()).unwrap();
    let VmConfig { name, cpus, memory, boot, disks, nics, uuid, .. } = imported.vm.config();
    assert_eq!((name.as_str(), cpus.count, memory.bytes(), disks.len()), ("new", 2, 2 << 30, 1));
    assert!(matches!(boot, Boot::Disk { disk: 0, .. }));
    assert_eq!(nics[0].bridge.as_deref(), Some("br3"));
    let original = "6c1d0f4e-5c1f-4a0e-9d2e-3f6f6f0f2a11";
    assert_ne!(uuid.to_string(), original);
    assert_ne!(nics[0].mac.unwrap().to_string(), "aa:bb:cc:00:00:00");
    for told in ["booted by UEFI", "CD drive, empty", "image of its memory", "virtual TPM", "will not boot as it is"] {
        assert!(imported.remarks.iter().any(|remark| remark.contains(told)), "{told}: {:?}", imported.remarks);
    }

    let preserved = xva::import(&sample("xapi-zstd.xva")[..], &repository, &Import::default().preserve(), &()).unwrap();
    let config = preserved.vm.config();
    assert_eq!(config.nics[1].mac.unwrap().to_string(), "aa:bb:cc:00:00:01");
    assert!(preserved.remarks.iter().any(|remark| remark.contains("is on none now: name a bridge")));
    // This is detected before the end of the archive.
    let archive = sample("xapi-zstd.xva");
    let cut = &archive[..archive.len() - 100];
    let again = xva::import(cut, &repository, &Import::default().preserve(), &()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn crash_actions_and_limits_of_nics_come_along() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder);
    let limit = RateLimit::none().bytes_per_second(ByteSize::mib(3));
    std::fs::write(folder.path().join("disk"), pattern(1, 1 << 20)).unwrap();
    let mut config = VmConfig::new("one")
        .on_crash(CrashAction::Preserve)
        .disk(Disk::raw(folder.path().join("disk")))
        .nic(Nic::new_tap().transmit_limit(limit))
        .nic(Nic::new_tap());
    let mut archive = Vec::new();
    xva::export(&config, &mut archive, &Export::none(), &()).unwrap();
    let imported = xva::import(&archive[..], &repository, &Import::default(), &()).unwrap();
    let limits = |config: &VmConfig| config.nics.iter().map(|nic| nic.limit).collect::<Vec<_>>();
    assert_eq!(imported.vm.config().on_crash, CrashAction::Preserve);
    assert_eq!(limits(&imported.vm.config()), limits(&config));

    // A sample written by XenServer shows XenServer's defaults.
    let sample = sample("xapi-zstd.xva");
    let imported = xva::import(&sample[..], &repository, &Import::default(), &()).unwrap();
    assert_eq!(imported.vm.config().on_crash, CrashAction::Restart);
    config.on_crash = CrashAction::Halt;
    let mut archive = Vec::new();
    xva::export(&config, &mut archive, &Export::none(), &()).unwrap();
    assert!(String::from_utf8_lossy(&archive).contains("<name>actions_after_crash</name><value>destroy</value>"));
}

#[test]
fn the_disk_marked_as_bootable_is_booted() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = Vec::new();
    let disk = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pattern(1, 1 << 20)).unwrap();
        Disk::raw(path)
    };
    let mut config = VmConfig::new("two").disk(disk("a")).disk(disk("b"));
    config.boot = serde_json::from_str(r#"{"disk":{"disk":1}}"#).unwrap();
    xva::export(&config, &mut archive, &Export::none(), &()).unwrap();
    let imported = xva::import(&archive[..], &repository(&folder), &Import::default(), &()).unwrap();
    assert!(matches!(imported.vm.config().boot, Boot::Disk { disk: 1, .. }));
}

#[test]
fn an_import_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder);
    let whole = sample("xapi-plain-3disks.xva");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (archive, member) in [(&whole[..whole.len() / 2], "Ref:4/"), (&flipped[..], "Ref:4/")] {
        let error = xva::import(archive, &repository, &Import::default(), &()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptArchive);
        assert!(error.to_string().contains(member), "{error}");
        assert!(is_empty(&repository));
    }
}

/// Cancels after a number of reports.
struct Impatient(AtomicU32);

impl Progress for Impatient {
    fn report(&self, _: Done) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn an_import_can_be_cancelled_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(&folder);
    let archive = sample("xapi-zstd.xva");
    for reports in 0..10 {
        let error = xva::import(&archive[..], &repository, &Import::default(), &Impatient(reports.into())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        assert!(is_empty(&repository));
    }
}
