//! The interface between a named port and the device that carries it.

/// The device side of a named port. No method blocks.
///
/// The event given to [`PortStream::new`](super::PortStream::new) tells the device to check again for input and for
/// room.
pub(crate) trait PortBackend: Send + Sync {
    /// The name by which programs in the guest find the port.
    fn name(&self) -> &str;

    /// Records whether a program in the guest has the port open. It closes with its guest, too.
    fn set_open(&self, open: bool);

    /// Takes as many of the `bytes` that the program wrote as there is room for, and returns how many. The device keeps
    /// the rest until the event is raised.
    fn output(&self, bytes: &[u8]) -> usize;

    /// Takes up to `buf.len()` bytes that wait for the program and returns how many; 0 if there are none.
    fn read_input(&self, buf: &mut [u8]) -> usize;
}
