//! What stands where a chunk belongs, and is none, never becomes a hole.

use std::sync::Mutex;

use xvirt_testing::handmade::{member, ova};
use xvirt_xva::{
    Appliance, Archive, Defect, DiskSink, Error, ErrorKind, ExpectedDisk, ReadOptions, Result, Severity, read,
};

use crate::verify;

const MIB: usize = 1 << 20;

/// Takes everything that has no checksum, as the option to accept unchecked contents does.
struct Trusting(Mutex<Vec<u64>>);

impl DiskSink for Trusting {
    type Error = Error;

    fn begin(&self, _: &Appliance, _: &[ExpectedDisk]) -> Result<()> {
        Ok(())
    }

    fn write(&self, _: usize, offset: u64, _: &[&[u8]]) -> Result<()> {
        self.0.lock().unwrap().push(offset);
        Ok(())
    }

    fn defect(&self, defect: Defect) -> Result<()> {
        if defect.severity == Severity::Damage { Err(defect.error) } else { Ok(()) }
    }
}

/// A member of another type, with the checksum of its header made anew.
fn typed(name: &str, kind: u8, target: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = member(name, data);
    bytes[156] = kind;
    bytes[157..157 + target.len()].copy_from_slice(target.as_bytes());
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

/// An archive without checksums whose chunk 1 of 3 was replaced.
fn archive(second: &[u8]) -> Vec<u8> {
    let chunk = |number: usize| member(&format!("Ref:2/{number:08}"), &vec![number as u8 + 1; MIB]);
    [&member("ova.xml", ova(3 << 20, 2).as_bytes())[..], &chunk(0), second, &chunk(2), &[0; 1024]].concat()
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let record = |(key, value): &(&str, &str)| {
        let rest = key.len() + value.len() + 3;
        let length = (rest + 1..).find(|length| length.to_string().len() + rest == *length).unwrap();
        format!("{length} {key}={value}\n")
    };
    typed("PaxHeaders/x", b'x', "", records.iter().map(record).collect::<String>().as_bytes())
}

#[test]
fn what_stands_where_a_chunk_belongs_is_refused_by_every_reader() {
    let good = archive(&member("Ref:2/00000001", &vec![2; MIB]));
    let trusting = Trusting(Mutex::default());
    read(&good[..], &ReadOptions::default(), &trusting, &()).unwrap();
    let name = "Ref:2/00000001";
    let sparse = pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.name", name)]);
    for (second, what) in [
        (
            typed(name, b'1', "Ref:2/00000000", b""),
            "Ref:2/00000001 is damaged: it stands where a chunk belongs, but is a hard link",
        ),
        (typed(name, b'2', "00000000", b""), "is a symbolic link"),
        (typed(name, b'S', "", &[2; 4096]), "is a sparse file of GNU tar"),
        ([sparse, member("Ref:2/GNUSparseFile.7/00000001", &[2; 4096])].concat(), "is a sparse file of GNU tar"),
        (typed(name, b'6', "", b""), "is a named pipe"),
        (typed(name, b'M', "", b""), "of a type that is not supported"),
        (typed(name, b'5', "", b""), "is a directory"),
        (member("Ref:2/+1", &vec![2; MIB]), "does not have the name of one"),
        (member("Ref:2/00000001.gz", &[2; 700]), "does not have the name of one"),
        (member("Ref:2/chunk-000000001", &vec![2; MIB]), "does not have the name of one"),
        (member("1", &vec![2; MIB]), "does not have the name of one"),
        (typed("Ref:2/00000001.xxhash", b'1', "Ref:2/00000000.xxhash", b""), "is a hard link"),
    ] {
        let archive = archive(&second);
        let outcome = read(&archive[..], &ReadOptions::default(), &Trusting(Mutex::default()), &());
        let error = outcome.map(drop).expect_err(what);
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(what), "{what}: {error}");
        let report = verify(&archive).unwrap();
        let told = report.problems.iter().any(|problem| problem.serious && problem.what == error.to_string());
        assert!(told && !report.good, "{what}: {report:?}");
        let error = Archive::open(archive, "a.xva").map(drop).expect_err(what).to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
}

#[test]
fn a_link_in_place_of_a_checksum_is_named() {
    let chunk = member("Ref:2/00000001", &vec![2; MIB]);
    let link = typed("Ref:2/00000001.checksum", b'1', "Ref:2/00000000.checksum", b"");
    let archive = archive(&[chunk, link].concat());
    let error = read(&archive[..], &ReadOptions::default(), &Trusting(Mutex::default()), &()).unwrap_err();
    assert!(error.to_string().contains("/00000001.checksum is damaged: it stands where"), "{error}");
}

#[test]
fn what_has_nothing_to_do_with_a_disk_is_no_damage() {
    let second = [
        typed("Ref:2/", b'5', "", b""),
        member("Ref:2/.DS_Store", b"x"),
        member("notes/readme", b"x"),
        typed("latest", b'2', "ova.xml", b""),
        member("Ref:2/00000001", &vec![2; MIB]),
    ];
    read(&archive(&second.concat())[..], &ReadOptions::default(), &Trusting(Mutex::default()), &()).unwrap();
}

#[test]
fn random_access_misses_a_chunk_that_left_its_checksum_behind() {
    let error = Archive::open(archive(&member("Ref:2/00000001.checksum", b"x")), "a.xva").unwrap_err().to_string();
    assert!(error.contains("00000001.checksum is damaged: it does not follow the chunk"), "{error}");
}
