//! Archives of XenServer, XCP-ng and Xen Orchestra.

use sha2::{Digest, Sha256};
use xvirt_testing::archives::disks;
use xvirt_testing::samples::{SAMPLES, SUMS, sample};
use xvirt_xva::{Checksum, Compression, Firmware, ReadOptions, inspect};

use crate::verify;

#[test]
fn every_sample_gives_its_disks() {
    for (name, sums, memory) in SUMS {
        let (summary, mut disks) = disks(&sample(name)).unwrap();
        let sum = |bytes: Vec<u8>| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let found: Vec<_> = summary.appliance.disks.iter().map(|disk| sum(disks.remove(&disk.id).unwrap())).collect();
        assert_eq!(found, sums, "{name}");
        let found: Vec<_> = disks.into_values().map(sum).collect();
        assert_eq!(found, memory.into_iter().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn every_sample_is_verified() {
    for name in SAMPLES {
        let archive = sample(name);
        let report = verify(&archive).unwrap();
        assert!(report.good && report.problems.is_empty(), "{name}: {:?}", report.problems);
        assert!(report.disks.iter().all(|disk| disk.whole && disk.reached == disk.size), "{name}: {:?}", report.disks);
        assert_eq!(report.size, archive.len() as u64, "{name}");
        let compression = match name {
            "xapi-gzip.xva" => Compression::Gzip,
            "xapi-zstd.xva" => Compression::Zstd,
            _ => Compression::None,
        };
        let checksum = if name.starts_with("xs70") { Checksum::Sha1 } else { Checksum::Xxhash };
        assert_eq!((report.compression, &report.checksums[..]), (compression, &[checksum][..]), "{name}");
    }
}

#[test]
fn what_an_appliance_is_can_be_told() {
    let appliance = verify(&sample("xapi-zstd.xva")).unwrap().appliance.unwrap();
    assert_eq!((appliance.name.as_str(), appliance.vcpus, appliance.memory), ("zs", 2, 2 << 30));
    assert_eq!((appliance.firmware, appliance.template, appliance.suspended), (Firmware::Uefi, false, false));
    assert_eq!((appliance.cd_drives.len(), appliance.cd_drives[0].as_deref()), (1, None));
    let nics: Vec<_> = appliance.nics.iter().map(|nic| (nic.mac.as_str(), nic.network.as_str())).collect();
    let network = "Pool-wide network associated with eth0";
    assert_eq!(nics, [("aa:bb:cc:00:00:00", network), ("aa:bb:cc:00:00:01", network)]);
    let producer = appliance.producer;
    assert_eq!(
        (producer.brand.as_str(), producer.version.as_str(), producer.xapi.as_str()),
        ("XCP-ng", "8.3.0", "24.19")
    );

    let appliance = verify(&sample("xapi-template.xva")).unwrap().appliance.unwrap();
    assert_eq!((appliance.template, appliance.firmware), (true, Firmware::Bios));
    assert!(verify(&sample("xapi-suspended.xva")).unwrap().appliance.unwrap().suspended);
}

#[test]
fn an_appliance_is_inspected_by_its_beginning() {
    for name in SAMPLES {
        let whole = sample(name);
        let report = verify(&whole).unwrap();
        // What follows the first chunk is not looked at.
        let part = &whole[..whole.len().min(3 << 20)];
        let inspected = inspect(part, &ReadOptions::default(), &()).unwrap();
        assert_eq!(Some(inspected.appliance), report.appliance, "{name}");
        assert_eq!(
            (inspected.compression, inspected.checksum),
            (report.compression, Some(report.checksums[0])),
            "{name}"
        );
    }
}
