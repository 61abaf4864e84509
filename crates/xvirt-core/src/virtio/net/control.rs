//! The control queue (section 5.1.6.5): the only command is the driver's reply that it has announced itself.

use virtio_bindings::virtio_net::{
    VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, VIRTIO_NET_ERR, VIRTIO_NET_OK,
};

use super::port::Port;
use crate::virtio::{Chain, Malformed, Served, VirtQueue};

/// The class and the command at the start of a request.
const HEADER: usize = 2;
const ANNOUNCE_ACK: [u8; HEADER] = [VIRTIO_NET_CTRL_ANNOUNCE as u8, VIRTIO_NET_CTRL_ANNOUNCE_ACK as u8];

/// Serves the commands in `queue`.
pub(super) fn serve(port: &Port, queue: &mut VirtQueue, chain: &mut Chain) -> Served {
    let memory = queue.memory().clone();
    queue.drain(chain, |chain| {
        let mut command = [0; HEADER];
        chain.readable.take(&memory, &mut command)?;
        let answer = match command {
            ANNOUNCE_ACK if port.driver_announces() => {
                port.set_announce(false);
                VIRTIO_NET_OK
            }
            _ => VIRTIO_NET_ERR,
        };
        match chain.writable.put(&memory, &[answer as u8])? {
            0 => Err(Malformed("a control command has no room for its answer")),
            written => Ok(written as u32),
        }
    })
}
