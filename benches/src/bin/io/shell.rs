//! A root shell in a guest.

use std::process::Command;

use xvirt_benches::Result;

use xvirt_benches::monitor::Monitor;

pub(crate) struct Shell {
    monitor: Monitor,
    commands: u32,
}

impl Shell {
    /// Starts the VMM, and waits until the guest has booted.
    pub(crate) fn start(command: Command) -> Result<Self> {
        let mut monitor = Monitor::start(command)?;
        monitor.wait_for("root@")?;
        Ok(Self { monitor, commands: 0 })
    }

    /// Runs a command that must succeed, and returns its output.
    pub(crate) fn run(&mut self, command: &str) -> Result<String> {
        self.commands += 1;
        let number = self.commands;
        // The quotes distinguish the marks from the echo of the typed line.
        self.monitor.write(&format!("echo 'begin'-{number}; {command}; echo 'end'-{number}=$?\n"))?;
        self.monitor.wait_for(&format!("begin-{number}"))?;
        let output = self.monitor.wait_for(&format!("end-{number}="))?;
        let status = self.monitor.wait_for("\n")?;
        if status.trim() != "0" {
            return Err(format!("{command} failed in the guest: {output}").into());
        }
        Ok(output)
    }
}
