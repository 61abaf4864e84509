//! What may come before `ova.xml`.

use crate::Result;
use crate::chunk::Name;
use crate::error::{out_of_order, ova_package, unsupported};
use crate::tar::{Entry, EntryKind};

/// The most bytes of a foreign file before `ova.xml`. An archive that begins with more of something else is something
/// else, and need not be read to its end.
const MAX_FOREIGN: u64 = 1 << 20;

/// The files of an OVA: the description of a VM in another format, its signatures, and the disks.
const OVA: [&str; 4] = ["ovf", "mf", "cert", "vmdk"];

/// Checks a member before `ova.xml`, which is first in what XenServer writes.
pub(crate) fn may_precede_metadata(entry: &Entry) -> Result<()> {
    let name = entry.name.as_str();
    match Name::parse(name) {
        _ if entry.kind == EntryKind::Directory => Ok(()),
        Name::Chunk { .. } | Name::Checksum { .. } => Err(out_of_order(name, "it comes before ova.xml")),
        Name::Other if is_of_ova(name) => Err(ova_package()),
        Name::Other if name.contains('/') || entry.size > MAX_FOREIGN => Err(unsupported(
            format!("this is not a virtual appliance (XVA): it is a tar archive with {name} in place of ova.xml"),
            "check that it is the right file",
        )),
        Name::Other => Ok(()),
    }
}

fn is_of_ova(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| OVA.iter().any(|other| other.eq_ignore_ascii_case(extension)))
}
