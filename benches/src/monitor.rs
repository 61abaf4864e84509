//! A VMM process with the guest's serial port on its standard input and output.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Long enough for a host emulated in software on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A VMM process that is killed, with its guest, on drop.
#[derive(Debug)]
pub struct Monitor {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// Output that was not consumed yet.
    text: String,
}

impl Monitor {
    /// Starts the program.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot run {:?}: {e}", command.get_program()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { return Err("a child without its pipes".into()) };
        Ok(Self { child, input, output, text: String::new() })
    }

    /// Types text.
    ///
    /// # Errors
    /// The program has ended.
    pub fn write(&mut self, text: &str) -> Result<()> {
        Ok(self.input.write_all(text.as_bytes())?)
    }

    /// The output before `pattern`; both are consumed.
    ///
    /// # Errors
    /// The program ends, or does not print it in time.
    pub fn wait_for(&mut self, pattern: &str) -> Result<String> {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.text.find(pattern) {
                let rest = self.text.split_off(at + pattern.len());
                let mut found = std::mem::replace(&mut self.text, rest);
                found.truncate(at);
                return Ok(found);
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let mut buffer = [0; 4096];
            let ready = poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&Timespec::try_from(left)?))?;
            let count = if ready == 0 { 0 } else { self.output.read(&mut buffer)? };
            if count == 0 {
                let end: String = self.text.chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
                return Err(format!("no '{pattern}' after {:.0?}; the last of it: {end:?}", begun.elapsed()).into());
            }
            self.text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
