//! What XenServer accepts besides what it writes.

use xvirt_testing::archives::{archive, disks};
use xvirt_testing::files::pattern;
use xvirt_testing::handmade::{member, ova, sha1};
use xvirt_xva::{Archive, WriteOptions};

use crate::verify;

const MIB: usize = 1 << 20;

/// A chunk of `Ref:2` under this name, with its checksum.
fn named(name: &str, data: &[u8]) -> Vec<u8> {
    let name = format!("Ref:2/{name}");
    [member(&name, data), member(&format!("{name}.checksum"), sha1(data).as_bytes())].concat()
}

/// An archive of one disk of `size` bytes with these chunks.
fn with_chunks(size: usize, chunks: &[Vec<u8>]) -> Vec<u8> {
    [&member("ova.xml", ova(size as u64, 2).as_bytes())[..], &chunks.concat(), &[0; 1024]].concat()
}

/// Checks that every reader gets this disk, and returns what verify tells of the archive besides.
fn read_as(archive: &[u8], disk: &[u8]) -> (Vec<String>, String) {
    let (_, found) = disks(archive).unwrap();
    assert!(found["Ref:2"] == disk, "another disk is read");
    let opened = Archive::open(archive.to_vec(), "a.xva").unwrap();
    let mut bytes = vec![0; disk.len()];
    opened.disks()[0].read_at(&mut bytes, 0).unwrap();
    assert!(bytes == disk, "another disk is read at random");
    let report = verify(archive).unwrap();
    assert!(report.good && report.disks[0].whole, "{report:?}");
    let problems = report.problems.into_iter().map(|problem| problem.what).collect();
    (problems, report.obstacles.join("\n"))
}

#[test]
fn numbers_need_no_padding() {
    let disk = pattern(1, 12 * MIB);
    let chunks = |name: &dyn Fn(usize) -> String| {
        let chunks: Vec<_> = disk.chunks(MIB).enumerate().map(|(index, data)| named(&name(index), data)).collect();
        with_chunks(disk.len(), &chunks)
    };
    // XenServer compares the numbers as texts.
    let unordered = "the numbers of chunks do not have 8 digits, and are not in the order of texts: Ref:2/10";
    let (problems, obstacles) = read_as(&chunks(&|number| number.to_string()), &disk);
    assert!(problems.is_empty() && obstacles.contains(unordered), "{problems:?} {obstacles}");
    let last = |number: usize| if number == 11 { "11".to_owned() } else { format!("{number:08}") };
    let (problems, obstacles) = read_as(&chunks(&last), &disk);
    assert!(problems.is_empty() && !obstacles.contains("order of texts"), "{problems:?} {obstacles}");
}

#[test]
fn a_tail_of_any_length_needs_no_padding() {
    let disk = pattern(2, MIB + 700);
    let padded = with_chunks(disk.len(), &[named("00000000", &disk[..MIB]), named("00000001", &disk[MIB..])]);
    let odd = "a chunk has no multiple of 512 bytes: Ref:2/00000001";
    assert!(read_as(&padded, &disk).1.contains(odd));

    let tail = named("00000001", &disk[MIB..]);
    let (data, checksum) = (&tail[..512 + 700], &tail[512 + 1024..]);
    let unpadded = with_chunks(disk.len(), &[named("00000000", &disk[..MIB]), data.to_vec(), checksum.to_vec()]);
    let (problems, obstacles) = read_as(&unpadded, &disk);
    assert!(problems.is_empty() && !obstacles.contains(odd), "{problems:?} {obstacles}");
    // What follows is found as well.
    let more = with_chunks(
        disk.len(),
        &[named("00000000", &disk[..MIB]), data.to_vec(), checksum.to_vec(), member("x", b"y")],
    );
    assert_eq!(read_as(&more, &disk).0.len(), 1);

    // The archive may end with the checksum itself.
    let short = unpadded.len() - 1024 - (512 - 40);
    read_as(&unpadded[..short], &disk);
    assert!(disks(&unpadded[..short - 1]).is_err());
}

#[test]
fn a_disk_may_begin_with_chunks_that_are_left_out() {
    let mut disk = pattern(3, 4 * MIB);
    disk[..2 * MIB].fill(0);
    let chunks = [named("00000002", &disk[2 * MIB..3 * MIB]), named("00000003", &disk[3 * MIB..])];
    let (problems, obstacles) = read_as(&with_chunks(disk.len(), &chunks), &disk);
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert!(problem.contains("Ref:2/00000002: its disk begins with it"), "{problem}");
    assert!(!obstacles.contains("begins with it"), "{obstacles}");
}

#[test]
fn zeroes_may_follow_gzip() {
    let disk = pattern(4, 2 * MIB);
    let mut archive = archive("vm", std::slice::from_ref(&disk), &WriteOptions::gzip());
    archive.resize(archive.len().next_multiple_of(10_240) + 10_240, 0);
    let (_, found) = disks(&archive).unwrap();
    assert!(found.into_values().eq([disk]));
    let report = verify(&archive).unwrap();
    assert!(report.good && report.problems.is_empty() && report.obstacles.is_empty(), "{report:?}");
    assert_eq!(report.size, archive.len() as u64);
    archive.push(7);
    assert!(disks(&archive).unwrap_err().to_string().contains("zeroes and then other data follow"));
}
