//! Handles kernels whose command line names the root device as Xen does.

use std::sync::Arc;

use crate::Result;
use crate::boot::{BootMenu, EntryChoice};
use crate::config::{Boot, Disk, VmConfig};
use crate::disk::BlockBackend;

/// The prefixes of disk names on Xen and on old hardware; virtio disks are `vda`, `vdb` ...
const PREFIXES: [&str; 3] = ["/dev/xvd", "/dev/hd", "/dev/sd"];

/// Adds the new name of the root device to the kernel's command line, if its boot menu uses Xen's name.
///
/// Returns a remark about it.
pub(super) fn adapt(
    config: &mut VmConfig,
    open: impl FnOnce(&Disk) -> Result<Arc<dyn BlockBackend>>,
) -> Result<Option<String>> {
    let Boot::Disk { disk, append, .. } = &mut config.boot else { return Ok(None) };
    let Some(disk) = config.disks.get(*disk) else { return Ok(None) };
    let backend = open(disk)?;
    let entry = BootMenu::read(&*backend).and_then(|menu| menu.entry(&EntryChoice::Default).cloned());
    let line = match entry {
        Ok(entry) => entry.command_line,
        Err(error) => return Ok(Some(format!("it will not boot as it is: {error}"))),
    };
    let Some((old, new)) = root(&line) else { return Ok(None) };
    *append = format!("root={new}");
    Ok(Some(format!("its kernel looks for its root file system on {old}, which is {new} here; it is told so")))
}

/// The root device on a command line, and its name here, if they differ.
fn root(line: &str) -> Option<(&str, String)> {
    let old = line.split_whitespace().filter_map(|word| word.strip_prefix("root=")).next_back()?;
    let rest = PREFIXES.iter().find_map(|prefix| old.strip_prefix(prefix))?;
    rest.starts_with(|char: char| char.is_ascii_lowercase()).then(|| (old, format!("/dev/vd{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_xen_are_changed() {
        let new = |line| root(line).map(|(_, new)| new);
        assert_eq!(new("quiet root=/dev/xvda1 ro").as_deref(), Some("/dev/vda1"));
        assert_eq!(new("root=/dev/xvda1 root=/dev/sdb").as_deref(), Some("/dev/vdb"));
        for line in ["root=UUID=12", "root=/dev/vda1", "root=/dev/mapper/vg-root", "quiet", "root=/dev/xvd"] {
            assert_eq!(new(line), None, "{line}");
        }
    }
}
