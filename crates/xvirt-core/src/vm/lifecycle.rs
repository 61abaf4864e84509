//! The verbs that change the power state, which are XenServer's.

use std::sync::{Arc, MutexGuard, OnceLock};
use std::time::Duration;

use super::descriptors;
use super::events::{CrashReason, Event};
use super::handle::{Inner, Power, Vm};
use super::state::{PowerState, Verb};
use crate::machine::{DiskAt, Machine};
use crate::wait::{self, Ended, Wait};
use crate::{Error, ErrorKind, Result};

/// A press of the power button is lost before the guest's kernel listens, or while nothing in the guest acts on it. So
/// it is repeated after this time, which doubles with each press up to the maximum.
const PRESS_AGAIN: Duration = Duration::from_millis(250);
const PRESS_AGAIN_MAX: Duration = Duration::from_secs(4);

impl Vm {
    /// Starts a halted VM: locks its disks, assembles the machine, loads the boot source and runs the guest.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) if it is not halted.
    /// [`OutOfDescriptors`](ErrorKind::OutOfDescriptors), which says how many [it
    /// needs](crate::config::VmConfig::file_descriptors) and how many are left. Otherwise, any error of these steps. On
    /// error, the VM stays halted and nothing is left behind.
    pub fn start(&self) -> Result<()> {
        let _span = self.inner.enter_span();
        let (mut power, _listed) = self.begin_alone(Verb::Start)?;
        let load = |machine: &Machine, disk_at: DiskAt<'_>| machine.power_on(disk_at);
        let started = self.inner.assemble(power.run + 1, None, load).map_err(|error| {
            let needed = self.inner.live().config(&self.inner.config).file_descriptors_to_start();
            descriptors::explain(error, &format!("starting VM '{}'", self.name()), needed)
        })?;
        self.inner.consoles.power_on();
        self.inner.run(&mut power, started, &Event::Started);
        Ok(())
    }

    /// Pauses a running VM, which stays in memory.
    ///
    /// A paused VM stays paused until a verb changes that. Pending requests of its guest (power-off or reset), its
    /// crashes and its watchdog wait: [`unpause`](Self::unpause) handles them, [`hard_reboot`] and [`hard_shutdown`]
    /// discard them.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) if it is not running. [`Busy`](ErrorKind::Busy) if the program has
    /// installed its own handler for the signal that interrupts vCPUs; then the VM keeps running.
    ///
    /// [`hard_reboot`]: Self::hard_reboot
    /// [`hard_shutdown`]: Self::hard_shutdown
    pub fn pause(&self) -> Result<()> {
        let _span = self.inner.enter_span();
        let _turn = self.begin(Verb::Pause)?;
        self.inner.running_machine()?.park()?;
        self.inner.enter(PowerState::Paused, &Event::Paused);
        Ok(())
    }

    /// Resumes a paused VM.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) if it is not paused.
    pub fn unpause(&self) -> Result<()> {
        let _span = self.inner.enter_span();
        let _turn = self.begin(Verb::Unpause)?;
        self.inner.require_all_disks()?;
        self.inner.running_machine()?.run_again();
        self.inner.enter(PowerState::Running, &Event::Unpaused);
        Ok(())
    }

    /// Asks the guest to shut down, and waits until it has powered off.
    ///
    /// If a [guest agent](Self::agent) runs, it is asked first, and has a quarter of `timeout`, at most 10 s, to begin.
    /// After that, or if there is no agent, the power button is pressed (ACPI), repeatedly and at growing intervals,
    /// until the VM is halted: a guest that is still booting, rebooting or paused misses a press. libvirt uses the same
    /// order.
    ///
    /// # Errors
    /// - [`InvalidState`](ErrorKind::InvalidState) if it is not running, was halted by
    ///   [`hard_shutdown`](Self::hard_shutdown) while this waited, or was migrated while this waited for its turn.
    /// - [`Timeout`](ErrorKind::Timeout) if it has not powered off within `timeout`; then it still runs, and may still
    ///   power off later.
    /// - [`GuestFault`](ErrorKind::GuestFault) if it crashed while this waited and was halted as a result.
    pub fn clean_shutdown(&self, timeout: Duration) -> Result<()> {
        let _span = self.inner.enter_span();
        let (mut power, _listed) = self.begin(Verb::CleanShutdown)?;
        power.reboot_on_power_off = false;
        let end = Arc::clone(&power.run_end);
        let ended = self.inner.shut_down_until(power, &end, timeout).map_err(|ended| {
            let too_late =
                || self.too_late("shut down", timeout).with_remedy("give it more time, or use hard_shutdown");
            ended.error(format_args!("VM '{}' to shut down", self.name()), too_late)
        });
        match ended? {
            Event::GuestShutdown => Ok(()),
            other => Err(self.ended_otherwise(Verb::CleanShutdown, other)),
        }
    }

