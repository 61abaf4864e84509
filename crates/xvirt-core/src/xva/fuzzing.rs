//! The interface of the fuzzers in `fuzz/`, in plain types. Only cargo-fuzz builds it.

use xvirt_xva::Appliance;
use xvirt_xva::ova::Document;

use super::compose::compose;
use super::configure::{Choices, configure};
use crate::Result;
use crate::config::{Disk, MAX_VCPUS, Nic};

/// Converts a document to a configuration and back to an appliance with other disks (these capacities in bytes) and
/// additional NICs. Returns the disks of the new appliance, by id and size.
pub fn recompose(
    document: Document,
    capacities: &[u64],
    nics: usize,
    preserve: bool,
) -> Result<(Document, Vec<(String, u64)>)> {
    let disks = capacities.iter().map(|_| Disk::raw("disk")).collect::<Vec<_>>();
    let choices = Choices { preserve, ..Choices::default() };
    let (mut config, _) = configure(&Appliance::read(&document)?, disks.clone(), &choices)?;
    assert!((1..=MAX_VCPUS).contains(&config.cpus.count) && config.memory.bytes() % 4096 == 0);
    let known = config.disks.len();
    config.disks.extend(disks.into_iter().skip(known));
    config.nics.extend((0..nics).map(|_| Nic::new_tap()));
    let (document, disks) = compose(&config, capacities, Some(document))?;
    Ok((document, disks.into_iter().map(|disk| (disk.vdi, disk.size)).collect()))
}
