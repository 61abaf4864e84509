//! The hot plug part of the DSDT: it notifies the guest of plugged devices and of eject requests.
//!
//! Each slot for hot-plugged devices is a device object with its slot number (`_SUN`), address (`_ADR`) and `_EJ0`. The
//! method of the general-purpose event reads the registers of the hot plug controller and notifies the slots they name
//! (ACPI specification 6.5, sections 5.6.4 to 5.6.6, 6.1.1, 6.1.11 and 6.3.3).

use acpi_tables::aml::{
    And, Device, EISAName, Field, FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, IO, If, Local, Method,
    MethodCall, Name, Notify, OpRegion, OpRegionSpace, Path, ResourceTemplate, Scope, Store, ZERO,
};
use acpi_tables::{Aml, AmlSink};

use crate::arch::x86_64::layout;
use crate::device::hotplug;
use crate::device::power::GeneralEvent;

const DEVICE_CHECK: u8 = 1;
const EJECT_REQUEST: u8 = 3;
/// The names of the controller's registers, in the order of their offsets.
const INSERTED: [u8; 4] = *b"HPIN";
const REMOVAL: [u8; 4] = *b"HPRM";
const EJECT: [u8; 4] = *b"HPEJ";
const SCAN: &str = "HPSC";

/// The objects of the PCI host bridge's scope. `slots` has a bit for each slot that takes hot-plugged devices.
pub(super) fn in_host_bridge(slots: u32) -> Vec<u8> {
    let mut sink = Vec::new();
    let slots = (0..u32::BITS as u8).filter(|slot| slots >> slot & 1 != 0);
    registers(&mut sink);
    slots.clone().for_each(|slot| slot_device(&mut sink, slot));
    scan(&mut sink, slots);
    sink
}

/// The `_GPE` scope with the method of the hot plug event.
pub(super) fn events() -> Vec<u8> {
    let mut sink = Vec::new();
    let name = format!("_E{:02X}", GeneralEvent::HotPlug as u8);
    let scan = MethodCall::new(format!("\\_SB_.PCI0.{SCAN}").as_str().into(), Vec::new());
    Scope::new("\\_GPE".into(), vec![&Method::new(name.as_str().into(), 0, false, vec![&scan])])
        .to_aml_bytes(&mut sink);
    sink
}

fn registers(sink: &mut Vec<u8>) {
    Device::new(
        "HPCT".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A06")),
            &Name::new("_UID".into(), &1u8),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![&IO::new(
                    layout::HOT_PLUG_PORTS as u16,
                    layout::HOT_PLUG_PORTS as u16,
                    1,
                    hotplug::PORTS as u8,
                )]),
            ),
        ],
    )
    .to_aml_bytes(sink);
    let (start, length) = (layout::HOT_PLUG_PORTS as u16, hotplug::PORTS as u8);
    OpRegion::new("HPRG".into(), OpRegionSpace::SystemIO, &start, &length).to_aml_bytes(sink);
    Field::new(
        "HPRG".into(),
        FieldAccessType::DWord,
        FieldLockRule::NoLock,
        FieldUpdateRule::WriteAsZeroes,
        [INSERTED, REMOVAL, EJECT].map(|register| FieldEntry::Named(register, 32)).into(),
    )
    .to_aml_bytes(sink);
}

fn slot_device(sink: &mut Vec<u8>, slot: u8) {
    let (bit, ejected) = (1u32 << slot, register(EJECT));
    let eject = Store::new(&ejected, &bit);
    Device::new(
        path(slot),
        vec![
            &Name::new("_SUN".into(), &slot),
            &Name::new("_ADR".into(), &(u32::from(slot) << 16)),
            &Method::new("_EJ0".into(), 1, true, vec![&eject]),
        ],
    )
    .to_aml_bytes(sink);
}

/// Reading a register clears it, so the method reads each one once.
fn scan(sink: &mut Vec<u8>, slots: impl Iterator<Item = u8>) {
    let (inserted, removal) = (Local(0), Local(1));
    let mut body = Vec::new();
    Store::new(&inserted, &register(INSERTED)).to_aml_bytes(&mut body);
    Store::new(&removal, &register(REMOVAL)).to_aml_bytes(&mut body);
    for slot in slots {
        for (named, what) in [(&inserted, DEVICE_CHECK), (&removal, EJECT_REQUEST)] {
            let (bit, device) = (1u32 << slot, path(slot));
            If::new(&And::new(&ZERO, named, &bit), vec![&Notify::new(&device, &what)]).to_aml_bytes(&mut body);
        }
    }
    Method::new(SCAN.into(), 0, true, vec![&Made(body)]).to_aml_bytes(sink);
}

fn path(slot: u8) -> Path {
    format!("S{slot:03}").as_str().into()
}

fn register(name: [u8; 4]) -> Path {
    String::from_utf8_lossy(&name).as_ref().into()
}

/// AML that is encoded already.
struct Made(Vec<u8>);

impl Aml for Made {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}
