//! The host's side of network interfaces: taps on bridges. A tap belongs to its worker, and is gone with it.

use std::os::fd::{AsFd, OwnedFd};

use xvirt_core::net::Tap;

use crate::model::{Network, Vif};
use crate::operation::values::mtu;
use crate::operation::{Failure, codes};

/// Makes the tap of a VIF, and adds it to the bridge of its network.
///
/// # Errors
/// The host has no taps, the service may not make one, or there is no such bridge.
pub(crate) fn open_tap(vif: &Vif, network: &Network) -> Result<Tap, Failure> {
    let failed = |error: xvirt_core::Error| codes::of_core(&error);
    let tap = Tap::create(None).map_err(failed)?;
    tap.set_mtu(mtu(vif, network).into()).map_err(failed)?;
    tap.attach_to_bridge(&network.bridge).map_err(failed)?;
    tap.set_up().map_err(failed)?;
    Ok(tap)
}

/// A descriptor of a tap, for another process.
pub(crate) fn descriptor(tap: &Tap) -> Result<OwnedFd, Failure> {
    let copy = tap.as_fd().try_clone_to_owned();
    copy.map_err(|error| codes::internal(format!("cannot pass the tap {} on: {error}", tap.name())))
}
