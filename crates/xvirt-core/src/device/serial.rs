//! The first serial port (16550A), connected to a console.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use vm_superio::serial::{SerialEvents, SerialState as UartState};
use vm_superio::{Serial as Uart, Trigger};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::Device;
use crate::bus::BusDevice;
use crate::console::ConsolePort;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// The modem control register and its loopback bit: in loopback, the transmitter feeds the receiver, and the line is
/// disconnected.
const MODEM_CONTROL: u8 = 4;
const LOOPBACK: u8 = 1 << 4;

/// The registers and the input that the guest has not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SerialState(#[serde(with = "Registers")] UartState);

#[derive(Serialize, Deserialize)]
#[serde(remote = "UartState")]
struct Registers {
    baud_divisor_low: u8,
    baud_divisor_high: u8,
    interrupt_enable: u8,
    interrupt_identification: u8,
    line_control: u8,
    line_status: u8,
    modem_control: u8,
    modem_status: u8,
    scratch: u8,
    in_buffer: Vec<u8>,
}

/// A serial port. Input waits in the console until the FIFO has room. It also waits in loopback mode, in which drivers
/// probe for the port. A new port is paused.
pub(crate) struct Serial {
    console: Arc<dyn ConsolePort>,
    line: Line,
    inner: Mutex<Inner>,
    refill: Arc<EventFd>,
}

struct Inner {
    uart: Uart<Line, Refill, Output>,
    paused: bool,
}

impl Serial {
    /// A serial port that calls `interrupt` to pulse its interrupt line.
    ///
    /// # Errors
    /// No file descriptor is left, or `state` is invalid.
    pub(crate) fn new(
        console: Arc<dyn ConsolePort>,
        interrupt: impl Fn() + Send + Sync + 'static,
        state: Option<SerialState>,
    ) -> Result<Self> {
        let line = Line(Arc::new(interrupt));
        let refill = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC);
        let refill = Arc::new(refill.map_err(|e| Error::io("cannot create an event for the serial port", e))?);
        let uart = uart(&console, &line, &refill, &state.unwrap_or_default())?;
        Ok(Self { console, line, inner: Mutex::new(Inner { uart, paused: true }), refill })
    }

    /// Events after which [`receive`](Self::receive) has work: input has arrived, or the guest can take more.
    pub(crate) fn input_events(&self) -> [&EventFd; 2] {
        [self.console.input_event(), &self.refill]
    }

    /// Moves waiting input to the guest, as far as the FIFO has room.
    pub(crate) fn receive(&self) {
        // Reading resets the events; they may have been reset already.
        let _ = (self.console.input_event().read(), self.refill.read());
        let Inner { uart, paused } = &mut *self.lock();
        if *paused || in_loopback(uart) {
            return;
        }
        let mut buffer = [0; 64];
        let room = uart.fifo_capacity().min(buffer.len());
        let count = self.console.read_input(&mut buffer[..room]);
        // Cannot fail: the FIFO has room for `count` bytes.
        let _ = uart.enqueue_raw_bytes(&buffer[..count]);
    }

    /// Requests a call of [`receive`](Self::receive): the port can take input whose event was read already.
    fn ask_for_input(&self) {
        // Fails only if the counter is full; then the event is readable already.
        let _ = self.refill.write(1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

fn in_loopback(uart: &mut Uart<Line, Refill, Output>) -> bool {
    uart.read(MODEM_CONTROL) & LOOPBACK != 0
}

fn uart(
    console: &Arc<dyn ConsolePort>,
    line: &Line,
    refill: &Arc<EventFd>,
    SerialState(state): &SerialState,
) -> Result<Uart<Line, Refill, Output>> {
    Uart::from_state(state, line.clone(), Refill(Arc::clone(refill)), Output(Arc::clone(console))).map_err(|error| {
        Error::new(ErrorKind::InvalidConfig, "the saved state of a serial port is invalid").because(error)
    })
}

impl Device for Serial {
    type State = SerialState;

    fn name(&self) -> &'static str {
        "serial port"
    }

    /// From now on, input waits in the console.
    fn pause(&self) {
        self.lock().paused = true;
    }

    fn resume(&self) {
        self.lock().paused = false;
        self.ask_for_input();
    }

    /// Unread input is lost, as in a hardware UART.
    fn reset(&self) -> Result<()> {
        self.lock().uart = uart(&self.console, &self.line, &self.refill, &SerialState::default())?;
        self.ask_for_input();
        Ok(())
    }

    fn save(&self) -> Result<SerialState> {
        Ok(SerialState(self.lock().uart.state()))
    }
}

impl BusDevice for Serial {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(byte) = data.first_mut() {
            *byte = self.lock().uart.read(offset as u8);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let Some(&byte) = data.first() {
            let uart = &mut self.lock().uart;
            let was_in_loopback = in_loopback(uart);
            // Writing to the output never fails; see `Output`.
            let _ = uart.write(offset as u8, byte);
            if was_in_loopback && !in_loopback(uart) {
                self.ask_for_input();
            }
        }
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serial").finish_non_exhaustive()
    }
}

/// Raises the port's interrupt line.
#[derive(Clone)]
struct Line(Arc<dyn Fn() + Send + Sync>);

impl Trigger for Line {
    type E = Infallible;

    fn trigger(&self) -> std::result::Result<(), Infallible> {
        (self.0)();
        Ok(())
    }
}

/// Requests more input when the guest has emptied the FIFO.
struct Refill(Arc<EventFd>);

impl SerialEvents for Refill {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}
    fn in_buffer_empty(&self) {
        // Fails only if the counter is full; then the event is readable already.
        let _ = self.0.write(1);
    }
}

