//! The console (virtio 1.2, section 5.3), and beside it the port of the guest agent.
//!
//! `device` is what the driver sees, `handler` serves the queues, `control` has the messages by which the device and a
//! driver that knows more than one port agree on them. To other drivers it is a console and nothing else.
//!
//! The console takes all output at once, for it must not stop a guest. What goes through the port waits for its reader.

mod control;
mod device;
mod handler;
#[cfg(test)]
mod tests;

pub(crate) use device::Console;
