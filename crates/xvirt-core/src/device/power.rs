//! ACPI fixed hardware: the power button, power-off, the timer, the reset register and general-purpose events.
//!
//! Source: ACPI specification 6.5, section 4.8 "ACPI Register Model".

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Device, not_paused};
use crate::Result;
use crate::bus::BusDevice;
use crate::sync::lock;

/// Status and enable registers, two bytes each.
pub(crate) const EVENT_PORT: u16 = 0x600;
/// Control register, two bytes.
pub(crate) const CONTROL_PORT: u16 = 0x604;
/// Timer, four bytes.
pub(crate) const TIMER_PORT: u16 = 0x608;
/// Reset register, one byte.
pub(crate) const RESET_PORT: u16 = 0x60C;
/// Writing this value to [`RESET_PORT`] resets the machine.
pub(crate) const RESET_VALUE: u8 = 1;
/// Status and enable registers of the general-purpose events (GPE0 block), one byte each.
pub(crate) const GENERAL_EVENT_PORT: u16 = 0x60E;
/// The number of ports, starting at [`EVENT_PORT`].
pub(crate) const PORTS: u64 = 16;

/// The sleep type that means "off" (S5) in the control register.
pub(crate) const SLEEP_TYPE_OFF: u8 = 5;

const POWER_BUTTON: u16 = 1 << 8;
const ACPI_MODE: u16 = 1;
const SLEEP_ENABLE: u16 = 1 << 13;
/// Status bits that the guest clears by writing ones to them.
const STATUS_BITS: u16 = 0b1000_0111_0011_0001;

const TIMER_HZ: u128 = 3_579_545;
const NANOSECONDS: u128 = 1_000_000_000;

/// A request of the guest to its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PowerRequest {
    /// Power off (sleep state S5).
    Off,
    /// Reset the machine.
    Reset,
}

/// A general-purpose event, which the guest handles in the method `_GPE._Exx` of the same number. Events are
/// edge-triggered: the guest clears the status before it looks at the devices, so it misses no event that arrives
/// meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GeneralEvent {
    /// PCI devices were plugged in, or are to be ejected.
    HotPlug = 1,
    /// The VM has a new generation ID: it is a copy of another, or was reverted.
    GenerationId = 2,
}

/// The machine, as power management sees it: it takes requests and drives the interrupt line (SCI).
pub(crate) trait PowerHost: Send + Sync + fmt::Debug {
    /// Handles a request of the guest.
    fn request(&self, request: PowerRequest);
    /// Sets the level of the ACPI interrupt line (SCI).
    fn set_interrupt(&self, active: bool);
}

/// The registers a guest sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PowerState {
    status: u16,
    enable: u16,
    control: u16,
    #[serde(default)]
    general_status: u8,
    #[serde(default)]
    general_enable: u8,
    /// The value of the timer at the last pause, in ticks.
    #[serde(default)]
    timer: u32,
}

/// The power management registers. A new device is paused.
#[derive(Debug)]
pub(crate) struct Power<H> {
    host: H,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: PowerState,
    paused: bool,
    /// The moment at which the timer was zero; `None` before the first resume.
    zero: Option<Instant>,
}

impl<H: PowerHost> Power<H> {
    pub(crate) fn new(host: H, state: Option<PowerState>) -> Self {
        let inner = Inner { state: state.unwrap_or_default(), paused: true, zero: None };
        let power = Self { host, inner: Mutex::new(inner) };
        power.update_interrupt(&power.lock().state);
        power
    }

    /// Presses the power button once.
    pub(crate) fn press_button(&self) {
        let state = &mut self.lock().state;
        state.status |= POWER_BUTTON;
        self.update_interrupt(state);
    }

    /// Notifies the guest of `event`.
    pub(crate) fn raise(&self, event: GeneralEvent) {
        let state = &mut self.lock().state;
        state.general_status |= 1 << event as u8;
        self.update_interrupt(state);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn update_interrupt(&self, state: &PowerState) {
        let fixed = state.status & state.enable != 0;
        self.host.set_interrupt(fixed || state.general_status & state.general_enable != 0);
    }

    fn write_control(&self, state: &mut PowerState, value: u16) {
        state.control = value & !SLEEP_ENABLE;
        let sleep_type = (value >> 10) & 7;
        if value & SLEEP_ENABLE != 0 && sleep_type == u16::from(SLEEP_TYPE_OFF) {
            self.host.request(PowerRequest::Off);
        }
    }
}

impl Inner {
    fn timer(&self) -> u32 {
        match self.zero {
            Some(zero) if !self.paused => ticks(zero.elapsed()),
            _ => self.state.timer,
        }
    }