/// Writes to the console, which accepts all output.
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicU32, Ordering};

    use xvirt_testing::random::Random;

    use super::*;
    use crate::device::testing::{RoundTrip, go_round};

    const DATA: u64 = 0;
    const INTERRUPT_ENABLE: u64 = 1;
    const LINE_STATUS: u64 = 5;

    struct Keyboard {
        input: Mutex<VecDeque<u8>>,
        event: EventFd,
    }

    impl Keyboard {
        fn new() -> Arc<Self> {
            Arc::new(Self { input: Mutex::default(), event: EventFd::new(EFD_NONBLOCK).unwrap() })
        }

        fn type_in(&self, text: &[u8]) {
            lock(&self.input).extend(text);
            self.event.write(1).unwrap();
        }
    }

    impl ConsolePort for Keyboard {
        fn output(&self, _: &[u8]) {}

        fn read_input(&self, buf: &mut [u8]) -> usize {
            let mut input = lock(&self.input);
            let count = buf.len().min(input.len());
            buf.iter_mut().zip(input.drain(..count)).for_each(|(to, from)| *to = from);
            count
        }

        fn input_event(&self) -> &EventFd {
            &self.event
        }
    }

    fn read(serial: &Serial, register: u64) -> u8 {
        let mut data = [0];
        serial.read(register, &mut data);
        data[0]
    }

    /// The bytes that the driver reads from the port.
    fn received(serial: &Serial) -> Vec<u8> {
        std::iter::from_fn(|| (read(serial, LINE_STATUS) & 1 != 0).then(|| read(serial, DATA))).collect()
    }

    #[test]
    fn input_waits_while_the_driver_tests_the_port_in_loopback() {
        let keyboard = Keyboard::new();
        let interrupts = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&interrupts);
        let serial = Serial::new(keyboard.clone(), move || _ = counter.fetch_add(1, Ordering::Relaxed), None).unwrap();
        serial.resume();
        serial.write(INTERRUPT_ENABLE, &[1]);
        serial.write(MODEM_CONTROL.into(), &[LOOPBACK]);
        keyboard.type_in(b"root\n");
        serial.receive();
        serial.write(DATA, b"t");
        assert_eq!(received(&serial), b"t", "the driver hears itself");
        serial.receive();
        assert_eq!(received(&serial), b"");
        let before = interrupts.load(Ordering::Relaxed);
        serial.write(MODEM_CONTROL.into(), &[0xB]);
        assert!(serial.input_events()[1].read().is_ok(), "nobody is told that the port takes input again");
        serial.receive();
        assert_eq!(received(&serial), b"root\n");
        assert!(interrupts.load(Ordering::Relaxed) > before);
    }

    impl RoundTrip for SerialState {
        fn round_trip() {
            let keyboard = Keyboard::new();
            let stir = |serial: &Serial, random: &mut Random| {
                if random.below(4) == 0 {
                    keyboard.type_in(&vec![random.byte(); random.below(40)]);
                    serial.receive();
                }
            };
            let new = |state| Serial::new(keyboard.clone(), || {}, state).unwrap();
            go_round(8, 0..8, new, stir, |_| SerialState::default());
        }
    }

    #[test]
    fn input_waits_while_the_port_is_paused_and_comes_after_what_was_saved() {
        let keyboard = Keyboard::new();
        let old = Serial::new(keyboard.clone(), || {}, None).unwrap();
        old.resume();
        old.write(INTERRUPT_ENABLE, &[1]);
        keyboard.type_in(b"ro");
        old.receive();
        old.pause();
        keyboard.type_in(b"ot");
        old.receive();
        let state = old.save().unwrap();
        let interrupts = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&interrupts);
        let interrupt = move || _ = counter.fetch_add(1, Ordering::Relaxed);
        let new = Serial::new(keyboard, interrupt, Some(state)).unwrap();
        assert_eq!(interrupts.load(Ordering::Relaxed), 1, "the driver is not told of what it has not read");
        for serial in [&old, &new] {
            assert_eq!(received(serial), b"ro");
        }
        new.refill.read().unwrap();
        new.resume();
        assert!(new.input_events()[1].read().is_ok(), "nobody is told that the port takes input again");
        new.receive();
        assert_eq!(received(&new), b"ot");
    }

    #[test]
    fn a_state_with_more_input_than_fits_is_refused() {
        let state = SerialState(UartState { in_buffer: vec![0; 65], ..UartState::default() });
        let error = Serial::new(Keyboard::new(), || {}, Some(state)).unwrap_err();
        let text = "the saved state of a serial port is invalid: No space left in FIFO";
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidConfig, text));
    }
}
