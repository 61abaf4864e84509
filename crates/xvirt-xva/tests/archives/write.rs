//! Archives of ours.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use xvirt_testing::archives::disks;
use xvirt_testing::files::pattern;
use xvirt_xva::ova::Document;
use xvirt_xva::{Checksum, DiskContents, DiskSource, ErrorKind, Result, WriteOptions};

use crate::verify;

const MIB: usize = 1 << 20;

/// Writes a VM with these disks; answers with the document, too.
fn write(sources: &[&dyn DiskSource], output: impl std::io::Write, options: &WriteOptions) -> Result<Document> {
    let mut document = Document::new_vm("web <1> & Ж 漢字");
    document.set_vcpus(3)?;
    document.set_memory(768 << 20)?;
    let add = |source: &&dyn DiskSource| document.add_disk("a disk", source.size().unwrap());
    let added = sources.iter().map(add).collect::<Result<Vec<_>>>()?;
    document.add_network_interface(Some("br7"))?;
    document.complete()?;
    let contents = added.iter().zip(sources).map(|(disk, source)| DiskContents { id: &disk.vdi, source: *source });
    xvirt_xva::write(output, &document, &contents.collect::<Vec<_>>(), options, &())?;
    Ok(document)
}

#[test]
fn what_is_written_is_read() {
    let mut root = vec![0; 5 * MIB];
    root[..600].fill(7);
    root[2 * MIB..3 * MIB].copy_from_slice(&pattern(1, MIB));
    let small = pattern(3, 1536);
    let mut sizes = Vec::new();
    for options in [
        WriteOptions::none(),
        WriteOptions::gzip(),
        WriteOptions::zstd(),
        WriteOptions::none().checksum(Checksum::Sha1),
    ] {
        let mut archive = Vec::new();
        let document = write(&[&root, &small], &mut archive, &options).unwrap();
        sizes.push(archive.len());
        let report = verify(&archive).unwrap();
        assert!(report.good && report.problems.is_empty(), "{options:?}: {:?}", report.problems);
        assert_eq!((report.compression, report.checksums), (options.compression, vec![options.checksum]));
        let (summary, read) = disks(&archive).unwrap();
        assert_eq!(summary.document.to_xml(), document.to_xml());
        let appliance = summary.appliance;
        assert_eq!((appliance.name.as_str(), appliance.vcpus, appliance.memory), ("web <1> & Ж 漢字", 3, 768 << 20));
        assert_eq!(appliance.nics[0].network, "br7");
        let described: Vec<_> = appliance.disks.iter().map(|disk| (disk.size as usize, disk.bootable)).collect();
        assert_eq!(described, [(5 * MIB, true), (MIB, false)]);
        let contents: Vec<_> = appliance.disks.iter().map(|disk| &read[&disk.id]).collect();
        // What is smaller is filled up with zeroes.
        assert!(contents == [&root, &[small.clone(), vec![0; MIB - 1536]].concat()], "{options:?}");
    }
    assert!(sizes[1] < sizes[0] && sizes[2] < sizes[0], "{sizes:?}");
}

#[test]
fn an_archive_is_laid_out_as_xenserver_wants_it() {
    let mut root = vec![0; 5 * MIB];
    root[..600].fill(7);
    root[2 * MIB..3 * MIB].copy_from_slice(&pattern(1, MIB));
    let data = tempfile::tempfile().unwrap();
    data.set_len(300 * MIB as u64).unwrap();
    data.write_all_at(&pattern(2, 9000), 299 * MIB as u64 + 4096).unwrap();
    let mut archive = Vec::new();
    write(&[&root, &data, &pattern(3, 1536)], &mut archive, &WriteOptions::none()).unwrap();
    let mut tar = tar::Archive::new(&archive[..]);
    let members: Vec<_> = tar
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.path().unwrap().to_str().unwrap().to_owned(), entry.header().mode().unwrap(), entry.size())
        })
        .collect();
    assert_eq!(members[0].0, "ova.xml");
    assert!(members.iter().all(|(_, mode, _)| *mode == 0o400));
    let chunks: Vec<_> = members.iter().skip(1).step_by(2).map(|(name, _, size)| (name.as_str(), *size)).collect();
    let number = |name: &str| name.split_once('/').unwrap().1.to_owned();
    let numbers: Vec<_> = chunks.iter().map(|(name, _)| number(name)).collect();
    // First and last of each, and what is not zeroes between.
    assert_eq!(numbers, ["00000000", "00000002", "00000004", "00000000", "00000299", "00000000"]);
    assert!(chunks.iter().all(|(_, size)| *size == MIB as u64));
    let mut ids: Vec<_> = chunks.iter().map(|(name, _)| name.split_once('/').unwrap().0).collect();
    ids.dedup();
    assert!(ids.is_sorted() && ids.len() == 3, "{ids:?}");
    // Two blocks of zeroes and nothing else end it.
    assert!(archive.ends_with(&[0; 1024]) && archive.len() % 512 == 0);
    assert!(archive[archive.len() - 1536..].iter().any(|byte| *byte != 0));
}

#[test]
fn what_cannot_be_written_is_said() {
    let disk = pattern(1, 2 * MIB);
    let error = write(&[&disk], Vec::new(), &WriteOptions::zstd().level(20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "zstd has no level 20; choose one between 1 and 19");
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = write(&[&disk], full, &WriteOptions::zstd()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(error.to_string().contains("make room where it is written to"), "{error}");
    let mut document = Document::new_vm("vm");
    document.complete().unwrap();
    let cancelled = AtomicBool::new(true);
    let error = xvirt_xva::write(Vec::new(), &document, &[], &WriteOptions::zstd(), &cancelled).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}
