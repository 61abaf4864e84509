//! `appliance inspect`: describes an archive.

use xvirt_core::config::ByteSize;
use xvirt_core::xva::{self, Appliance, ApplianceDisk, ApplianceNic, Firmware, Inspected};

use crate::arguments::Look;
use crate::failure::{Failure, Result};
use crate::input::{Input, Name};
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::table::{Size, Table, print_json};

pub fn inspect(arguments: &Look, interrupt: &Interrupt) -> Result<()> {
    let input = Input::open(&arguments.file, interrupt)?;
    let bar = Bar::new(None, interrupt);
    let inspected = xva::inspect(input, &arguments.reading.options(), &bar)
        .map_err(|error| Failure::new(Name(&arguments.file), error))?;
    drop(bar);
    if arguments.json { print_json(&inspected) } else { table(&inspected).print() }
}

fn table(inspected: &Inspected) -> Table {
    let mut table = Table::default();
    describe(&inspected.appliance, &mut table);
    table.line("compression", inspected.compression);
    table.line("checksums", checksums(inspected));
    table
}

fn checksums(inspected: &Inspected) -> String {
    match inspected.checksum {
        Some(sum) => sum.to_string(),
        None if inspected.has_contents => "none".into(),
        None if inspected.appliance.disks.is_empty() => "none: it has no disks".into(),
        None => "none: it has no contents of its disks, as an export of metadata".into(),
    }
}

/// Adds the description of an appliance.
pub fn describe(appliance: &Appliance, table: &mut Table) {
    table.line("name", &appliance.name);
    table.line("description", &appliance.description);
    table.line(
        "kind",
        match (appliance.template, appliance.suspended) {
            (true, _) => "template",
            (false, true) => "suspended VM",
            (false, false) => "VM",
        },
    );
    table.line("UUID", appliance.uuid.map_or_else(String::new, |uuid| uuid.to_string()));
    table.line("vCPUs", appliance.vcpus);
    table.line("memory", ByteSize::new(appliance.memory));
    table.line(
        "firmware",
        match appliance.firmware {
            Firmware::Bios => "BIOS",
            Firmware::Uefi => "UEFI",
            Firmware::Paravirtual => "none (paravirtual)",
            _ => "unknown to this program",
        },
    );
    appliance.disks.iter().for_each(|disk| table.line("disk", disk_line(disk)));
    appliance.nics.iter().for_each(|nic| table.line("NIC", nic_line(nic)));
    for disc in &appliance.cd_drives {
        table.line("CD drive", disc.as_deref().unwrap_or("empty"));
    }
    let producer = &appliance.producer;
    table.line("made by", format!("{} {} (toolstack {})", producer.brand, producer.version, producer.xapi));
}

fn disk_line(disk: &ApplianceDisk) -> String {
    let mut line = format!("{}  {}  {}", disk.device, Size(disk.size), disk.name);
    for (flag, text) in [(disk.bootable, "boots"), (disk.read_only, "read only")] {
        if flag {
            line.push_str(&format!(" ({text})"));
        }
    }
    line
}

fn nic_line(nic: &ApplianceNic) -> String {
    let mut line = format!("{}  {}", nic.mac, nic.network);
    if !nic.bridge.is_empty() {
        line.push_str(&format!(" ({})", nic.bridge));
    }
    line
}
