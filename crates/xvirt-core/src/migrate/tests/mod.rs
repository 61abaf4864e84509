//! Both sides over socket pairs, with fake VMs.

mod arrivals;
mod documented;
#[cfg(feature = "tls")]
mod encrypted;
mod faults;
mod faulty;
mod good;
mod hostile;
mod local_hand_over;
mod signals;
mod slow;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use super::source::{Outcome, migrate};
use super::target::{Refusal, receive};
use super::testing::{FakeSource, FakeTarget, Task, World, contents, map, memory, memory_files};
use super::{Channel, CommitDecision, MemoryTransfer, Migration, MigrationObserver, Reception, Sockets};
use crate::Result;

/// Long enough for a busy host where no fault is expected.
const PATIENCE: Duration = Duration::from_secs(20);

fn sockets(count: u8) -> (Sockets<UnixStream>, Sockets<UnixStream>) {
    let (here, there): (Vec<_>, Vec<_>) = (0..count).map(|_| UnixStream::pair().unwrap()).unzip();
    (Sockets::new(here).unwrap(), Sockets::new(there).unwrap())
}

fn settings(connections: u8, silence: Duration) -> Migration {
    Migration::default().connections(connections).silence_limit(silence)
}

/// A source whose memory can be moved like this.
fn source_for(memory_transfer: MemoryTransfer, world: &Arc<World>, writes: u64) -> FakeSource {
    let ram = match memory_transfer {
        MemoryTransfer::Copy => memory(),
        MemoryTransfer::LocalHandOver => map(&memory_files()).unwrap(),
    };
    FakeSource::with_memory(ram, world, writes)
}

/// Runs the target until it ends.
fn run_target(
    world: &Arc<World>,
    channel: &dyn Channel,
    silence: Duration,
    decision: &dyn CommitDecision,
) -> Result<FakeTarget> {
    let settings = Reception::default().silence_limit(silence).decision_limit(silence);
    receive(channel, &settings, decision, &(), &mut |offer, memory| {
        assert_eq!((offer.name.as_str(), offer.requirements.as_slice()), ("web-1", [1, 2, 3].as_slice()));
        if world.failing.contains(&Task::Accept) {
            return Err(Refusal { reasons: vec!["disk 'root' is not here".into(), "no bridge 'xenbr0'".into()] });
        }
        FakeTarget::new(world, memory).map_err(|error| Refusal { reasons: vec![error.to_string()] })
    })
}

/// A migration of `source` without faults of the connections.
fn run_both(
    world: &Arc<World>,
    source: &mut FakeSource,
    settings: &Migration,
    observer: &dyn MigrationObserver,
) -> (Outcome, Result<()>) {
    let (here, there) = sockets(settings.connections);
    run_over(world, source, (Box::new(here), &there), settings, observer)
}

/// The same over any channels.
fn run_over(
    world: &Arc<World>,
    source: &mut FakeSource,
    (here, there): (Box<dyn Channel + '_>, &dyn Channel),
    settings: &Migration,
    observer: &dyn MigrationObserver,
) -> (Outcome, Result<()>) {
    std::thread::scope(|scope| {
        let ram = source.guest.ram.clone();
        let target = scope.spawn(move || {
            let vm = run_target(world, there, PATIENCE, &())?;
            assert!(contents(&vm.ram) == contents(&ram), "the memory differs");
            Ok(())
        });
        let outcome = migrate(source, &*here, settings, &(), observer);
        // A target waits for sockets that the source has not used.
        drop(here);
        (outcome, target.join().unwrap())
    })
}
