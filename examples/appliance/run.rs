//! Runs a VM with its serial console on standard input and output.

use std::io::{self, Read, Write};
use std::thread::{self, JoinHandle, Scope};
use std::time::Duration;

use xvirt_core::console::{Console, ConsoleReader};
use xvirt_core::vm::{PowerState, Vm};

use crate::failure::{Result, note};
use crate::interrupt::Interrupt;
use crate::terminal::Keys;

/// The time limit for a guest to power off.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often Ctrl-C is checked.
const GLANCE: Duration = Duration::from_millis(100);

/// A VM that was started, with its console on this terminal.
#[derive(Debug)]
pub struct Running {
    vm: Vm,
    shown: JoinHandle<()>,
    keys: Option<Keys>,
}

impl Running {
    /// Starts a VM. From now on, the first Ctrl-C presses its power button, and the second powers it off immediately.
    /// Standard input goes to the guest if `typed`.
    pub fn start(vm: Vm, typed: bool, interrupt: &Interrupt) -> Result<Self> {
        let output = vm.console().reader();
        let shown = thread::spawn(move || show(output));
        vm.start()?;
        interrupt.only_count();
        let keys = typed.then(Keys::one_by_one);
        if typed {
            let console = vm.console().clone();
            // Not joined, because it may still be waiting for a key when the guest is gone.
            thread::spawn(move || forward(&console));
        }
        Ok(Self { vm, shown, keys })
    }

    /// Returns when it is halted.
    pub fn wait(self, interrupt: &Interrupt) -> Result<()> {
        let Self { vm, shown, keys } = self;
        let ended = thread::scope(|scope| wait(&vm, interrupt, scope));
        drop(keys);
        // The console ends with the VM, after all its output was shown.
        drop(vm);
        let _ = shown.join();
        ended
    }
}

/// Waits until the VM is halted, and shuts it down on Ctrl-C.
fn wait<'scope>(vm: &'scope Vm, interrupt: &Interrupt, scope: &'scope Scope<'scope, '_>) -> Result<()> {
    let mut asked = false;
    while vm.wait_halted(GLANCE).is_err() {
        if !interrupt.take() {
            continue;
        }
        if asked {
            halt(vm)?;
        } else {
            note("pressed the power button; press Ctrl-C again to power off immediately");
            scope.spawn(|| press(vm));
        }
        asked = true;
    }
    Ok(())
}

fn press(vm: &Vm) {
    // It may have halted by itself meanwhile.
    if let Err(error) = vm.clean_shutdown(PATIENCE)
        && vm.power_state() != PowerState::Halted
    {
        note(error);
    }
}

/// Powers the VM off, unless it is halted already.
fn halt(vm: &Vm) -> Result<()> {
    match vm.hard_shutdown() {
        Err(error) if vm.power_state() != PowerState::Halted => Err(error.into()),
        _ => Ok(()),
    }
}

/// Copies the guest's output to standard output, until its console ends or standard output is closed.
fn show(mut output: ConsoleReader) {
    let mut stdout = io::stdout().lock();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = output.read(&mut chunk) {
        if stdout.write_all(&chunk[..count]).and_then(|()| stdout.flush()).is_err() {
            return;
        }
    }
}

/// Copies standard input to the guest, until its end or until the guest is gone.
fn forward(console: &Console) {
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = io::stdin().lock().read(&mut chunk) {
        if console.write_all(&chunk[..count]).is_err() {
            return;
        }
    }
}
