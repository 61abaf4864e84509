//! What a guest does to its own VM, and what happens to a VM whose guest cannot continue.
//!
//! All of it goes through [`Inner::serve_guest`] and [`Inner::watchdog_expired`], which check with the VM's lock held.
//! A parked machine signals nothing and its watchdog is stopped, so a paused VM stays paused: pending requests of its
//! guest are handled when the VM is unpaused, or discarded by a hard reboot or shutdown.

use std::sync::{Arc, MutexGuard};

use super::events::{CrashReason, Event};
use super::handle::{Inner, Power};
use super::state::PowerState;
use super::supervisor::Supervisor;
use crate::config::CrashAction;
use crate::machine::{Machine, Signal};

impl Inner {
    /// Handles the request of the guest of run `run`, if there is one. Returns whether the VM is still in memory.
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

    /// Handles the watchdog of run `run`, which may have expired. Returns whether the VM is still in memory.
    pub(super) fn watchdog_expired(&self, run: u64) -> bool {
        let power = self.lock();
        let Some(machine) = self.machine_of(run, &power) else { return false };
        let expired = machine.watchdog().expire();
        drop(machine);
        !expired || self.crashed(power, CrashReason::Watchdog, self.config.on_watchdog)
    }

    /// Halts the VM because the supervisor of run `run` has failed and the guest's requests would go unheard. This
    /// applies whatever the VM is configured to do after a crash.
    pub(super) fn supervisor_failed(&self, run: u64, reason: CrashReason) {
        let power = self.lock();
        if self.machine_of(run, &power).is_some() {
            self.halt_from_supervisor(power, Event::Crashed(reason));
        }
    }

    /// The machine, if `run` is the current run.
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
                // The other vCPUs' crashes belong to this one. Ejected devices must still be detached.
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

    /// Parks the machine, on the supervisor's thread. If the program prevents the vCPUs from being stopped, halts the
    /// VM and returns `None`.
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

    /// Resets the machine, on the supervisor's thread, because the guest ended with `end`; `event` reports that it runs
    /// again. Returns whether it does.
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

    /// Like [`halt`](Self::halt), on the supervisor's thread, which another thread has to join.
    fn halt_from_supervisor(&self, mut power: MutexGuard<'_, Power>, event: Event) {
        power.ended = power.supervisor.take().map(Supervisor::into_thread);
        self.halt(power, event);
    }
}

#[cfg(feature = "demo")]
#[cfg(test)]
mod tests;
