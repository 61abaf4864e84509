//! Dates.

use std::fmt;
use std::str::FromStr;

use jiff::tz::Offset;
use jiff::{Timestamp, civil};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::value_error::Malformed;

/// A point in time with a resolution of a second, in the years 0 to 9999: `20240131T12:00:00Z`.
///
/// Dates with dashes, fractions of a second (which are cut off) and offsets are read as well. One without an offset is
/// in UTC, as XenAPI's are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime(Timestamp);

impl DateTime {
    /// 1970-01-01, which stands for "never".
    pub const EPOCH: Self = Self(Timestamp::UNIX_EPOCH);

    /// Now, by the clock of this host.
    pub fn now() -> Self {
        Self::from_unix(Timestamp::now().as_second()).unwrap_or_default()
    }

    /// This many seconds after 1970-01-01 in UTC, if that is in the years 0 to 9999.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        Timestamp::from_second(seconds).ok().filter(|time| utc(*time).year() >= 0).map(Self)
    }

    /// The seconds since 1970-01-01 in UTC.
    pub fn unix(self) -> i64 {
        self.0.as_second()
    }
}

fn utc(time: Timestamp) -> civil::DateTime {
    Offset::UTC.to_datetime(time)
}

impl Default for DateTime {
    fn default() -> Self {
        Self::EPOCH
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = utc(self.0);
        let (year, month, day) = (time.year(), time.month(), time.day());
        write!(f, "{year:04}{month:02}{day:02}T{:02}:{:02}:{:02}Z", time.hour(), time.minute(), time.second())
    }
}

impl FromStr for DateTime {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let with_offset = text.parse::<Timestamp>().ok();
        // A named time zone, which XenAPI does not have, would need a database of them.
        let in_utc = || text.parse::<civil::DateTime>().ok().filter(|_| !text.contains('['));
        let time = with_offset.or_else(|| Offset::UTC.to_timestamp(in_utc()?).ok());
        let whole = time.and_then(|time| Self::from_unix(time.as_second()));
        whole.ok_or_else(|| Malformed::new(text, "a date", "write it as 20240131T12:00:00Z"))
    }
}

impl Serialize for DateTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_xenapi_writes_them_and_read_as_clients_do() {
        for (text, unix) in [
            ("19700101T00:00:00Z", 0),
            ("20240131T12:00:01Z", 1_706_702_401),
            ("2024-01-31T12:00:01Z", 1_706_702_401),
            ("2024-01-31T12:00:01.999Z", 1_706_702_401),
            ("20240131T14:00:01+02:00", 1_706_702_401),
            ("20240131T12:00:01", 1_706_702_401),
            ("2024-01-31T12:00:01", 1_706_702_401),
            ("00000101T00:00:00Z", -62_167_219_200),
            ("99991230T00:00:00Z", 253_402_128_000),
        ] {
            let time: DateTime = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(time.unix(), unix, "{text}");
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert_eq!(DateTime::from_unix(1_706_702_401).unwrap().to_string(), "20240131T12:00:01Z");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "now", "20241301T00:00:00Z", "-000001-01-01T00:00:00Z", "2024", "20240131T12:00:00[Europe/Paris]"]
        {
            let error = text.parse::<DateTime>().unwrap_err().to_string();
            assert_eq!(error, format!("{text:?} is not a date; write it as 20240131T12:00:00Z"));
        }
    }
}
