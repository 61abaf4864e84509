//! The guest's output, line by line.

use xvirt_core::console::ConsoleReader;

pub(crate) struct Lines {
    reader: ConsoleReader,
    /// The start of an incomplete line.
    pending: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(reader: ConsoleReader) -> Self {
        Self { reader, pending: Vec::new() }
    }

    /// The lines since the last call.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let mut buffer = [0; 4096];
        while let Some(count) = self.reader.try_read(&mut buffer).filter(|count| *count > 0) {
            self.pending.extend_from_slice(&buffer[..count]);
        }
        let end = self.pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.pending.drain(..end).collect();
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }
}
