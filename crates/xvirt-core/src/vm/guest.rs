//! What happens to a VM whose guest cannot go on: what its configuration says.

use super::events::{CrashReason, Event};
use super::handle::Inner;
use super::state::PowerState;
use crate::config::CrashAction;
use crate::machine::SignalReceiver;

impl Inner {
    /// A vCPU of run `run` cannot go on. Whether the VM is still in memory.
    pub(super) fn guest_crashed(&self, run: u64, reason: CrashReason, signals: &SignalReceiver) -> bool {
        self.crashed(run, reason, self.config.on_crash, signals)
    }

    /// The guest's kernel says that it panicked. Whether the VM is still in memory.
    pub(super) fn guest_panicked(&self, run: u64, crash_kernel: bool, signals: &SignalReceiver) -> bool {
        self.events.send(&Event::GuestPanicked { crash_kernel });
        crash_kernel || self.crashed(run, CrashReason::Panic, self.config.on_crash, signals)
    }

    /// The guest did not attend to its watchdog. Whether the VM is still in memory.
    pub(super) fn watchdog_bit(&self, run: u64, signals: &SignalReceiver) -> bool {
        self.crashed(run, CrashReason::Watchdog, self.config.on_watchdog, signals)
    }

    fn crashed(&self, run: u64, reason: CrashReason, action: CrashAction, signals: &SignalReceiver) -> bool {
        let mut power = self.lock();
        let Some(running) = power.running.as_ref().filter(|_| power.run == run) else { return false };
        let event = Event::Crashed(reason);
        match action {
            CrashAction::Halt => {
                self.halt_from_supervisor(power, &event);
                false
            }
            CrashAction::Restart => {
                self.events.send(&event);
                self.reset_from_supervisor(power, signals, &Event::Restarted)
            }
            CrashAction::Preserve => {
                running.machine.park();
                // The other vCPUs' crashes are the same one; but what the guest let go of before stays gone.
                signals.clear();
                self.take_ejected(&mut power);
                self.events.send(&event);
                self.enter(&mut power, PowerState::Paused, &Event::Paused);
                true
            }
        }
    }
}
