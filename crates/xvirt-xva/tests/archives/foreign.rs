//! Files that are something else are named for what they are, from their beginning.

use std::io::Write;

use flate2::write::GzEncoder;
use xvirt_testing::archives::{archive, disks};
use xvirt_testing::files::pattern;
use xvirt_testing::handmade::{chunk, member, ova};
use xvirt_xva::{Archive, Checksum, ErrorKind, ReadOptions, WriteOptions, inspect};

use crate::verify;

#[test]
fn an_ova_is_named_from_its_first_member() {
    // What follows is damaged: nobody may come so far.
    let archive = [member("web.ovf", b"<Envelope/>"), vec![7; 512]].concat();
    let what = "it is an OVA, the format of VMware and VirtualBox; unpack it with tar";
    let error = inspect(&archive[..], &ReadOptions::default(), &()).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(what), "{error}");
    let error = verify(&archive).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(what), "{error}");
}

/// What everybody says of a file that is none of ours.
fn refused(archive: &[u8]) -> String {
    let error = disks(archive).map(drop).unwrap_err().to_string();
    assert_eq!(inspect(archive, &ReadOptions::default(), &()).unwrap_err().to_string(), error);
    let told = match verify(archive) {
        Ok(report) => report.problems[0].what.clone(),
        Err(error) => error.to_string(),
    };
    assert_eq!(told, error);
    error
}

#[test]
fn what_was_compressed_twice_is_named() {
    let once = archive("vm", &[pattern(1, 1 << 20)], &WriteOptions::gzip());
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&once).unwrap();
    let error = refused(&encoder.finish().unwrap());
    let what = "the archive is compressed twice, with gzip and then with gzip; decompress it once: gzip -dc OLD >NEW";
    assert_eq!(error, what);
    let error = refused(&zstd::encode_all(&once[..], 3).unwrap());
    assert!(error.contains("with gzip and then with zstd; decompress it once: zstd -dc OLD >NEW"), "{error}");
    let error = refused(&zstd::encode_all(&b"<html>Please log in</html>"[..], 3).unwrap());
    assert!(error.contains("it is compressed with zstd, and inside a web page"), "{error}");
}

#[test]
fn an_archive_in_another_order_is_named() {
    let [metadata, first, second] =
        [member("ova.xml", ova(2 << 20, 2).as_bytes()), chunk(0, &pattern(1, 1 << 20)), chunk(1, &pattern(2, 1 << 20))];
    let how = "pack it there in the order of an appliance: { echo ova.xml; find * -type f";
    // As in `tar --sort=name`.
    let error = refused(&[&first[..], &second, &metadata].concat());
    assert!(
        error.contains("Ref:2/00000000 is out of order: it comes before ova.xml; ") && error.contains(how),
        "{error}"
    );
    let unordered = [&metadata[..], &second, &first].concat();
    let checksums_first = [&metadata[..], &first[first.len() - 1024..], &first[..first.len() - 1024], &second].concat();
    for (archive, what) in [
        (&unordered, "Ref:2/00000000 is out of order: it does not follow a chunk with a lower number; "),
        (&checksums_first, "Ref:2/00000000.checksum is damaged: it does not follow the chunk with this name; "),
    ] {
        let error = disks(archive).map(drop).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(how), "{error}");
        assert!(verify(archive).unwrap().problems.iter().any(|problem| problem.what == error));
        let error = Archive::open(archive.clone(), "a.xva").map(drop).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn a_tar_of_something_else_is_named_from_its_beginning() {
    for (first, what) in [
        (member("etc/passwd", b"root"), "it is a tar archive with etc/passwd in place of ova.xml"),
        (member("disk.img", &vec![7; 2 << 20]), "it is a tar archive with disk.img in place of ova.xml"),
        (member("web-disk1.VMDK", b"KDMV"), "it is an OVA"),
    ] {
        // What follows is damaged: nobody may come so far.
        let error = refused(&[first, vec![7; 512]].concat());
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn inspecting_ends_after_the_first_chunk() {
    let metadata = member("ova.xml", ova(4 << 20, 2).as_bytes());
    let data = pattern(1, 1 << 20);
    let damaged = vec![7; 512];
    let look = |parts: &[&[u8]]| inspect(&parts.concat()[..], &ReadOptions::default(), &()).unwrap();
    let with = look(&[&metadata, &chunk(0, &data), &damaged]);
    assert_eq!((with.has_contents, with.checksum), (true, Some(Checksum::Sha1)));
    let bare = look(&[&metadata, &member("Ref:2/00000000", &data), &member("Ref:2/00000001", &data), &damaged]);
    assert_eq!((bare.has_contents, bare.checksum), (true, None));
    let only = look(&[&metadata, &[0; 1024]]);
    assert_eq!((only.has_contents, only.checksum), (false, None));
}

#[test]
fn an_export_of_metadata_is_named() {
    let archive = [member("ova.xml", ova(1 << 20, 2).as_bytes()), vec![0; 1024]].concat();
    let report = verify(&archive).unwrap();
    let what =
        "this is an export of metadata, which has no contents of disks, or it ends too early; export the VM with";
    assert!(!report.good && report.problems[0].what.contains(what), "{report:?}");
}
