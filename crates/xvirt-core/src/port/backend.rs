//! What a named port looks like to the device that carries it.

/// The device side of a named port. Nothing here blocks.
///
/// The device looks again for input and for room whenever the event is raised that the port was made with.
pub(crate) trait PortBackend: Send + Sync {
    /// The name by which programs in the guest find the port.
    fn name(&self) -> &str;

    /// A program in the guest has opened the port, or closed it, or ended with its guest.
    fn set_open(&self, open: bool);

    /// The program wrote `bytes`. Takes as many as there is room for and returns how many; the device keeps the rest until
    /// the event is raised.
    fn output(&self, bytes: &[u8]) -> usize;

    /// Takes up to `buf.len()` bytes that wait for the program and returns how many; 0 when there are none.
    fn read_input(&self, buf: &mut [u8]) -> usize;
}
