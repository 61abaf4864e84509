//! A network with only the host and the guest.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;

use xvirt_core::ErrorKind;
use xvirt_core::config::{Nic, UserNetwork};
use xvirt_core::net::Tap;
use xvirt_core::seed::InterfaceAddress;
use xvirt_examples::Result;

pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const PREFIX: u8 = 24;

/// A NIC on a tap of this program, or on a user network if the program may not create a tap.
pub(crate) fn join() -> Result<(Nic, Option<Tap>)> {
    let tap = match Tap::create(None) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let network = UserNetwork::new().address(InterfaceAddress::new(GUEST.into(), PREFIX)?).gateway(HOST);
            return Ok((Nic::user_network(network), None));
        }
        made => made?,
    };
    tap.set_address(HOST, PREFIX)?;
    tap.set_up()?;
    Ok((Nic::tap_descriptor(tap.as_fd().try_clone_to_owned()?), Some(tap)))
}

pub(crate) fn ping_guest() -> Result<()> {
    let guest = GUEST.to_string();
    let output = Command::new("ping")
        .args(["-c", "3", &guest])
        .output()
        .map_err(|error| format!("cannot run ping: {error}; install iputils-ping"))?;
    print!("host# ping -c 3 {guest}\n{}", String::from_utf8_lossy(&output.stdout));
    if output.status.success() { Ok(()) } else { Err(format!("the guest at {guest} does not answer pings").into()) }
}