    /// All registers as bytes, in the order of their ports.
    fn registers(&self) -> [u8; PORTS as usize] {
        let state = &self.state;
        let mut bytes = [0; PORTS as usize];
        let words = [(0, state.status), (2, state.enable), (4, state.control | ACPI_MODE)];
        for (offset, word) in words {
            bytes[offset..offset + 2].copy_from_slice(&word.to_le_bytes());
        }
        bytes[8..12].copy_from_slice(&self.timer().to_le_bytes());
        bytes[14..].copy_from_slice(&[state.general_status, state.general_enable]);
        bytes
    }
}

/// The timer's value after `time`.
fn ticks(time: Duration) -> u32 {
    (time.as_nanos() * TIMER_HZ / NANOSECONDS) as u32
}

/// The time in which the timer counts `ticks`.
fn duration(ticks: u32) -> Duration {
    Duration::from_nanos((u128::from(ticks) * NANOSECONDS).div_ceil(TIMER_HZ) as u64)
}

impl<H: PowerHost> Device for Power<H> {
    type State = PowerState;

    fn name(&self) -> &'static str {
        "power management registers"
    }

    /// Reads the timer; its value stays the same until the next resume.
    fn pause(&self) {
        let mut inner = self.lock();
        inner.state.timer = inner.timer();
        inner.paused = true;
    }

    /// The timer continues as if there had been no pause, like the processors' time stamp counters, because guests
    /// compare the two. On the first resume, it counts from its saved value.
    fn resume(&self) {
        let mut inner = self.lock();
        inner.paused = false;
        if inner.zero.is_none() {
            inner.zero = Instant::now().checked_sub(duration(inner.state.timer));
        }
    }

    fn reset(&self) -> Result<()> {
        let mut inner = self.lock();
        inner.state = PowerState::default();
        inner.zero = (!inner.paused).then(Instant::now);
        self.update_interrupt(&inner.state);
        Ok(())
    }

    fn save(&self) -> Result<PowerState> {
        let inner = self.lock();
        if inner.paused { Ok(inner.state.clone()) } else { Err(not_paused()) }
    }
}

