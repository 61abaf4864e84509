//! The disks of real archives, as files.

use std::os::unix::fs::MetadataExt;

use crate::support::*;

#[test]
fn every_sample_gives_its_disks() {
    for (name, disks, memory) in SUMS {
        let folder = tempfile::tempdir().unwrap();
        let extracted = extract(&sample(name), folder.path()).unwrap();
        let sums: Vec<_> = extracted.disks.iter().map(|path| sha256(path)).collect();
        assert_eq!(sums, disks, "{name}");
        assert_eq!(extracted.memory_image.map(|path| sha256(&path)).as_deref(), memory, "{name}");
        assert_eq!(files(folder.path()).len(), disks.len() + usize::from(memory.is_some()) + 1, "{name}");
    }
}

#[test]
fn an_empty_disk_of_30_gib_stays_empty() {
    let folder = tempfile::tempdir().unwrap();
    let extracted = extract(&sample("xs70-genuine-ovaxml-emptydisk.xva"), folder.path()).unwrap();
    let disk = extracted.disks[0].metadata().unwrap();
    assert_eq!((disk.len(), disk.blocks()), (32_212_254_720, 0));
    assert_eq!(extracted.appliance.producer.brand, "XenServer");
}
