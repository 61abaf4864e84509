//! Archives written by XenServer's own code and by Xen Orchestra.

use std::io::Read;

/// The names of all samples.
pub const SAMPLES: [&str; 10] = [
    "xapi-gzip.xva",
    "xapi-heartbeats.xva",
    "xapi-odd-tail.xva",
    "xapi-plain-3disks.xva",
    "xapi-refs-cross-100.xva",
    "xapi-suspended.xva",
    "xapi-template.xva",
    "xapi-zstd.xva",
    "xo-3disks.xva",
    "xs70-genuine-ovaxml-emptydisk.xva",
];

/// The SHA-256 of each raw disk before packing.
const ROOT: &str = "e2717b8b0fba5a9923516522141f49ef03d2a5a92631e3a72387d2129f7689f8";
const ZERO: &str = "bbd05cf6097ac9b1f89ea29d2542c1b7b67ee46848393895f5a9e43fa1f621e5";
const TAIL: &str = "6a8d113617ff7a347eaf042330813d03b71b5cdf07706800510f4ab41bfcdef3";
const DATA: &str = "7d38a8c66e571994b5aa22dab53c2db02d87be72398c6e2c654f0e7e969fff52";
const BIG: &str = "6d6c2bc441d02e11e57505a7edf66ee94d75361f0c8a3fc8080fa3d2ef5c71b0";
const MEMORY: &str = "a48bef809eccbfaddcb0c8588f9c5e02e09724fd6ce9cf2ed3cccecfbbb2b8df";

/// The SHA-256 of the disks of each sample except the one of 30 GiB, in the order of the appliance, and of its memory
/// image.
pub const SUMS: [(&str, &[&str], Option<&str>); 9] = [
    ("xapi-gzip.xva", &[ROOT], None),
    ("xapi-heartbeats.xva", &[BIG, ROOT], None),
    ("xapi-odd-tail.xva", &[ROOT, DATA], None),
    ("xapi-plain-3disks.xva", &[ROOT, ZERO, TAIL], None),
    ("xapi-refs-cross-100.xva", &[ROOT, TAIL], None),
    ("xapi-suspended.xva", &[ROOT], Some(MEMORY)),
    ("xapi-template.xva", &[ROOT], None),
    ("xapi-zstd.xva", &[ROOT], None),
    ("xo-3disks.xva", &[ROOT, ZERO, TAIL], None),
];

/// The bytes of one sample.
pub fn sample(name: &str) -> Vec<u8> {
    let packed = &include_bytes!("../samples.tar.zst")[..];
    let mut archive = tar::Archive::new(zstd::Decoder::new(packed).unwrap());
    let mut found = archive.entries().unwrap().map(Result::unwrap).find(|entry| entry.path().unwrap().ends_with(name));
    let mut bytes = Vec::new();
    found.as_mut().unwrap_or_else(|| panic!("no sample {name}")).read_to_end(&mut bytes).unwrap();
    bytes
}
