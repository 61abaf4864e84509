//! The standard error output of `passt`.

use std::collections::VecDeque;
use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};

/// The number of last lines kept for error messages.
const KEPT_LINES: usize = 4;
/// The length limit of a line in bytes; a longer one is split.
const MAX_LINE: usize = 512;
/// Without a system log, passt complains about that after each line.
const NO_SYSTEM_LOG: [&str; 2] = ["Failed to send ", " bytes to syslog"];

/// Logs lines as they arrive, and keeps the last ones.
#[derive(Debug)]
pub(super) struct Output {
    /// `None` after its end.
    pipe: Option<PipeReader>,
    line: Vec<u8>,
    last: VecDeque<String>,
}

impl Output {
    pub(super) fn new(pipe: PipeReader) -> Self {
        Self { pipe: Some(pipe), line: Vec::new(), last: VecDeque::new() }
    }

    /// Becomes readable when there is more output.
    pub(super) fn input(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads available output; waits if there is none.
    pub(super) fn read(&mut self) {
        let mut bytes = [0; 4096];
        match self.pipe.as_mut().map(|pipe| pipe.read(&mut bytes)) {
            Some(Ok(count)) if count > 0 => bytes[..count].iter().for_each(|byte| self.push(*byte)),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => {
                self.pipe = None;
                self.end_line();
            }
        }
    }

    /// The last lines, joined.
    pub(super) fn last_lines(&self) -> String {
        if self.last.is_empty() {
            return "it printed nothing".to_owned();
        }
        Vec::from(self.last.clone()).join(", ")
    }

    fn push(&mut self, byte: u8) {
        if byte != b'\n' {
            self.line.push(byte);
        }
        if byte == b'\n' || self.line.len() == MAX_LINE {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line).replace(char::is_control, " ").trim().to_owned();
        self.line.clear();
        let [start, end] = NO_SYSTEM_LOG;
        if line.is_empty() || line.starts_with(start) && line.ends_with(end) {
            return;
        }
        tracing::debug!("passt: {line}");
        if self.last.len() == KEPT_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_last_lines_are_kept_without_what_is_not_for_people() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut output = Output::new(reader);
        assert_eq!(output.last_lines(), "it printed nothing");
        for text in ["one\ntwo\nFailed to send 3 bytes to syslog\n\n  three\x1b[1m\n", "fo", "ur\nfive\n", "half"] {
            writer.write_all(text.as_bytes()).unwrap();
            output.read();
        }
        assert_eq!(output.last_lines(), "two, three [1m, four, five");
        drop(writer);
        output.read();
        assert_eq!(output.last_lines(), "three [1m, four, five, half");
        assert!(output.input().is_none());
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut output = Output::new(reader);
        for _ in 0..100 {
            writer.write_all(&[b'x'; 4096]).unwrap();
            output.read();
        }
        assert_eq!(output.last_lines().len(), KEPT_LINES * MAX_LINE + 2 * (KEPT_LINES - 1));
        assert!(output.line.capacity() <= 2 * MAX_LINE);
    }
}
