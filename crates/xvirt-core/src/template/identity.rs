//! Gives a copy of a VM an identity of its own.

use uuid::Uuid;

use crate::config::{Nic, NicBackendConfig, VmConfig};
use crate::net::MacAddress;

/// Replaces or removes everything in a configuration that two VMs cannot share.
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
    match &mut nic.backend {
        NicBackendConfig::Tap(_) => nic.backend = NicBackendConfig::NewTap,
        // A host port can be forwarded to only one VM.
        NicBackendConfig::User(network) => network.forwards.clear(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PortForward, UserNetwork};

    #[test]
    fn a_copy_takes_no_port_of_the_host_from_the_original() {
        let network = UserNetwork::new().host_loopback(true).forward(PortForward::tcp(2222, 22));
        let mut config = VmConfig::new("a").nic(Nic::user_network(network));
        renew(&mut config, "b".to_owned());
        let NicBackendConfig::User(network) = &config.nics[0].backend else { panic!("{:?}", config.nics) };
        assert_eq!(*network, UserNetwork::new().host_loopback(true));
    }
}
