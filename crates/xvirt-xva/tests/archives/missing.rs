//! Archives that lack members.

use xvirt_testing::archives::{archive, disks};
use xvirt_testing::files::pattern;
use xvirt_xva::WriteOptions;

use crate::verify;

/// An archive of one disk with three chunks, without members whose names end so.
fn without(ends: &[&str]) -> Vec<u8> {
    let archive = archive("vm", &[pattern(1, 3 << 20)], &WriteOptions::none());
    let mut kept = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
        let entry = entry.unwrap();
        let name = entry.path().unwrap().into_owned();
        if !ends.iter().any(|end| name.to_str().unwrap().ends_with(end)) {
            kept.append(&entry.header().clone(), entry).unwrap();
        }
    }
    kept.into_inner().unwrap()
}

/// What is said of an archive, the same by all who read it.
fn refused(archive: &[u8]) -> String {
    let error = disks(archive).unwrap_err().to_string();
    let report = verify(archive).unwrap();
    assert!(!report.good && !report.disks[0].whole, "{report:?}");
    assert!(report.problems.iter().any(|problem| problem.serious && problem.what == error), "{error}: {report:?}");
    error
}

#[test]
fn a_chunk_that_left_its_checksum_behind_is_missed() {
    let error = refused(&without(&["/00000001"]));
    assert!(error.contains("/00000001.xxhash is damaged: it does not follow the chunk"), "{error}");
}

#[test]
fn the_last_chunk_of_a_disk_is_missed() {
    let error = refused(&without(&["/00000002", "/00000002.xxhash"]));
    assert!(error.contains("the disk ends after 2097152 of 3145728 bytes"), "{error}");
}
