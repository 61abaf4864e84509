//! The real-time clock and CMOS memory of a PC, which give the guest the host's time in UTC.
//!
//! Source: Motorola MC146818A data sheet. There are no alarms and no periodic interrupts, and the guest cannot set the
//! time.

use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Device;
use crate::Result;
use crate::bus::BusDevice;
use crate::sync::lock;

const SIZE: usize = 128;
const CENTURY: usize = 0x32;
/// Divider for a 32 kHz crystal, and the usual periodic rate.
const STATUS_A: u8 = 0x26;
/// 24 hours, binary coded decimal.
const STATUS_B: u8 = 0x02;
/// The contents are valid: the battery is good.
const STATUS_D: u8 = 0x80;
const FIRST_RAM: usize = 0x0E;

/// The registers a guest sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RtcState {
    index: u8,
    ram: Vec<u8>,
}

impl Default for RtcState {
    fn default() -> Self {
        Self { index: 0, ram: vec![0; SIZE] }
    }
}

/// The real-time clock.
#[derive(Debug)]
pub(crate) struct Rtc {
    state: Mutex<RtcState>,
}

impl Rtc {
    pub(crate) fn new(state: Option<RtcState>) -> Self {
        let mut state = state.unwrap_or_default();
        state.ram.resize(SIZE, 0);
        Self { state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, RtcState> {
        lock(&self.state)
    }
}

impl Device for Rtc {
    type State = RtcState;

    fn name(&self) -> &'static str {
        "real-time clock"
    }

    /// The clock is passive and shows the host's time.
    fn pause(&self) {}

    fn resume(&self) {}

    /// CMOS memory survives a reset, because it has a battery.
    fn reset(&self) -> Result<()> {
        self.lock().index = 0;
        Ok(())
    }

    fn save(&self) -> Result<RtcState> {
        Ok(self.lock().clone())
    }
}

fn register(state: &RtcState, index: usize, seconds: u64) -> u8 {
    let date = Date::from_unix(seconds);
    match index {
        0x00 => bcd(date.second),
        0x02 => bcd(date.minute),
        0x04 => bcd(date.hour),
        0x06 => date.weekday,
        0x07 => bcd(date.day),
        0x08 => bcd(date.month),
        0x09 => bcd((date.year % 100) as u8),
        CENTURY => bcd((date.year / 100) as u8),
        0x0A => STATUS_A,
        0x0B => STATUS_B,
        0x0C => 0,
        0x0D => STATUS_D,
        _ => state.ram.get(index).copied().unwrap_or(0),
    }
}

impl BusDevice for Rtc {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let state = self.lock();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let value = if offset == 1 { register(&state, usize::from(state.index), now) } else { state.index };
        data.fill(value);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let Some(&value) = data.first() else { return };
        let mut state = self.lock();
        if offset == 0 {
            // The highest bit masks NMIs, which this device does not do.
            state.index = value & 0x7F;
            return;
        }
        let index = usize::from(state.index);
        if index >= FIRST_RAM
            && let Some(byte) = state.ram.get_mut(index)
        {
            *byte = value;
        }
    }
}

fn bcd(value: u8) -> u8 {
    ((value / 10) << 4) | (value % 10)
}

/// A date and time of the proleptic Gregorian calendar.
#[derive(Debug, PartialEq, Eq)]
struct Date {
    year: u64,
    month: u8,
    day: u8,
    /// 1 is Sunday.
    weekday: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl Date {
    /// Days are counted from 1 March, which puts the leap day last (Hinnant, "chrono-Compatible Low-Level Date
    /// Algorithms").
    fn from_unix(seconds: u64) -> Self {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
            weekday: ((days + 4) % 7 + 1) as u8,
            hour: (rest / 3_600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::testing::{RoundTrip, go_round};

    #[test]
    fn dates_match_the_calendar() {
        let known = [
            (0, (1970, 1, 1, 5, 0, 0, 0)),
            (951_782_399, (2000, 2, 28, 2, 23, 59, 59)),
            (951_782_400, (2000, 2, 29, 3, 0, 0, 0)),
            (1_795_404_645, (2026, 11, 23, 2, 3, 30, 45)),
            (4_107_542_400, (2100, 3, 1, 2, 0, 0, 0)),
        ];
        for (unix, (year, month, day, weekday, hour, minute, second)) in known {
            assert_eq!(Date::from_unix(unix), Date { year, month, day, weekday, hour, minute, second });
        }
    }

    #[test]
    fn time_is_binary_coded_decimal_and_memory_is_kept() {
        let state = RtcState::default();
        assert_eq!(register(&state, CENTURY, 1_795_404_645), 0x20);
        assert_eq!(register(&state, 9, 1_795_404_645), 0x26);
        let rtc = Rtc::new(Some(state));
        rtc.write(0, &[0x90]);
        rtc.write(1, &[0x5A]);
        let mut byte = [0];
        rtc.read(1, &mut byte);
        assert_eq!(byte, [0x5A]);
        rtc.write(0, &[0x0D]);
        rtc.write(1, &[0]);
        rtc.read(1, &mut byte);
        assert_eq!(byte, [STATUS_D]);
    }

    impl RoundTrip for RtcState {
        fn round_trip() {
            // The data port may return the time, which two reads do not see alike.
            go_round(2, 0..1, Rtc::new, |_, _| {}, |state| RtcState { index: 0, ..state });
        }
    }

    #[test]
    fn a_state_with_any_memory_is_a_whole_clock() {
        for length in [0, 5, SIZE, 5000] {
            let rtc = Rtc::new(Some(RtcState { index: 0x7F, ram: vec![7; length] }));
            rtc.write(1, &[9]);
            let state = rtc.save().unwrap();
            assert_eq!((state.ram.len(), state.ram[0x7F]), (SIZE, 9));
        }
    }
}