impl<H: PowerHost> BusDevice for Power<H> {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let registers = self.lock().registers();
        for (byte, offset) in data.iter_mut().zip(offset as usize..) {
            *byte = registers.get(offset).copied().unwrap_or(0xFF);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let word = match *data {
            [byte] => u16::from(byte),
            [low, high, ..] => u16::from_le_bytes([low, high]),
            [] => return,
        };
        let state = &mut self.lock().state;
        match offset {
            0 => state.status &= !(word & STATUS_BITS),
            2 => state.enable = word,
            4 => self.write_control(state, word),
            12 if word as u8 == RESET_VALUE => self.host.request(PowerRequest::Reset),
            14 => state.general_status &= !(word as u8),
            15 => state.general_enable = word as u8,
            _ => {}
        }
        self.update_interrupt(state);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xvirt_testing::random::Random;

    use super::*;
    use crate::device::testing::{RoundTrip, go_round};

    #[derive(Debug, Default)]
    struct Recorder {
        requests: Mutex<Vec<PowerRequest>>,
        line: Mutex<bool>,
    }

    impl PowerHost for Arc<Recorder> {
        fn request(&self, request: PowerRequest) {
            self.requests.lock().unwrap().push(request);
        }
        fn set_interrupt(&self, active: bool) {
            *self.line.lock().unwrap() = active;
        }
    }

    fn device() -> (Power<Arc<Recorder>>, Arc<Recorder>) {
        let host = Arc::new(Recorder::default());
        (Power::new(Arc::clone(&host), None), host)
    }

    fn read16(power: &Power<Arc<Recorder>>, offset: u64) -> u16 {
        let mut bytes = [0; 2];
        power.read(offset, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    #[test]
    fn the_button_interrupts_once_enabled_and_until_acknowledged() {
        let (power, host) = device();
        power.press_button();
        assert!(!*host.line.lock().unwrap());
        power.write(2, &POWER_BUTTON.to_le_bytes());
        assert!(*host.line.lock().unwrap());
        assert_eq!(read16(&power, 0), POWER_BUTTON);
        power.write(0, &POWER_BUTTON.to_le_bytes());
        assert!(!*host.line.lock().unwrap());
        assert_eq!(read16(&power, 0), 0);
    }

    #[test]
    fn a_general_event_interrupts_like_the_button_and_beside_it() {
        let (power, host) = device();
        let bit = 1 << GeneralEvent::HotPlug as u8;
        power.raise(GeneralEvent::HotPlug);
        assert!(!*host.line.lock().unwrap());
        power.write(15, &[bit]);
        assert!(*host.line.lock().unwrap());
        assert_eq!(read16(&power, 14), u16::from(bit) << 8 | u16::from(bit));
        power.write(2, &POWER_BUTTON.to_le_bytes());
        power.press_button();
        power.write(0, &POWER_BUTTON.to_le_bytes());
        assert!(*host.line.lock().unwrap(), "the event is still there");
        power.write(14, &[bit]);
        assert!(!*host.line.lock().unwrap());
        assert_eq!(read16(&power, 14), u16::from(bit) << 8);
    }

    #[test]
    fn only_sleep_type_five_switches_off() {
        let (power, host) = device();
        power.write(4, &(SLEEP_ENABLE | (1 << 10)).to_le_bytes());
        assert!(host.requests.lock().unwrap().is_empty());
        power.write(4, &(SLEEP_ENABLE | (u16::from(SLEEP_TYPE_OFF) << 10)).to_le_bytes());
        power.write(12, &[RESET_VALUE]);
        assert_eq!(*host.requests.lock().unwrap(), [PowerRequest::Off, PowerRequest::Reset]);
        assert_eq!(read16(&power, 4) & ACPI_MODE, ACPI_MODE);
    }

    /// The value of the timer.
    fn timer(power: &Power<Arc<Recorder>>) -> u32 {
        let mut bytes = [0; 4];
        power.read(8, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    impl RoundTrip for PowerState {
        fn round_trip() {
            let stir = |power: &Power<_>, random: &mut Random| match random.below(4) {
                0 => power.press_button(),
                1 => power.raise(*random.pick(&[GeneralEvent::HotPlug, GeneralEvent::GenerationId])),
                _ => {}
            };
            let new = |state| Power::new(Arc::new(Recorder::default()), state);
            go_round(PORTS, 0..PORTS, new, stir, |_| PowerState::default());
        }
    }

    #[test]
    fn the_interrupt_line_is_as_it_was_saved() {
        let (old, _) = device();
        old.write(2, &POWER_BUTTON.to_le_bytes());
        old.press_button();
        let host = Arc::new(Recorder::default());
        let new = Power::new(Arc::clone(&host), Some(old.save().unwrap()));
        assert!(*host.line.lock().unwrap());
        new.reset().unwrap();
        assert!(!*host.line.lock().unwrap());
    }

    fn pass_time() {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1) {}
    }

    #[test]
    fn the_timer_stands_while_paused_and_goes_on_as_if_it_had_not() {
        let (power, _) = device();
        power.resume();
        pass_time();
        let running = timer(&power);
        power.pause();
        let (paused, began) = (timer(&power), Instant::now());
        assert!(running > 0 && paused >= running);
        pass_time();
        assert_eq!((timer(&power), power.save().unwrap().timer), (paused, paused));
        let passed = ticks(began.elapsed());
        power.resume();
        assert!(timer(&power).wrapping_sub(paused) >= passed);
    }

    #[test]
    fn a_restored_timer_goes_on_from_where_it_was() {
        for start in [0, 1, 3_579_545, 1 << 31, u32::MAX] {
            let state = PowerState { timer: start, ..PowerState::default() };
            let power = Power::new(Arc::new(Recorder::default()), Some(state));
            assert_eq!((timer(&power), ticks(duration(start))), (start, start));
            let began = Instant::now();
            power.resume();
            let passed = timer(&power).wrapping_sub(start);
            assert!(passed <= ticks(began.elapsed()) + 1, "{passed} ticks after {start}");
        }
    }

    #[test]
    fn it_is_saved_only_while_the_timer_stands() {
        let (power, _) = device();
        power.resume();
        assert_eq!(power.save().unwrap_err().to_string(), "it is not paused; park the machine first");
    }
}
