//! What a console looks like to the device behind it.

use vmm_sys_util::eventfd::EventFd;

/// The device side of a console: a serial port or virtio-console writes and reads here.
///
/// All of it may be called from a vCPU thread: nothing here blocks.
pub(crate) trait ConsolePort: Send + Sync {
    /// The guest wrote `bytes`.
    fn output(&self, bytes: &[u8]);

    /// Takes up to `buf.len()` bytes of waiting input and returns how many; 0 when there is none.
    fn read_input(&self, buf: &mut [u8]) -> usize;

    /// Becomes readable whenever input arrives. The device reads the counter, then calls
    /// [`read_input`](Self::read_input) until it answers 0 or the device has no room.
    fn input_event(&self) -> &EventFd;
}
