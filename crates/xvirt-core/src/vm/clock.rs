//! Sets the clock of a resumed guest through its agent.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::Span;

use super::handle::Inner;
use super::supervisor::join;
use crate::agent::GuestAgent;
use crate::sync::lock;
use crate::thread::{self, Panicked};

const STACK_SIZE: usize = 256 << 10;
/// A clock that is late by less is left to the guest's NTP client.
const LEAST: Duration = Duration::from_secs(1);
/// How long the agent may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The threads that set the guest's clock. Each ends with its run, at the latest after a few seconds.
#[derive(Debug, Default)]
pub(super) struct ClockThreads(Mutex<Vec<JoinHandle<()>>>);

impl ClockThreads {
    fn add(&self, thread: JoinHandle<()>) {
        let mut threads = lock(&self.0);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }

    /// Waits for all to end. The port of the agent must be closed.
    pub(super) fn join(&self) {
        let threads = std::mem::take(&mut *lock(&self.0));
        threads.into_iter().for_each(join);
    }
}

impl Inner {
    /// Sets the clock of a guest that was just resumed after `stopped`, if a program has the agent's port open. Does not
    /// wait for that.
    pub(super) fn set_guest_clock(&self, stopped: Duration) {
        let agent = GuestAgent::new(Arc::clone(&self.agent));
        let Some(machine) = self.machine().filter(|_| stopped >= LEAST && agent.is_present()) else { return };
        // Only this run's guest is late.
        let machine = Arc::downgrade(&machine);
        let set = move || {
            let outcome = agent.set_time_to_now(LIMIT, || machine.strong_count() > 0);
            tracing::debug!(?outcome, "set the clock of the resumed guest");
        };
        let panicked = |panic: Panicked| tracing::error!(?panic, "the thread that sets the guest's clock has panicked");
        match thread::spawn("guest-clock", STACK_SIZE, Span::current(), set, panicked) {
            Ok(thread) => self.clock_threads.add(thread),
            Err(error) => tracing::warn!(%error, "cannot start the thread that sets the guest's clock"),
        }
    }
}

#[cfg(feature = "demo")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Boot, VmConfig};
    use crate::demo::{self, CommandLine, Mode};
    use crate::host::Host;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn the_thread_ends_with_the_vm() {
        let host = Host::probe().unwrap();
        if let Err(error) = host.require_kvm() {
            return println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
        }
        let line = CommandLine::new([Mode::Agent, Mode::Echo]).agent("silent").to_string();
        let boot = Boot::kernel(demo::kernel()).command_line(line);
        let vm = VmConfig::new("demo").boot(boot).build(&host).unwrap();
        vm.start().unwrap();
        vm.console().reader().wait_for("agent: open", PATIENCE).unwrap();
        vm.agent().wait_ready(Duration::ZERO).unwrap_err();
        let inner = Arc::clone(&vm.inner);
        let threads = || lock(&inner.clock_threads.0).iter().filter(|thread| !thread.is_finished()).count();
        inner.set_guest_clock(LEAST - Duration::from_millis(1));
        assert_eq!(threads(), 0, "the clock is hardly late");
        inner.set_guest_clock(LEAST);
        assert_eq!(threads(), 1);
        drop(vm);
        assert!(lock(&inner.clock_threads.0).is_empty(), "not joined");
    }
}
