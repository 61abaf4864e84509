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

/// Finds the devices of a description in the records: disks by the paths of their images, network interfaces by their MAC
/// addresses.
pub(crate) fn positions(records: &Records, description: &Description) -> Positions {
    let config: Value =
        description.config.as_ref().and_then(|json| serde_json::from_str(&json.0).ok()).unwrap_or_default();
    let list = |name: &str| config.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut positions = Positions::default();
    for (disk, position) in list("disks").iter().zip(&description.disk_positions) {
        let Some(path) = config::path_in(disk) else { continue };
        let free = |uuid: &Uuid| !positions.disks.contains_key(uuid);
        let found = records.disks.iter().find(|(uuid, _, vdi)| vdi.location == path && free(uuid));
        if let Some((uuid, ..)) = found {
            positions.disks.insert(*uuid, *position);
        }
    }
    for (nic, position) in list("nics").iter().zip(&description.nic_positions) {
        let Some(mac) = nic.get("mac").and_then(Value::as_str) else { continue };
        let found = records.nics.iter().find(|(_, vif, _)| vif.mac.eq_ignore_ascii_case(mac));
        if let Some((uuid, ..)) = found {
            positions.nics.insert(*uuid, *position);
        }
    }
    positions
}

#[cfg(test)]
mod tests {
    use xvirt_worker::protocol::{Json, Versions};

    use super::*;
    use crate::model::{Network, Vbd, Vdi, Vif, Vm};

    #[test]
    fn devices_are_found_by_image_and_address() {
        let (disk, other, nic) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        let vdi = |location: &str| Vdi { location: location.into(), ..Vdi::default() };
        let records = Records {
            uuid: Uuid::new_v4(),
            vm: Vm::default(),
            disks: vec![(disk, Vbd::default(), vdi("/d/a.raw")), (other, Vbd::default(), vdi("/d/b.raw"))],
            nics: vec![(nic, Vif { mac: "02:00:00:00:00:0A".into(), ..Vif::default() }, Network::default())],
        };
        let config = r#"{"disks":[{"source":{"image":{"path":"/d/b.raw"}}},{"source":{"image":{"path":"/x"}}}],
            "nics":[{"mac":"02:00:00:00:00:0a"}]}"#;
        let description = Description {
            worker: String::new(),
            versions: Versions { oldest: 1, newest: 1 },
            vm: None,
            name: None,
            power_state: None,
            owner_epoch: None,
            config: Some(Json(config.to_owned())),
            disk_positions: vec![3, 4],
            nic_positions: vec![7],
            last_event: 0,
            missing_walls: Vec::new(),
        };
        let found = positions(&records, &description);
        assert_eq!((found.disks, found.nics), ([(other, 3)].into(), [(nic, 7)].into()));
        let hostile = Description { config: Some(Json("[1".into())), ..description };
        assert_eq!(positions(&records, &hostile), Positions::default());
    }
}
