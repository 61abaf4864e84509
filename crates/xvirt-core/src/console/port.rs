//! The interface between a console and its device.

use vmm_sys_util::eventfd::EventFd;

/// The device side of a console, used by the serial port and by virtio-console.
///
/// May be called from a vCPU thread: no method blocks.
pub(crate) trait ConsolePort: Send + Sync {
    /// Adds `bytes` that the guest wrote.
    fn output(&self, bytes: &[u8]);

    /// Takes up to `buf.len()` bytes of waiting input and returns how many; 0 if there is none.
    fn read_input(&self, buf: &mut [u8]) -> usize;

    /// Becomes readable when input arrives. The device reads the counter, then calls [`read_input`](Self::read_input)
    /// until it returns 0 or the device has no room.
    fn input_event(&self) -> &EventFd;
}
