//! Archives that ask for memory: what they ask for is bounded, whatever is in them.

use std::io::Write;

use xvirt_testing::files::pattern;
use xvirt_testing::handmade::{chunk, frame, member, ova, sha1, small};
use xvirt_testing::process::{in_own_process, peak_memory};
use xvirt_xva::{Appliance, DiskSink, Error, ErrorKind, ExpectedDisk, ReadOptions, Result, inspect};

use crate::verify;

const MIB: u64 = 1 << 20;
/// The most that reading may take besides a window, in bytes.
const MAX: u64 = 48 * MIB;

/// Takes disks and keeps nothing.
struct Nothing;

impl DiskSink for Nothing {
    type Error = Error;

    fn begin(&self, _: &Appliance, _: &[ExpectedDisk]) -> Result<()> {
        Ok(())
    }

    fn write(&self, _: usize, _: u64, _: &[&[u8]]) -> Result<()> {
        Ok(())
    }
}

/// Reads an archive in every way there is; answers what each says.
fn read_all(archive: &[u8], options: ReadOptions) -> Vec<Result<()>> {
    let verified = xvirt_xva::verify(archive, &options, &());
    vec![
        verified.map(|report| assert!(report.good, "{:?}", report.problems)),
        inspect(archive, &options, &()).map(drop),
        xvirt_xva::read(archive, &options, &Nothing, &()).map(drop),
    ]
}

#[test]
fn a_window_takes_no_more_memory_than_is_allowed() {
    in_own_process("bounds::a_window_takes_no_more_memory_than_is_allowed", || {
        let archive = frame(31, &small(), 2200, false);
        assert!(archive.len() < 80_000);
        let (memory, results) = peak_memory(|| read_all(&archive, ReadOptions::default()));
        assert!(memory < MAX, "{memory}");
        for result in results {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
            assert!(error.to_string().contains("a window of 2 GiB, but only 128 MiB are allowed"), "{error}");
            assert!(error.remedy().unwrap().contains("ReadOptions::max_window"), "{error}");
        }

        // What is allowed by default, what is allowed if that is asked for, and a window that is larger than what is in
        // it.
        let default = ReadOptions::default();
        let more = default.max_window(256 * MIB);
        for (log, zeroes, tell, options, most) in
            [(27, 200, false, default, 128), (28, 300, false, more, 256), (31, 8, true, default, 8)]
        {
            let archive = frame(log, &small(), zeroes, tell);
            let (memory, results) = peak_memory(|| read_all(&archive, options));
            results.into_iter().for_each(|result| result.unwrap());
            assert!(memory < most * MIB + MAX, "2^{log}: {memory}");
        }
        let barely = default.max_window(256 * MIB - 1);
        for result in read_all(&frame(28, &small(), 1, false), barely) {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::LimitExceeded);
        }
        // More than zstd has means as much as it has.
        let most = default.max_window(102_400 * MIB);
        read_all(&frame(31, &small(), 0, false), most).into_iter().for_each(|result| result.unwrap());
    });
}

#[test]
fn a_chunk_in_tiny_frames_takes_no_more_memory_than_in_one() {
    in_own_process("bounds::a_chunk_in_tiny_frames_takes_no_more_memory_than_in_one", || {
        let metadata = zstd::bulk::compress(&member("ova.xml", ova(20_480, 2).as_bytes()), 1).unwrap();
        let contents = [chunk(0, &pattern(1, 20_480)), vec![0; 1024]].concat();
        // With the size of their content, and without.
        for header in [[0x20, 1], [0x00, 0]] {
            let frame = |byte: &u8| [&[0x28, 0xb5, 0x2f, 0xfd], &header[..], &[9, 0, 0, *byte]].concat();
            let archive: Vec<u8> = metadata.iter().copied().chain(contents.iter().flat_map(frame)).collect();
            let (memory, report) = peak_memory(|| verify(&archive).unwrap());
            assert!(report.good, "{:?}", report.problems);
            assert!(memory < MAX, "{memory}");
        }
    });
}

