//! What a guest does to its VM by itself, and what becomes of a VM whose guest cannot go on.
//!
//! All of it comes through [`Inner::serve_guest`] and [`Inner::watchdog_expired`], which look at it with the VM's lock
//! held. A machine that is parked tells nothing and its watchdog stands still, so a paused VM stays paused: what its guest
//! had asked for is done when the VM goes on, or is forgotten with the guest by a hard reboot or shutdown.

use std::sync::{Arc, MutexGuard};

use super::events::{CrashReason, Event};
use super::handle::{Inner, Power};
use super::state::PowerState;
use super::supervisor::Supervisor;
use crate::config::CrashAction;
use crate::machine::{Machine, Signal};

impl Inner {
    /// Does what the guest of run `run` has asked for, if anything. Whether the VM is still in memory.
    pub(super) fn serve_guest(&self, run: u64) -> bool {
        let power = self.lock();
        let Some(machine) = self.machine_of(run, &power) else { return false };
        let signal = machine.signals().take();
        drop(machine);
        match signal {
            None => true,
            Some(Signal::PowerOff) if !power.reboot_on_power_off => {
                self.halt_from_supervisor(power, Event::GuestShutdown);
                false
            }
            Some(Signal::PowerOff | Signal::Reset) => {
                self.reset_from_supervisor(power, Event::GuestReset, &Event::GuestReset)
            }
            Some(Signal::Ejected) => {
                self.take_ejected();
                true
            }
            Some(Signal::Panicked(crash_kernel)) => {
                self.events.send(&Event::GuestPanicked { crash_kernel });
                crash_kernel || self.crashed(power, CrashReason::Panic, self.config.on_crash)
            }
            Some(Signal::Crashed(reason)) => self.crashed(power, reason, self.config.on_crash),
        }
    }

    /// The time of the watchdog of run `run` may be over. Whether the VM is still in memory.
    pub(super) fn watchdog_expired(&self, run: u64) -> bool {
        let power = self.lock();
        let Some(machine) = self.machine_of(run, &power) else { return false };
        let expired = machine.watchdog().expire();
        drop(machine);
        !expired || self.crashed(power, CrashReason::Watchdog, self.config.on_watchdog)
    }

    /// The supervisor of run `run` cannot go on, and nobody would hear the guest any more: the VM is halted, whatever it
    /// is configured to do after a crash.
    pub(super) fn supervisor_failed(&self, run: u64, reason: CrashReason) {
        let power = self.lock();
        if self.machine_of(run, &power).is_some() {
            self.halt_from_supervisor(power, Event::Crashed(reason));
        }
    }

    /// The machine, if `run` is not over.
    fn machine_of(&self, run: u64, power: &Power) -> Option<Arc<Machine>> {
        self.machine().filter(|_| power.run == run)
    }

    fn crashed(&self, power: MutexGuard<'_, Power>, reason: CrashReason, action: CrashAction) -> bool {
        let event = Event::Crashed(reason);
        match action {
            CrashAction::Halt => {
                self.halt_from_supervisor(power, event);
                false
            }
            CrashAction::Restart => {
                self.crashes(&event);
                self.reset_from_supervisor(power, event, &Event::Restarted)
            }
            CrashAction::Preserve => {
                self.crashes(&event);
                let Some(_power) = self.park_from_supervisor(power) else { return false };
                // The other vCPUs' crashes are the same one; but what the guest let go of before stays gone.
                if let Some(machine) = self.machine() {
                    machine.signals().clear();
                }
                self.take_ejected();
                self.enter(PowerState::Paused, &Event::Paused);
                true
            }
        }
    }

    fn crashes(&self, event: &Event) {
        self.live().happened(event);
        self.events.send(event);
    }

    /// Parks the machine, on the supervisor's thread. If the program keeps vCPUs from being stopped, halts the VM and returns
    /// nothing.
    fn park_from_supervisor<'a>(&self, power: MutexGuard<'a, Power>) -> Option<MutexGuard<'a, Power>> {
        let parked = self.machine().map_or(Ok(()), |machine| machine.park());
        match parked {
            Ok(()) => Some(power),
            Err(error) => {
                self.halt_from_supervisor(power, Event::Crashed(CrashReason::NotStopped(error.to_string())));
                None
            }
        }
    }

    /// Resets the machine, called by the supervisor itself, because the guest ended with `end`; `event` says that it runs
    /// again. Whether it does.
    fn reset_from_supervisor(&self, power: MutexGuard<'_, Power>, end: Event, event: &Event) -> bool {
        let Some(mut power) = self.park_from_supervisor(power) else { return false };
        match self.reset(&mut power, end) {
            Ok(()) => {
                self.enter(PowerState::Running, event);
                true
            }
            Err(error) => {
                self.halt_from_supervisor(power, Event::Crashed(CrashReason::Reset(error.to_string())));
                false
            }
        }
    }

    /// As [`halt`](Self::halt), called by the supervisor itself, which somebody else has to join.
    fn halt_from_supervisor(&self, mut power: MutexGuard<'_, Power>, event: Event) {
        power.ended = power.supervisor.take().map(Supervisor::into_thread);
        self.halt(power, event);
    }
}

#[cfg(feature = "demo")]
#[cfg(test)]
mod tests;
