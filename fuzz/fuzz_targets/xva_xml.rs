//! Fuzzes `ova.xml`: a parsed document is written and parsed again, directly and through a configuration.
//!
//! The input is an `ova.xml` and one more byte, which selects how the configuration differs from the document.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_core::xva::fuzzing::recompose;
use xvirt_xva::Appliance;
use xvirt_xva::ova::Document;

fuzz_target!(|data: &[u8]| {
    let Some((control, xml)) = data.split_last() else { return };
    let Ok(document) = Document::parse(xml) else { return };
    let appliance = Appliance::read(&document).expect("what was parsed is an appliance");
    let written = document.to_xml();
    let again = Document::parse(written.as_bytes()).expect("what was written is read");
    assert_eq!(again.to_xml(), written);
    assert_eq!(Appliance::read(&again).expect("it is the same appliance"), appliance);

    let mut capacities: Vec<_> = appliance.disks.iter().map(|disk| disk.size).collect();
    match control & 3 {
        0 => {}
        1 => drop(capacities.pop()),
        _ => capacities.extend([1 << 20, 512]),
    }
    let (more_nics, preserve) = (usize::from(control >> 2 & 3), control & 16 != 0);
    let Ok((composed, slots)) = recompose(document, &capacities, more_nics, preserve) else {
        assert!(preserve, "only a MAC address can be refused");
        return;
    };
    let written = composed.to_xml();
    let again = Document::parse(written.as_bytes()).expect("what was composed is read");
    assert_eq!(again.to_xml(), written);
    let after = Appliance::read(&again).expect("what was composed is an appliance");
    assert_eq!((after.disks.len(), slots.len()), (capacities.len(), capacities.len()));
    assert_eq!(after.nics.len(), appliance.nics.len() + more_nics);
    // The memory image is gone, and it may also have been in a drive.
    if !appliance.suspended {
        let mut drives = appliance.cd_drives.iter().zip(&after.cd_drives);
        assert_eq!(after.cd_drives.len(), appliance.cd_drives.len());
        // An empty drive stays empty, even if its null reference looks like a reference to a disk.
        assert!(drives.all(|(before, after)| before.is_some() || after.is_none()));
    }
    assert!(!after.suspended);

    // An export contains what a reader expects.
    let expected = again.expected().expect("its disks are told");
    for ((id, size), capacity) in slots.into_iter().zip(capacities) {
        assert!(size >= capacity);
        assert!(after.disks.iter().any(|disk| disk.id == id && disk.size == size));
        let found = expected.iter().any(|disk| disk.id == id && disk.size == size && disk.required);
        assert!(found, "{id} of {size} bytes is not among {expected:?}");
    }
});
