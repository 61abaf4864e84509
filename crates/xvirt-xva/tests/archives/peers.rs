//! Archives that others wrote just now, and ours in their hands.
//!
//! `XVIRT_PEERS` names the folder that `scripts/support/peers` filled.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use xvirt_testing::archives;
use xvirt_testing::files::{files, pattern};
use xvirt_xva::{Checksum, Compression, WriteOptions};

use crate::verify;

const MIB: usize = 1 << 20;

/// Three disks of whole MiB: something in places, something at the end, and one without any holes.
fn disks(folder: &Path) -> Vec<PathBuf> {
    let mut sparse = vec![0; 6 * MIB];
    sparse[..600].fill(7);
    sparse[2 * MIB + 5..3 * MIB].copy_from_slice(&pattern(1, MIB - 5));
    let mut tail = vec![0; 9 * MIB];
    tail[8 * MIB + 77..].copy_from_slice(&pattern(2, MIB - 77));
    let disk = |(name, bytes): (&str, Vec<u8>)| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    [("sparse", sparse), ("tail", tail), ("full", pattern(3, 3 * MIB))].map(disk).into()
}

/// An archive of ours with these disks.
fn archive(folder: &Path, disks: &[PathBuf], name: &str, options: &WriteOptions) -> PathBuf {
    let path = folder.join(name);
    let disks: Vec<_> = disks.iter().map(|disk| fs::read(disk).unwrap()).collect();
    fs::write(&path, archives::archive("peers", &disks, options)).unwrap();
    path
}

fn skip(reason: &str) {
    println!("SKIPPED {}: {reason}", std::thread::current().name().unwrap_or("?"));
}

/// A file that `scripts/support/peers` installed; if it is not there, says that the test was skipped.
fn installed(file: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("XVIRT_PEERS") else {
        skip("XVIRT_PEERS names no folder with other programs");
        return None;
    };
    let path = Path::new(&folder).join(file);
    if !path.exists() {
        skip(&format!("{} is not installed", path.display()));
        return None;
    }
    Some(path)
}

/// Whether a program is there; if not, says that the test was skipped.
fn have(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        skip(&format!("{program} is not installed"));
    }
    there
}

