//! What killed runs leave, and how later ones deal with it.

use xvirt_core::disk::{self, OverlayKind};

use super::*;

/// The drafts in a folder.
fn drafts(folder: &Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| name.starts_with('.')).collect()
}

/// Starts an extraction that waits for more of an archive, and returns it with its open pipe.
fn waiting_extract(folder: &TempDir, archive: &[u8]) -> Running {
    let mut extracting = start(folder, &["extract", "-", "out"]);
    extracting.0.stdin.as_mut().unwrap().write_all(&archive[..2 * MIB]).unwrap();
    extracting
}

#[test]
fn the_draft_of_a_killed_pack_is_removed_by_the_next_one_but_not_that_of_a_living_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("big.raw"), pattern(2, 64 * MIB)).unwrap();
    fs::write(folder.path().join("small.raw"), pattern(2, MIB)).unwrap();
    // So slow that it cannot end before it is killed.
    let pack = ["pack", "--name", "web", "--disk", "big.raw", "--level", "19", "web.xva"];
    let begin = |count| {
        let packing = start(&folder, &pack);
        wait_until("the beginning", || drafts(folder.path()).len() == count);
        packing
    };
    let (mut living, mut killed) = (begin(1), begin(2));
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    fs::write(folder.path().join(".appliance-notes"), "mine").unwrap();
    assert_eq!(drafts(folder.path()).len(), 3);
    good(&folder, &["pack", "--name", "web", "--disk", "small.raw", "small.xva"]);
    assert_eq!(drafts(folder.path()).len(), 2, "that of the living one, and what is none");
    assert!(living.0.try_wait().unwrap().is_none(), "it ended too early to test anything");
    interrupt(&living.0);
    living.0.wait().unwrap();
    assert_eq!(names(folder.path()), [".appliance-notes", "big.raw", "small.raw", "small.xva"]);
}

#[test]
fn the_drafts_of_a_killed_extract_are_removed_by_the_next_one_but_not_those_of_a_living_one() {
    let folder = folder_with_disk();
    good(&folder, &["pack", "--name", "web", "--disk", "a.raw", "--compress", "none", "web.xva"]);
    let archive = fs::read(folder.path().join("web.xva")).unwrap();
    let out = folder.path().join("out");
    let begin = |count| {
        let extracting = waiting_extract(&folder, &archive);
        wait_until("the beginning", || out.exists() && drafts(&out).len() == count);
        extracting
    };
    let (mut living, mut killed) = (begin(1), begin(2));
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    assert_eq!(drafts(&out).len(), 2);
    good(&folder, &["extract", "web.xva", "out"]);
    assert_eq!(drafts(&out).len(), 1, "that of the living one");
    // The living one is not harmed: it only finds that the names are taken.
    living.0.stdin.take().unwrap().write_all(&archive[2 * MIB..]).unwrap();
    let mut error = String::new();
    living.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(error.contains(" already exists; remove it, or choose another folder"), "{error}");
    assert_eq!(names(&out), ["disk-0.raw", "ova.xml"]);
}

#[test]
fn a_pack_does_not_replace_what_backs_its_disk() {
    let folder = folder_with_disk();
    let before = fs::read(folder.path().join("a.raw")).unwrap();
    let at = |name: &str| folder.path().join(name);
    for (base, copy) in [("a.raw", "middle.qcow2"), ("middle.qcow2", "top.qcow2")] {
        if disk::overlay(at(base), None, at(copy)).unwrap() != OverlayKind::Qcow2 {
            println!("SKIPPED a_pack_does_not_replace_what_backs_its_disk: this file system shares blocks instead");
            return;
        }
    }
    for output in ["a.raw", "middle.qcow2", "top.qcow2"] {
        let (status, _, error) = run(&folder, &["pack", "--name", "web", "--disk", "top.qcow2", output, "--force"]);
        assert!(status == 1 && error.contains("is a disk of the VM, or backs one; give the archive"), "{error}");
    }
    assert!(fs::read(at("a.raw")).unwrap() == before);
}
