//! What a worker's description says about the devices in the records.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;
use xvirt_worker::protocol::Description;

use crate::worker::config::{self, Records};

/// The positions of a VM's devices, by the UUIDs of their VBDs and VIFs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Positions {
    pub(crate) disks: BTreeMap<Uuid, u64>,
    pub(crate) nics: BTreeMap<Uuid, u64>,
}

impl Positions {
    /// Whether the VM has the device of a VBD or VIF.
    pub(crate) fn has(&self, device: Uuid) -> bool {
        self.disks.contains_key(&device) || self.nics.contains_key(&device)
    }
}

/// Finds the devices of a description in the records: disks by the paths of their images, network interfaces by their MAC
/// addresses. `None` if the worker does not say what it has, which frees nothing.
pub(crate) fn positions(records: &Records, description: &Description) -> Option<Positions> {
    let (disks, nics) = (disks(description)?, nics(description)?);
    let mut positions = Positions::default();
    for (path, position) in disks {
        let free = |uuid: &Uuid| !positions.disks.contains_key(uuid);
        let found = records.disks.iter().find(|(uuid, _, vdi)| vdi.location == path && free(uuid));
        if let Some((uuid, ..)) = found {
            positions.disks.insert(*uuid, position);
        }
    }
    for (mac, position) in nics {
        let free = |uuid: &Uuid| !positions.nics.contains_key(uuid);
        let found = records.nics.iter().find(|(uuid, vif, _)| vif.mac.eq_ignore_ascii_case(&mac) && free(uuid));
        if let Some((uuid, ..)) = found {
            positions.nics.insert(*uuid, position);
        }
    }
    Some(positions)
}

/// The disks that a worker says it has: the paths of their images, and their positions. `None` if it does not say.
pub(crate) fn disks(description: &Description) -> Option<Vec<(String, u64)>> {
    let list = list(description, "disks")?;
    let named = list.iter().zip(&description.disk_positions);
    Some(named.filter_map(|(disk, position)| Some((config::path_in(disk)?.to_owned(), *position))).collect())
}

/// The network interfaces that a worker says it has: their MAC addresses, and their positions. `None` if it does not say.
pub(crate) fn nics(description: &Description) -> Option<Vec<(String, u64)>> {
    let list = list(description, "nics")?;
    let named = list.iter().zip(&description.nic_positions);
    Some(named.filter_map(|(nic, position)| Some((nic.get("mac")?.as_str()?.to_owned(), *position))).collect())
}

fn list(description: &Description, name: &str) -> Option<Vec<Value>> {
    let config: Value = serde_json::from_str(&description.config.as_ref()?.0).ok()?;
    config.get(name)?.as_array().cloned()
}

#[cfg(test)]
mod tests {
    use xvirt_worker::protocol::{Json, Versions};

    use super::*;
    use crate::model::{Network, Vbd, Vdi, Vif, Vm};

    #[test]
    fn devices_are_found_by_image_and_address() {
        let [disk, other, nic, twin] = [(); 4].map(|()| Uuid::new_v4());
        let vdi = |location: &str| Vdi { location: location.into(), ..Vdi::default() };
        let records = Records {
            uuid: Uuid::new_v4(),
            vm: Vm::default(),
            disks: vec![(disk, Vbd::default(), vdi("/d/a.raw")), (other, Vbd::default(), vdi("/d/b.raw"))],
            nics: vec![
                (nic, Vif { mac: "02:00:00:00:00:0A".into(), ..Vif::default() }, Network::default()),
                (twin, Vif { mac: "02:00:00:00:00:0a".into(), ..Vif::default() }, Network::default()),
            ],
        };
        let config = r#"{"disks":[{"source":{"image":{"path":"/d/b.raw"}}},{"source":{"image":{"path":"/x"}}}],
            "nics":[{"mac":"02:00:00:00:00:0a"},{"mac":"02:00:00:00:00:0a"}]}"#;
        let description = Description {
            worker: String::new(),
            versions: Versions { oldest: 1, newest: 1 },
            vm: None,
            name: None,
            power_state: None,
            owner_epoch: None,
            config: Some(Json(config.to_owned())),
            disk_positions: vec![3, 4],
            nic_positions: vec![7, 8],
            last_event: 0,
            missing_walls: Vec::new(),
        };
        let found = positions(&records, &description).unwrap();
        assert_eq!((found.disks, found.nics), ([(other, 3)].into(), [(nic, 7), (twin, 8)].into()));
        let hostile = Description { config: Some(Json("[1".into())), ..description };
        assert_eq!(positions(&records, &hostile), None);
        let silent = Description { config: None, ..hostile };
        assert_eq!(positions(&records, &silent), None);
    }
}