/// How much memory it takes to look at this metadata, which is too much.
fn metadata(start: &str, repeated: &str, end: &str) -> u64 {
    let count = (16 * MIB as usize - 1000) / repeated.len();
    let xml = [start, &repeated.repeat(count), end].concat();
    let archive = zstd::bulk::compress(&member("ova.xml", xml.as_bytes()), 1).unwrap();
    drop(xml);
    let (memory, report) = peak_memory(|| verify(&archive).unwrap());
    let [problem] = &report.problems[..] else { panic!("{report:?}") };
    assert!(problem.what.contains("ova.xml is damaged: it contains more than 131072 values"), "{problem:?}");
    memory
}

#[test]
fn metadata_of_nothing_but_values_takes_little_more_than_its_text() {
    in_own_process("bounds::metadata_of_nothing_but_values_takes_little_more_than_its_text", || {
        assert!(metadata("<value><array><data>", "<value/>", "</data></array></value>") < MAX);
    });
}

#[test]
fn metadata_of_nothing_but_structures_takes_little_more_than_its_text() {
    in_own_process("bounds::metadata_of_nothing_but_structures_takes_little_more_than_its_text", || {
        let one = "<value><struct><member><name/><value/></member></struct></value>";
        assert!(metadata("<value><array><data>", one, "</data></array></value>") < MAX);
    });
}

#[test]
fn long_names_do_not_fill_a_report() {
    in_own_process("bounds::long_names_do_not_fill_a_report", || {
        let mut archive = zstd::Encoder::new(Vec::new(), 1).unwrap();
        archive.write_all(&small()).unwrap();
        for number in 0..1000 {
            archive.write_all(&member(&format!("{number:060000}"), b"")).unwrap();
        }
        let archive = archive.finish().unwrap();
        let (memory, report) = peak_memory(|| verify(&archive).unwrap());
        assert!(memory < MAX, "{memory}");
        assert!(report.problems[0].what.contains("its name is too long"), "{:?}", report.problems[0]);
    });
}

#[test]
fn checksums_for_the_table_at_the_end_take_no_memory_each() {
    in_own_process("bounds::checksums_for_the_table_at_the_end_take_no_memory_each", || {
        let mut archive = zstd::Encoder::new(Vec::new(), 1).unwrap();
        archive.write_all(&member("ova.xml", ova(512, 1).as_bytes())).unwrap();
        for number in 0..200_000 {
            archive.write_all(&chunk(number, b"")).unwrap();
        }
        archive.write_all(&chunk(200_000, &[5; 512])).unwrap();
        let archive = archive.finish().unwrap();
        let (memory, report) = peak_memory(|| verify(&archive).unwrap());
        assert!(report.good, "{:?}", report.problems);
        assert!(memory < 20 * MIB, "{memory}");
    });
}

#[test]
fn the_table_at_the_end_lists_the_chunks() {
    let archive = |listed: &[(&str, &[u8])]| {
        let entry = |(name, data): &(&str, &[u8])| {
            format!("<member><name>{name}.checksum</name><value>{}</value></member>", sha1(data))
        };
        let table = format!("<value><struct>{}</struct></value>", listed.iter().map(entry).collect::<String>());
        let first = vec![1; MIB as usize];
        let chunks = [chunk(0, &first), chunk(1, &[5; 512])].concat();
        [member("ova.xml", ova(MIB + 512, 1).as_bytes()), chunks, member("checksum.xml", table.as_bytes())].concat()
    };
    let (first, second) = (vec![1; MIB as usize], [5; 512]);
    let good = [("Ref:2/00000001", &second[..]), ("Ref:2/00000000", &first)];
    assert!(verify(&archive(&good)).unwrap().good);
    for bad in [&good[..1], &[("Ref:2/00000000", &second[..]), ("Ref:2/00000001", &first)]] {
        let report = verify(&archive(bad)).unwrap();
        assert!(!report.good && report.problems[0].what.contains("checksum.xml is damaged: it lists"), "{report:?}");
    }
}
