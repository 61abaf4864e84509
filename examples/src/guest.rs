//! A Debian guest, driven over its serial console as a person would.

use std::io::Read;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xvirt_core::console::ConsoleReader;
use xvirt_core::vm::{PowerState, Vm};

use crate::Result;

/// A VM whose console is shown, and the shell on it.
#[derive(Debug)]
pub struct Guest {
    vm: Vm,
    console: ConsoleReader,
    shown: JoinHandle<()>,
    timeout: Duration,
}

impl Guest {
    /// Starts a VM and shows what it prints, each line behind its name. `timeout` is for each thing asked of the guest.
    ///
    /// # Errors
    /// The VM cannot be started.
    pub fn start(vm: Vm, timeout: Duration) -> Result<Self> {
        let (name, all) = (vm.name().to_owned(), vm.console().reader());
        let shown = thread::spawn(move || show(&name, all));
        vm.start()?;
        Ok(Self { console: vm.console().reader(), vm, shown, timeout })
    }

    /// Waits for the shell, and has it show in its prompt how each command ended.
    ///
    /// # Errors
    /// The guest stops, or there is no shell in time.
    pub fn log_in(&mut self) -> Result<()> {
        self.wait_for(":~# ")?;
        self.vm.console().write_all(b"stty cols 160; PS1='[$?] \\u@\\h:\\w# '\n")?;
        self.status()?;
        Ok(())
    }

    /// Types a command and waits until it has ended well.
    ///
    /// # Errors
    /// The command fails or does not end in time, or the guest stops.
    pub fn run(&mut self, command: &str) -> Result<()> {
        self.vm.console().write_all(format!("{command}\n").as_bytes())?;
        match self.status()?.as_str() {
            "0" => Ok(()),
            status => Err(format!("in {}, `{command}` failed with status {status}", self.vm.name()).into()),
        }
    }

    /// Presses the power button, and waits until the guest is off and everything it printed has been shown.
    ///
    /// # Errors
    /// It is not off in time.
    pub fn shut_down(self) -> Result<()> {
        self.vm.clean_shutdown(self.timeout)?;
        // The console ends with the VM.
        drop(self.vm);
        let _ = self.shown.join();
        Ok(())
    }

    /// Waits for the prompt, as in `[0] root@debian:~# `, and reads the status in it.
    fn status(&mut self) -> Result<String> {
        let text = self.wait_for("] root@")?;
        let status = text.trim_end_matches("] root@").rsplit('[').next().unwrap_or_default().to_owned();
        self.wait_for("# ")?;
        Ok(status)
    }

    /// Waits for output, and no longer than the guest lives.
    fn wait_for(&mut self, pattern: &str) -> Result<String> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.console.wait_for(pattern, Duration::from_secs(1)) {
                Ok(text) => return Ok(text),
                Err(error) if self.vm.power_state() != PowerState::Running => {
                    return Err(format!("the guest stopped too early: {error}").into());
                }
                Err(error) if Instant::now() >= deadline => {
                    return Err(format!("gave up after {} s: {error}", self.timeout.as_secs()).into());
                }
                Err(_) => {}
            }
        }
    }
}

/// Prints what a guest prints, line by line, without the escape sequences meant for terminals.
fn show(name: &str, mut console: ConsoleReader) {
    let mut chunk = [0; 4096];
    let mut line = Vec::new();
    while let Ok(count @ 1..) = console.read(&mut chunk) {
        for byte in &chunk[..count] {
            line.push(*byte);
            if *byte == b'\n' {
                print_line(name, &line);
                line.clear();
            }
        }
    }
    print_line(name, &line);
}

fn print_line(name: &str, line: &[u8]) {
    let mut text = String::new();
    let mut chars = String::from_utf8_lossy(line).into_owned().chars().collect::<Vec<_>>().into_iter();
    while let Some(char) = chars.next() {
        match char {
            // An escape sequence ends with its first letter.
            '\x1b' => drop(chars.find(char::is_ascii_alphabetic)),
            char if char.is_control() && char != '\t' => {}
            char => text.push(char),
        }
    }
    if !text.is_empty() {
        println!("  {name} | {text}");
    }
}
