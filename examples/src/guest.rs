//! A Debian guest: shows its console, and runs commands through its agent.

use std::io::Read;
use std::ops::ControlFlow;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use xvirt_core::agent::{GuestAgent, GuestCommand};
use xvirt_core::console::ConsoleReader;
use xvirt_core::vm::Vm;

use crate::Result;

/// A VM whose console is shown, and its guest agent.
#[derive(Debug)]
pub struct Guest {
    vm: Vm,
    shown: JoinHandle<()>,
    timeout: Duration,
}

impl Guest {
    /// Starts a VM and prints its console, each line after the name of the VM. `timeout` is the limit of each step in
    /// the guest.
    ///
    /// # Errors
    /// The VM cannot be started.
    pub fn start(vm: Vm, timeout: Duration) -> Result<Self> {
        let (name, all) = (vm.name().to_owned(), vm.console().reader());
        let shown = thread::spawn(move || show(&name, all));
        vm.start()?;
        Ok(Self { vm, shown, timeout })
    }

    /// A VM that runs already. Its console is shown from now on.
    pub fn running(vm: Vm, timeout: Duration) -> Self {
        let (name, rest) = (vm.name().to_owned(), vm.console().reader_at_end());
        Self { vm, shown: thread::spawn(move || show(&name, rest)), timeout }
    }

    /// The limit of each step in the guest.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The VM.
    pub fn vm(&self) -> &Vm {
        &self.vm
    }

    /// The agent in the guest.
    pub fn agent(&self) -> GuestAgent {
        self.vm.agent().with_timeout(self.timeout)
    }

    /// Waits until the guest has booted and its agent answers.
    ///
    /// # Errors
    /// The guest stops, or there is no agent in time.
    pub fn wait_ready(&self) -> Result<()> {
        Ok(self.agent().wait_ready(self.timeout)?)
    }

    /// Runs a shell command, prints its output, and waits until it has succeeded.
    ///
    /// # Errors
    /// The command fails or does not end in time, or the guest stops.
    pub fn run(&self, command: &str) -> Result<()> {
        let name = self.vm.name();
        println!("{name}# {command}");
        let mut output = Lines::of(name);
        let status = self.agent().run_streamed(&GuestCommand::shell(command), |_, bytes| {
            output.print(bytes);
            ControlFlow::Continue(())
        })?;
        output.finish();
        if status.is_success() { Ok(()) } else { Err(format!("in {name}, `{command}` failed: {status}").into()) }
    }

    /// Shuts the guest down, and waits until it is off and all its output was printed.
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
}

/// Prints the output of a guest, line by line.
fn show(name: &str, mut console: ConsoleReader) {
    let mut chunk = [0; 4096];
    let mut lines = Lines::of(name);
    while let Ok(count @ 1..) = console.read(&mut chunk) {
        lines.print(&chunk[..count]);
    }
    lines.finish();
}

/// Prints each line after the name of its guest, without terminal escape sequences.
struct Lines<'a> {
    name: &'a str,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    fn of(name: &'a str) -> Self {
        Self { name, line: Vec::new() }
    }

    fn print(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.line.push(*byte);
            if *byte == b'\n' {
                print_line(self.name, &self.line);
                self.line.clear();
            }
        }
    }

    /// Prints the last line, which has no line feed.
    fn finish(self) {
        print_line(self.name, &self.line);
    }
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
