//! The guest that all programs start, and the detection of its boot.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use xvirt_core::config::ByteSize;
use xvirt_core::demo::{self, CommandLine, Mode};

use crate::Result;

/// The guest that all programs start, with one vCPU.
#[derive(Debug)]
pub struct Guest {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its initial file system.
    pub initrd: Option<PathBuf>,
    /// Its command line.
    pub command_line: String,
    /// The text on the serial port that marks the end of the measurement.
    pub marker: String,
    /// The size of its memory.
    pub memory: ByteSize,
    /// The timeout for the marker.
    pub timeout: Duration,
}

impl Guest {
    /// The demo guest, whose image is written to `folder`; the first thing that it prints is the marker.
    ///
    /// # Errors
    /// The image cannot be written.
    pub fn demo(folder: &Path) -> Result<Self> {
        let kernel = folder.join("demo.elf");
        std::fs::write(&kernel, demo::kernel())?;
        Ok(Self {
            kernel,
            initrd: None,
            command_line: CommandLine::new([Mode::Hello]).to_string(),
            // Its first byte is a line feed, printed before anything else.
            marker: format!("\n{}", demo::STARTED),
            memory: ByteSize::mib(128),
            timeout: Duration::from_secs(60),
        })
    }

    /// With the marker that the demo guest prints last, before it idles.
    #[must_use]
    pub fn idle(self) -> Self {
        Self { marker: demo::DONE.to_owned(), ..self }
    }

    /// The size of its memory in MiB.
    pub fn mebibytes(&self) -> u64 {
        self.memory.bytes() >> 20
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = self.kernel.file_name().unwrap_or_default().display();
        write!(f, "{kernel}, 1 vCPU, {}, until '{}' on the serial port", self.memory, self.marker.trim())
    }
}

/// Waits for the marker on a serial port and records the time of its first byte. Earlier output of firmware or a kernel
/// does not count.
#[derive(Debug)]
pub struct Stopwatch<'a> {
    begun: Instant,
    marker: &'a [u8],
    text: Vec<u8>,
    /// The length of the text at each arrival, with its time.
    arrivals: Vec<(usize, Duration)>,
}

impl<'a> Stopwatch<'a> {
    /// Starts now.
    pub fn start(guest: &'a Guest) -> Self {
        Self { begun: Instant::now(), marker: guest.marker.as_bytes(), text: Vec::new(), arrivals: Vec::new() }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes new output; returns the arrival time of the marker's first byte once the marker is complete.
    pub fn take(&mut self, bytes: &[u8]) -> Option<Duration> {
        let now = self.begun.elapsed();
        self.text.extend_from_slice(bytes);
        self.arrivals.push((self.text.len(), now));
        let at = self.text.windows(self.marker.len()).position(|window| window == self.marker)?;
        self.arrivals.iter().find(|(end, _)| *end > at).map(|(_, when)| *when)
    }

    /// The end of the output, for an error message.
    pub fn last(&self) -> String {
        let text = String::from_utf8_lossy(&self.text[self.text.len().saturating_sub(200)..]).into_owned();
        if text.is_empty() { "it printed nothing".to_owned() } else { format!("it printed last: {text:?}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_markers_first_byte() {
        let guest = Guest {
            kernel: "k".into(),
            initrd: None,
            command_line: String::new(),
            marker: "\nready".to_owned(),
            memory: ByteSize::mib(1),
            timeout: Duration::ZERO,
        };
        let mut watch = Stopwatch::start(&guest);
        assert_eq!(watch.take(b"firmware\r\n"), None);
        let before = watch.elapsed();
        assert_eq!(watch.take(b"\nrea"), None);
        let between = watch.elapsed();
        let time = watch.take(b"dy at last").unwrap();
        assert!((before..=between).contains(&time), "{before:?} {time:?} {between:?}");
    }
}
