//! What XenServer refuses, though it is read here, is told by kind.

use xvirt_testing::archives::archive;
use xvirt_testing::files::pattern;
use xvirt_testing::handmade::{chunk, frame, member, ova, small};
use xvirt_testing::samples::{SAMPLES, sample};
use xvirt_xva::{ReadOptions, WriteOptions};

use crate::verify;

const MIB: usize = 1 << 20;

/// Each member of an uncompressed archive with its name: header, data and padding.
fn members(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archived = tar::Archive::new(archive);
    let entries = archived.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let (start, size) = (entry.raw_header_position() as usize, entry.size() as usize);
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        (name, archive[start..start + 512 + size.next_multiple_of(512)].to_vec())
    });
    entries.collect()
}

fn obstacles(members: &[(String, Vec<u8>)]) -> Vec<String> {
    let bytes: Vec<u8> = members.iter().flat_map(|(_, bytes)| bytes.clone()).chain([0; 1024]).collect();
    let report = verify(&bytes).unwrap();
    assert!(report.good, "{report:?}");
    report.obstacles
}

#[test]
fn what_xenserver_writes_and_we_do_has_no_obstacle() {
    for name in SAMPLES {
        let obstacles = verify(&sample(name)).unwrap().obstacles;
        assert!(obstacles.is_empty(), "{name}: {obstacles:?}");
    }
    for options in [WriteOptions::none(), WriteOptions::zstd(), WriteOptions::gzip()] {
        let archive = archive("vm", &[pattern(1, 3 * MIB), pattern(2, MIB)], &options);
        assert!(verify(&archive).unwrap().obstacles.is_empty());
    }
}

#[test]
fn what_a_repacked_tree_has_is_told_once_for_each_kind() {
    let good = members(&archive("vm", &[pattern(1, 2 * MIB), pattern(2, 2 * MIB)], &WriteOptions::none()));
    assert!(obstacles(&good).is_empty());

    let dotted: Vec<_> = good
        .iter()
        .map(|(name, bytes)| {
            let mut header = tar::Header::new_old();
            header.as_old_mut().name[..name.len() + 2].copy_from_slice(format!("./{name}").as_bytes());
            header.set_size(u64::from_str_radix(std::str::from_utf8(&bytes[124..135]).unwrap(), 8).unwrap());
            header.set_cksum();
            (name.clone(), [header.as_bytes(), &bytes[512..]].concat())
        })
        .collect();
    let told = obstacles(&dotted);
    assert!(told.iter().any(|what| what == "names begin with ./: ova.xml and 4 more"), "{told:?}");
    assert!(told.iter().any(|what| what.starts_with("ova.xml is not its first member")), "{told:?}");

    let mut with_folder = good.clone();
    let mut header = tar::Header::new_old();
    header.set_path("folder/").unwrap();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_cksum();
    with_folder.insert(1, ("folder/".to_owned(), header.as_bytes().to_vec()));
    assert_eq!(obstacles(&with_folder), ["it contains directories: folder/"]);

    let swapped = [&good[..1], &good[5..], &good[1..5]].concat();
    let told = obstacles(&swapped);
    assert!(
        told.len() == 1 && told[0].starts_with("disks are interleaved, or not in the order of their ids"),
        "{told:?}"
    );
}

#[test]
fn metadata_without_what_a_host_needs_is_told() {
    let report = verify(&small()).unwrap();
    assert!(report.good, "{report:?}");
    let told = report.obstacles.join("\n");
    for what in [
        "the version in ova.xml has no hostname",
        "a VM in ova.xml has no uuid",
        "PV_args",
        "VDI Ref:2 in ova.xml has no SR",
    ] {
        assert!(told.contains(what), "{what}: {told}");
    }
    let archive = |size: usize, version| {
        [member("ova.xml", ova(size as u64, version).as_bytes()), chunk(0, &pattern(1, size))].concat()
    };
    let told = |archive: &[u8]| verify(archive).unwrap().obstacles.join("\n");
    assert!(told(&archive(512, 0)).contains("export version 0"));
    assert!(told(&archive(512, 1)).contains("its table of checksums is missing"));
    let odd = told(&archive(700, 2));
    assert!(odd.contains("a chunk has no multiple of 512 bytes: Ref:2/00000000"), "{odd}");
    assert!(odd.contains("the size of disk Ref:2 is no multiple of 512 bytes"), "{odd}");
}

#[test]
fn a_large_window_is_told() {
    let options = ReadOptions::default().max_window(256_u64 << 20);
    let report = xvirt_xva::verify(&frame(28, &small(), 1, false)[..], &options, &()).unwrap();
    assert!(report.good && report.obstacles.iter().any(|what| what.contains("window of more than 128 MiB")));
}

#[test]
fn a_thousand_defects_of_one_kind_are_one_line() {
    let bytes: Vec<u8> = (0..40).flat_map(|number| member(&format!("Ref:2/{number:08}"), &vec![1; MIB])).collect();
    let archive = [member("ova.xml", ova(40 << 20, 2).as_bytes()), bytes].concat();
    let report = verify(&archive).unwrap();
    let [problem] = &report.problems[..] else { panic!("{report:?}") };
    assert!(
        problem.serious && problem.what.contains("its checksum is missing (and 39 more of this kind); copy or"),
        "{problem:?}"
    );
}