    /// Powers the VM off immediately: data that its guest has not written to its disks is lost. The file of a suspended
    /// VM is removed.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) if it is already halted; or the file cannot be removed.
    pub fn hard_shutdown(&self) -> Result<()> {
        let _span = self.inner.enter_span();
        let (power, _listed) = self.begin(Verb::HardShutdown)?;
        if self.power_state() == PowerState::Suspended {
            return self.inner.discard_saved(power);
        }
        self.inner.halt(power, Event::HardShutdown);
        Ok(())
    }

    /// Asks the guest to shut down, as [`clean_shutdown`](Self::clean_shutdown) does, waits until it has powered off,
    /// and starts it again.
    ///
    /// # Errors
    /// - [`InvalidState`](ErrorKind::InvalidState) if it is not running, or another verb intervened: a
    ///   [`clean_shutdown`](Self::clean_shutdown) or [`hard_shutdown`](Self::hard_shutdown), after which it is halted,
    ///   or a [`hard_reboot`](Self::hard_reboot), or it was migrated while this waited for its turn.
    /// - [`Timeout`](ErrorKind::Timeout) if it has not powered off within `timeout`; then it still runs. If its guest
    ///   powers off later, it is still rebooted, even if it was migrated meanwhile, unless `clean_shutdown` was called.
    /// - [`GuestFault`](ErrorKind::GuestFault) if it crashed while this waited; then it is in the state that its
    ///   configuration specifies for crashes.
    /// - [`NotBootable`](ErrorKind::NotBootable) if its boot source could no longer be loaded; then it is halted.
    pub fn clean_reboot(&self, timeout: Duration) -> Result<()> {
        let _span = self.inner.enter_span();
        let (mut power, _listed) = self.begin(Verb::CleanReboot)?;
        power.reboot_on_power_off = true;
        let end = Arc::clone(&power.boot_end);
        let ended = self.inner.shut_down_until(power, &end, timeout).map_err(|ended| {
            let too_late = || self.too_late("reboot", timeout).with_remedy("give it more time, or use hard_reboot");
            ended.error(format_args!("VM '{}' to reboot", self.name()), too_late)
        });
        match ended? {
            Event::GuestReset => Ok(()),
            other => Err(self.ended_otherwise(Verb::CleanReboot, other)),
        }
    }

    /// Resets the machine in place: data that the guest has not written to its disks is lost. A paused VM runs
    /// afterwards.
    ///
    /// # Errors
    /// - [`InvalidState`](ErrorKind::InvalidState) if it is halted.
    /// - [`Busy`](ErrorKind::Busy) if the program has installed its own handler for the signal that interrupts vCPUs;
    ///   then the VM keeps running.
    /// - Any error of loading its boot source or resetting its devices; then it is halted.
    pub fn hard_reboot(&self) -> Result<()> {
        let _span = self.inner.enter_span();
        let (mut power, _listed) = self.begin(Verb::HardReboot)?;
        self.inner.require_all_disks()?;
        self.inner.running_machine()?.park()?;
        if let Err(error) = self.inner.reset(&mut power, Event::HardReset) {
            self.inner.halt(power, Event::Crashed(CrashReason::Reset(error.to_string())));
            return Err(error);
        }
        self.inner.enter(PowerState::Running, &Event::HardReset);
        Ok(())
    }

