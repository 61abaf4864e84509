//! What a copy of a VM cannot have of the original.

use uuid::Uuid;

use crate::config::{Nic, NicBackendConfig, VmConfig};
use crate::net::MacAddress;

/// Takes from a configuration what two VMs cannot have both.
pub(super) fn renew(config: &mut VmConfig, name: String) {
    config.name = name;
    config.uuid = Uuid::new_v4();
    config.generation_id = Uuid::new_v4();
    config.nics.iter_mut().for_each(renew_nic);
    if let Some(vsock) = &mut config.vsock {
        vsock.path.set_file_name(format!("{}.vsock", config.uuid));
    }
}

fn renew_nic(nic: &mut Nic) {
    nic.mac = Some(MacAddress::random());
    if let NicBackendConfig::Tap(_) = nic.backend {
        nic.backend = NicBackendConfig::NewTap;
    }
}
