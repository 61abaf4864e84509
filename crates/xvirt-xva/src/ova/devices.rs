//! The devices of the VM, in the order of their numbers.

use super::document::{Document, Object};
use crate::Result;

impl Document {
    /// The block devices (VBD) of the VM: disks and drives.
    ///
    /// # Errors
    /// The document does not describe one VM.
    pub fn block_devices(&self) -> Result<Vec<&Object>> {
        let vm = self.vm()?.id.as_str();
        // Some producers omit the reference to the VM, because there is only one.
        let ours = |vbd: &&Object| matches!(vbd.fields.reference("VM"), id if id == vm || id.is_empty());
        let mut devices: Vec<_> = self.of_class("VBD").filter(ours).collect();
        devices.sort_by_key(|vbd| position(vbd.fields.text("userdevice")));
        Ok(devices)
    }

    /// The network interfaces (VIF).
    pub fn network_interfaces(&self) -> Vec<&Object> {
        let mut interfaces: Vec<_> = self.of_class("VIF").collect();
        interfaces.sort_by_key(|vif| position(vif.fields.text("device")));
        interfaces
    }

    /// Whether a block device is a drive with a disc instead of a disk. Discs are never in the archive.
    pub fn is_disc(&self, vbd: &Object) -> bool {
        let vdi = self.find("VDI", vbd.fields.reference("VDI"));
        vbd.fields.text("type").eq_ignore_ascii_case("CD") || vdi.is_some_and(|vdi| self.is_image_of_disc(vdi))
    }

    fn is_image_of_disc(&self, vdi: &Object) -> bool {
        let repository = self.find("SR", vdi.fields.reference("SR"));
        repository.is_some_and(|sr| sr.fields.text("content_type").eq_ignore_ascii_case("iso"))
    }
}

/// The index of a device: `2`, `xvdc`, `hdc` and `sdc` are the third.
fn position(device: &str) -> u64 {
    let device = device.trim();
    let letters = ["xvd", "hd", "sd"].iter().find_map(|prefix| device.strip_prefix(prefix));
    match letters {
        // Letters count like spreadsheet columns: `aa` follows `z`.
        Some(letters) => letters
            .bytes()
            .fold(0_u64, |place, letter| {
                place.saturating_mul(26).saturating_add(u64::from(letter.saturating_sub(b'a')) + 1)
            })
            .saturating_sub(1),
        // Devices with automatic placement come last.
        None => device.parse().unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_an_order() {
        let mut devices = ["10", "xvdb", "autodetect", "2", "hda", "xvdaa"];
        devices.sort_by_key(|device| position(device));
        assert_eq!(devices, ["hda", "xvdb", "2", "10", "xvdaa", "autodetect"]);
        assert_eq!((position("0"), position("xvdd")), (0, 3));
    }
}