    /// Waits until the VM is halted, for any reason. Also returns if the VM was halted and another thread has started
    /// it again.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) if it is not halted within `timeout`.
    pub fn wait_halted(&self, timeout: Duration) -> Result<()> {
        let (mut power, wait) = (self.lock()?, Wait::at_most(timeout));
        while self.power_state() != PowerState::Halted {
            // Another thread may start it again before this one looks.
            let end = Arc::clone(&power.run_end);
            let (next, waited) =
                wait.until_done(&self.inner.changed, &self.inner.power, power, |_| end.get().is_some());
            power = next;
            waited.map_err(|ended| {
                let remedy = "give it more time, or use clean_shutdown or hard_shutdown";
                let too_late = || self.too_late("halt", timeout).with_remedy(remedy);
                ended.error(format_args!("VM '{}' to halt", self.name()), too_late)
            })?;
            if end.get() != Some(&Event::Suspended) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn too_late(&self, what: &str, timeout: Duration) -> Error {
        Error::new(ErrorKind::Timeout, format!("VM '{}' did not {what} within {timeout:?}", self.name()))
    }

    /// The error of a verb that waited for the guest to power off, when the guest ended with `event` instead.
    fn ended_otherwise(&self, verb: Verb, event: Event) -> Error {
        let name = self.name();
        let (kind, what) = match event {
            Event::Crashed(CrashReason::Reset(text)) => {
                return Error::new(ErrorKind::NotBootable, format!("VM '{name}' did not come back up: {text}"))
                    .with_remedy("it is halted; start it when what it boots is there again");
            }
            Event::Crashed(reason) => (ErrorKind::GuestFault, format!("it crashed ({reason})")),
            Event::HardReset => (ErrorKind::InvalidState, "it was reset by hard_reboot".to_owned()),
            Event::Suspended => (ErrorKind::InvalidState, "it was suspended".to_owned()),
            Event::Migrated => (ErrorKind::InvalidState, "it was migrated".to_owned()),
            Event::GuestShutdown => (ErrorKind::InvalidState, "it was shut down by clean_shutdown".to_owned()),
            _ => (ErrorKind::InvalidState, "it was shut down by hard_shutdown".to_owned()),
        };
        Error::new(kind, format!("cannot {verb} VM '{name}', because {what} meanwhile"))
            .with_remedy("see power_state() for the state it is in now")
    }
}

impl Inner {
    /// Shuts the guest down, through its agent and then the power button, and returns `end` once it is set, unless the
    /// wait for it ends before.
    fn shut_down_until(
        &self,
        power: MutexGuard<'_, Power>,
        end: &OnceLock<Event>,
        timeout: Duration,
    ) -> std::result::Result<Event, Ended> {
        let wait = Wait::at_most(timeout);
        // Other verbs may run meanwhile, as in the wait below.
        drop(power);
        self.shut_down_by_agent(timeout)?;
        let mut power = wait::lock(&self.power).ok_or(Ended::Cancelled)?;
        let mut pause = PRESS_AGAIN;
        loop {
            // The guest may have ended meanwhile, and the next one may run already: that is not to be shut down.
            if let Some(event) = end.get() {
                return Ok(event.clone());
            }
            self.press_power_button();
            let (next, waited) =
                wait.within(pause).until_done(&self.changed, &self.power, power, |_| end.get().is_some());
            power = next;
            match waited {
                Err(Ended::TooLate) if !wait.is_over() => pause = (2 * pause).min(PRESS_AGAIN_MAX),
                waited => waited?,
            }
        }
    }

    fn press_power_button(&self) {
        let live = self.live();
        if let Some(running) = live.running.as_ref().filter(|_| live.state == PowerState::Running) {
            running.machine.press_power_button();
        }
    }
}

#[cfg(test)]
#[cfg(feature = "demo")]
mod tests {
    use super::*;
    use crate::boot::testing::{File, ext, scratch};
    use crate::config::{Boot, ByteSize, Disk, VmConfig};
    use crate::demo::{self, CommandLine, Mode};
    use crate::host::Host;
    use crate::progress::interruptible;

    #[test]
    fn a_cancelled_call_does_not_start_a_vm_but_reboots_one() {
        let host = Host::probe().unwrap();
        if let Err(error) = host.require_kvm() {
            println!("SKIPPED a_cancelled_call_does_not_start_a_vm_but_reboots_one: {error}");
            return;
        }
        let Some(image) = ext(&["-t", "ext4"], 8, &[File("/vmlinuz", demo::kernel())]) else { return };
        let folder = scratch();
        let path = folder.path().join("disk");
        std::fs::write(&path, image).unwrap();
        // The guest runs on until it is ended.
        let boot = Boot::from_disk().command_line(CommandLine::new([Mode::Panic]).panic_event(0).to_string());
        let config = VmConfig::new("a").memory(ByteSize::mib(64)).boot(boot).disk(Disk::raw(path));
        let vm = config.build(&host).unwrap();
        let error = interruptible(|| true, || vm.start()).unwrap_err();
        assert_eq!((error.kind(), vm.power_state()), (ErrorKind::Cancelled, PowerState::Halted), "{error}");
        vm.start().unwrap();
        interruptible(|| true, || vm.hard_reboot()).unwrap();
        assert_eq!(vm.power_state(), PowerState::Running);
        vm.hard_shutdown().unwrap();
    }
}
