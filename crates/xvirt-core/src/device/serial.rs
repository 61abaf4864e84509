//! The first serial port (16550A), connected to a console.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use vm_superio::serial::SerialEvents;
use vm_superio::{Serial as Uart, Trigger};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::bus::BusDevice;
use crate::console::ConsolePort;
use crate::kvm::InterruptLine;
use crate::sync::lock;
use crate::{Error, Result};

/// A serial port. Input waits in the console until the guest has room for it.
pub(crate) struct Serial {
    console: Arc<dyn ConsolePort>,
    line: InterruptLine,
    uart: Mutex<Uart<Line, Refill, Output>>,
    refill: EventFd,
}

impl Serial {
    /// A serial port at power-on.
    pub(crate) fn new(console: Arc<dyn ConsolePort>, line: InterruptLine) -> Result<Self> {
        let refill = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(event_error)?;
        let uart = Mutex::new(uart(&console, &line, &refill)?);
        Ok(Self { console, line, uart, refill })
    }

    /// Goes back to the state at power-on. Input that the guest has not read is lost, as on a real line.
    pub(crate) fn reset(&self) -> Result<()> {
        *self.lock() = uart(&self.console, &self.line, &self.refill)?;
        // What waits in the console had its event already.
        self.receive();
        Ok(())
    }

    /// Events after which [`receive`](Self::receive) has something to do: input arrived, or the guest made room.
    pub(crate) fn input_events(&self) -> [&EventFd; 2] {
        [self.console.input_event(), &self.refill]
    }

    /// Hands waiting input to the guest, as far as it has room.
    pub(crate) fn receive(&self) {
        // Reading the counters makes the events silent; that they were silent already does no harm.
        let _ = (self.console.input_event().read(), self.refill.read());
        let mut uart = self.lock();
        let mut buffer = [0; 64];
        let room = uart.fifo_capacity().min(buffer.len());
        let count = self.console.read_input(&mut buffer[..room]);
        // There is room for all of it.
        let _ = uart.enqueue_raw_bytes(&buffer[..count]);
    }

    fn lock(&self) -> MutexGuard<'_, Uart<Line, Refill, Output>> {
        lock(&self.uart)
    }
}

fn uart(console: &Arc<dyn ConsolePort>, line: &InterruptLine, refill: &EventFd) -> Result<Uart<Line, Refill, Output>> {
    let events = Refill(refill.try_clone().map_err(event_error)?);
    Ok(Uart::with_events(Line(line.clone()), events, Output(Arc::clone(console))))
}

fn event_error(error: io::Error) -> Error {
    Error::io("cannot create an event for the serial port", error)
}

impl BusDevice for Serial {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(byte) = data.first_mut() {
            *byte = self.lock().read(offset as u8);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let Some(&byte) = data.first() {
            // Output never fails; see `Output`.
            let _ = self.lock().write(offset as u8, byte);
        }
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serial").finish_non_exhaustive()
    }
}

/// Raises the port's interrupt line.
struct Line(InterruptLine);

impl Trigger for Line {
    type E = Infallible;

    fn trigger(&self) -> std::result::Result<(), Infallible> {
        self.0.pulse();
        Ok(())
    }
}

/// Asks for more input when the guest has read what there was.
struct Refill(EventFd);

impl SerialEvents for Refill {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}
    fn in_buffer_empty(&self) {
        // Fails only when the counter is full, and then the event is readable already.
        let _ = self.0.write(1);
    }
}

/// Writes to the console, which takes everything.
struct Output(Arc<dyn ConsolePort>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.output(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
