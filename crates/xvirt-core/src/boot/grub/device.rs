//! GRUB's names for disks and partitions.

use super::super::partition::Scheme;
use super::super::volume::{DiskPath, Volumes};

/// GRUB's name for a partition of the disk, which is its first disk.
pub(super) fn name(volumes: &Volumes<'_>, partition: u32) -> String {
    match volumes.scheme() {
        Scheme::Whole => "hd0".into(),
        Scheme::Mbr => format!("hd0,msdos{partition}"),
        Scheme::Gpt => format!("hd0,gpt{partition}"),
    }
}

/// The partition in a device name. The disk number is ignored, because it may have been another where GRUB was
/// installed.
pub(super) fn partition(device: &str) -> Option<u32> {
    let rest = device.strip_prefix("hd")?;
    let (disk, partition) = rest.split_once(',').unwrap_or((rest, ""));
    if disk.is_empty() || !disk.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if partition.is_empty() {
        return Some(0);
    }
    let number = partition.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    number.parse().ok().filter(|number| *number > 0)
}

/// The file at a path with or without a device; an error with the device's name if it is not on this disk.
pub(super) fn resolve(path: &str, root: &str) -> Result<DiskPath, String> {
    let (device, path) = match path.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((device, path)) => (device, path),
        None => (root, path),
    };
    match partition(device) {
        Some(partition) => Ok(DiskPath::new(partition, path)),
        None => Err(device.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_are_understood() {
        let cases = [
            ("(hd0,gpt2)/vmlinuz", "", Ok(DiskPath::new(2, "/vmlinuz"))),
            ("/vmlinuz", "hd0,msdos5", Ok(DiskPath::new(5, "/vmlinuz"))),
            ("/vmlinuz", "hd1,1", Ok(DiskPath::new(1, "/vmlinuz"))),
            ("(hd0)/vmlinuz", "hd0,gpt1", Ok(DiskPath::new(0, "/vmlinuz"))),
            ("(lvm/vg-root)/vmlinuz", "hd0,gpt1", Err("lvm/vg-root".into())),
            ("/vmlinuz", "", Err("".into())),
            ("(hd0,gpt)/x", "", Err("hd0,gpt".into())),
            ("(hd0,gpt99999999999)/x", "", Err("hd0,gpt99999999999".into())),
        ];
        for (path, root, expected) in cases {
            assert_eq!(resolve(path, root), expected, "{path} with root {root}");
        }
    }
}
