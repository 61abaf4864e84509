//! Recovery after processes are killed.

use std::time::Duration;

use xvirt_core::disk::ImageFormat;
use xvirt_core::repository::Repository;

use crate::child::{self, Told};
use crate::support::*;

#[test]
fn a_kill_at_any_moment_leaves_a_sound_repository() {
    let rounds = std::env::var("XVIRT_TEST_ROUNDS").map_or(120, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let repository = Repository::open(&path).unwrap();
    let root = vm(&repository, "root", ImageFormat::Qcow2, 4 * MIB, b"root");
    repository.seal("t", &root, &()).unwrap();
    let mut told = Told::default();
    told.made.insert(root.uuid().to_string());
    let (mut interrupted, mut half_made, mut kept, mut updated) = (0, 0, 0, 0);
    for round in 0..rounds {
        // Two at a time, so that each meets what the other left behind.
        let mut children = [0, 1].map(|number| child::start(&format!("storm{}", round * 2 + number), &path));
        let mut random = Random::new(round + 1);
        for child in &mut children {
            std::thread::sleep(Duration::from_micros(10_000 + random.below_u64(40_000)));
            child.kill().unwrap();
        }
        children.into_iter().for_each(|child| told.hear(&child::words(child)));
        interrupted += u64::from(path.join("change.json").exists());
        half_made += u64::from(!names(&repository, "staging").is_empty());

        let repository = Repository::open(&path).unwrap();
        sound(&repository);
        for room in ["staging", "trash"] {
            assert_eq!(names(&repository, room), [""; 0], "{room}, round {round}");
        }
        assert!(!path.join("change.json").exists());
        let vms = repository.vms().unwrap();
        for uuid in told.made.difference(&told.removing) {
            assert!(vms.iter().any(|vm| vm.uuid().to_string() == *uuid), "round {round}: VM {uuid} is lost");
        }
        for vm in &vms {
            let config = vm.config();
            let number = config.labels.get("number").map_or("", String::as_str);
            updated += u64::from(!number.is_empty());
            assert_eq!(number, config.description, "round {round}: {vm:?}");
            // Opening for writing repairs what the killed writer left behind.
            let (path, format) = image(&vm.config(), 0);
            drop(xvirt_core::disk::open(&path, Some(format), xvirt_core::disk::Access::ReadWrite).unwrap());
            assert_eq!(read_vm(vm, 0, 4), b"root", "round {round}: {vm:?}");
            let uuid = vm.uuid().to_string();
            if told.wrote.contains(&uuid) && !told.rebasing.contains(&uuid) {
                kept += 1;
                assert_eq!(read_vm(vm, MIB, 4), b"data", "round {round}: {vm:?}");
            }
        }
    }
    println!("{rounds} rounds with two kills each: {interrupted} changes completed, {half_made} stages cleared");
    println!("{} made, {} written, {kept} times looked for", told.made.len(), told.wrote.len());
    assert!(told.made.len() > 20 && kept > 20 && updated > 20, "the children came to nothing");
    assert!(rounds < 100 || half_made > 5, "the kills came too late or too early");
}
