//! Files that are something else are named for what they are, from their beginning.

use xvirt_testing::handmade::{member, ova};
use xvirt_xva::{ErrorKind, ReadOptions, inspect};

use crate::verify;

#[test]
fn an_ova_is_named_from_its_first_member() {
    // What follows is damaged: nobody may come so far.
    let archive = [member("web.ovf", b"<Envelope/>"), vec![7; 512]].concat();
    let what = "it is an OVA, the format of VMware and VirtualBox; unpack it with tar";
    let error = inspect(&archive[..], &ReadOptions::default(), &()).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(what), "{error}");
    let report = verify(&archive).unwrap();
    assert!(!report.good && report.problems[0].what.contains(what), "{report:?}");
}

#[test]
fn an_export_of_metadata_is_named() {
    let archive = [member("ova.xml", ova(1 << 20, 2).as_bytes()), vec![0; 1024]].concat();
    let report = verify(&archive).unwrap();
    let what = "the archive has no contents of any disk, as an export of metadata; export the VM with its disks";
    assert!(!report.good && report.problems[0].what.contains(what), "{report:?}");
}