/// Runs a program that must succeed and have nothing to complain of; gives what it printed.
fn run(program: impl AsRef<Path>, arguments: &[&Path]) -> String {
    let output = Command::new(program.as_ref()).args(arguments).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    let well = output.status.success() && complaints.is_empty();
    assert!(well, "{} {arguments:?}: {} {complaints}", program.as_ref().display(), output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts that files hold the same, without printing them.
fn assert_same(one: &Path, other: &Path) {
    assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{} and {} differ", one.display(), other.display());
}

#[test]
fn what_xen_orchestra_writes_is_read() {
    let Some(modules) = installed("npm/node_modules") else { return };
    if !have("node") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disks = disks(folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archives/peers/xen-orchestra.mjs");
    let archive = folder.path().join("orchestra.xva");
    run("node", &[&script, &modules, &archive, &disks[0], &disks[1], &disks[2]]);

    let archive = fs::read(&archive).unwrap();
    let report = verify(&archive).unwrap();
    assert!(report.good && report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!((report.compression, &report.checksums[..]), (Compression::None, &[Checksum::Xxhash][..]));
    let (summary, read) = archives::disks(&archive).unwrap();
    let appliance = summary.appliance;
    assert_eq!((appliance.name.as_str(), appliance.vcpus, appliance.memory), ("from <Xen Orchestra>", 3, 512 << 20));
    assert_eq!(appliance.nics[0].mac, "02:00:00:00:00:09");
    assert_eq!(appliance.disks.len(), 3);
    for (disk, original) in appliance.disks.iter().zip(&disks) {
        assert!(read[&disk.id] == fs::read(original).unwrap(), "{}", disk.id);
    }
}

#[test]
fn xva_img_reads_ours() {
    if !have("xva-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disks = disks(folder.path());
    let archive = archive(folder.path(), &disks, "ours.xva", &WriteOptions::none().checksum(Checksum::Sha1));
    let unpacked = unpack("tar", &archive);
    let ids = folders(&unpacked);
    assert_eq!(ids.len(), 3);
    for (id, original) in ids.iter().zip(&disks) {
        let out = folder.path().join("out.raw");
        // It knows a folder by the slash.
        run("xva-img", &["disk-export".as_ref(), &id.join(""), &out]);
        assert_same(&out, original);
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn dissect_reads_ours() {
    let Some(python) = installed("python/bin/python") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archives/peers/dissect-disks.py");
    let folder = tempfile::tempdir().unwrap();
    let disks = disks(folder.path());
    for options in [WriteOptions::none(), WriteOptions::gzip(), WriteOptions::none().checksum(Checksum::Sha1)] {
        let archive = archive(folder.path(), &disks, "ours.xva", &options);
        let out = tempfile::tempdir().unwrap();
        run(&python, &[&script, &archive, out.path()]);
        assert_eq!(files(out.path()).len(), 3);
        for (out, original) in files(out.path()).iter().zip(&disks) {
            let (out, original) = (fs::read(out).unwrap(), fs::read(original).unwrap());
            // It gives zeroes for the last chunk of every disk, whoever wrote the archive.
            let known = original.len() - MIB;
            assert!(out.len() == original.len() && out[..known] == original[..known], "{options:?}");
        }
    }
}

#[test]
fn gnu_tar_and_bsdtar_read_ours() {
    let folder = tempfile::tempdir().unwrap();
    let disks = disks(folder.path());
    for tar in ["tar", "bsdtar"].into_iter().filter(|tar| have(tar)) {
        for options in [
            WriteOptions::none(),
            WriteOptions::gzip(),
            WriteOptions::zstd(),
            WriteOptions::none().checksum(Checksum::Sha1),
        ] {
            let archive = archive(folder.path(), &disks, "ours.xva", &options);
            let listed = run(tar, &["-tf".as_ref(), &archive]);
            let listed: Vec<_> = listed.lines().collect();
            let unpacked = unpack(tar, &archive);
            let mut expected = vec!["ova.xml".to_owned()];
            for (id, disk) in folders(&unpacked).iter().zip(&disks) {
                expected.extend(compare_chunks(id, disk, options.checksum));
            }
            assert_eq!(listed, expected, "{tar} {options:?}");
        }
    }
}

#[test]
fn compressors_find_ours_good() {
    let folder = tempfile::tempdir().unwrap();
    let disks = disks(folder.path());
    let plain = fs::read(archive(folder.path(), &disks, "plain.xva", &WriteOptions::none())).unwrap();
    for (program, options) in [("gzip", WriteOptions::gzip()), ("zstd", WriteOptions::zstd())] {
        if !have(program) {
            continue;
        }
        // gzip insists on the end of the name.
        let archive = archive(folder.path(), &disks, "ours.gz", &options);
        run(program, &["-t".as_ref(), "-q".as_ref(), &archive]);
        let output = Command::new(program).arg("-dc").stdin(File::open(&archive).unwrap()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Only the identity that each export makes up differs.
        let body = |archive: &[u8]| archive[archive.len() - 4 * MIB..].to_vec();
        assert!(output.stdout.len() == plain.len() && body(&output.stdout) == body(&plain), "{program}");
        assert!(verify(&output.stdout).unwrap().good);
    }
}

/// The folder that a tar unpacks an archive into.
fn unpack(tar: &str, archive: &Path) -> PathBuf {
    let folder = archive.with_file_name("unpacked");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir(&folder).unwrap();
    run(tar, &["-xf".as_ref(), archive, "-C".as_ref(), &folder]);
    folder
}

/// The folders of the disks in an archive that was unpacked.
fn folders(unpacked: &Path) -> Vec<PathBuf> {
    files(unpacked).into_iter().filter(|path| path.is_dir()).collect()
}

/// Compares all chunks in a folder with the disk they are of, and gives the names that their members should have.
fn compare_chunks(folder: &Path, disk: &Path, checksum: Checksum) -> Vec<String> {
    let disk = fs::read(disk).unwrap();
    let id = folder.file_name().unwrap().to_str().unwrap();
    let mut names = Vec::new();
    for (number, contents) in disk.chunks(MIB).enumerate() {
        let path = folder.join(format!("{number:08}"));
        if !path.exists() {
            assert!(number > 0 && number + 1 < disk.len() / MIB && contents.iter().all(|byte| *byte == 0), "{path:?}");
            continue;
        }
        assert!(fs::read(&path).unwrap() == contents, "{path:?}");
        let extension = if checksum == Checksum::Sha1 { "checksum" } else { "xxhash" };
        if checksum == Checksum::Sha1 {
            let sum = run("sha1sum", &[&path]);
            let noted = fs::read_to_string(path.with_extension(extension)).unwrap();
            assert_eq!(sum.split_whitespace().next(), Some(noted.as_str()), "{path:?}");
        }
        names.push(format!("{id}/{number:08}"));
        names.push(format!("{id}/{number:08}.{extension}"));
    }
    names
}
