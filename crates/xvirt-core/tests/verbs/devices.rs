//! Requests to disks, network interfaces, the balloon and limits.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use xvirt_core::config::{ByteSize, CpuLimit, Disk, Nic, NicLimit, RateLimit};
use xvirt_core::net::FrameStream;
use xvirt_core::vm::{Event, PowerState, Verb, Vm};
use xvirt_core::{ErrorKind, Result};

use crate::ledger::Window;
use crate::model::Model;
use crate::random::Random;
use crate::subject::{DISK_SIZE, MEMORY, Subject};

/// The positions that calls use: those of existing devices, and one more.
const POSITIONS: usize = 6;

pub fn act(subject: &Subject, random: &mut Random) {
    let position = random.below(POSITIONS);
    match random.below(12) {
        0..4 => plug(subject, random),
        4 | 5 => unplug_disk(subject, position, patience(random)),
        6 => unplug_nic(subject, position, patience(random)),
        7 => resize(subject, position, DISK_SIZE * (1 + random.below(3) as u64)),
        8 => set_link(subject, position, random.below(2) == 0),
        9 => limits(subject, position, random),
        10 => balloon(subject, random),
        _ => hang_up(subject),
    }
}

fn patience(random: &mut Random) -> Duration {
    Duration::from_millis(*random.pick(&[0, 1, 50, 300]))
}

/// Other threads may do the same at the same time, so there may be a few more devices than positions that calls use.
fn plug(subject: &Subject, random: &mut Random) {
    let (disks, nics) = {
        let ledger = subject.follow();
        (ledger.model().disks.len(), ledger.model().nics.len())
    };
    if random.below(2) == 0 && disks < POSITIONS {
        plug_disk(subject);
    } else if nics < POSITIONS {
        plug_nic(subject, subject.bench().taps && random.below(3) == 0);
    }
}

/// Plugs a disk in, and returns its position.
pub fn plug_disk(subject: &Subject) -> Option<usize> {
    let image = subject.image().unwrap();
    let called = subject.call("plug_disk", |vm| vm.plug_disk(Disk::raw(image)));
    let called = called.announced(&Event::DiskPlugged { disk: 0 });
    called.judge(|result, window| match result {
        Ok(position) => window.events.contains(&Event::DiskPlugged { disk: *position }),
        Err(_) => false,
    })
}

/// Plugs a network interface in, and returns its position.
pub fn plug_nic(subject: &Subject, tap: bool) -> Option<usize> {
    let nic = if tap {
        Nic::new_tap()
    } else {
        let (ours, peer) = UnixStream::pair().unwrap();
        subject.peers.lock().unwrap().push(peer);
        Nic::connection(FrameStream::new(ours).unwrap())
    };
    let called = subject.call("plug_nic", |vm| vm.plug_nic(nic)).announced(&Event::NicPlugged { nic: 0 });
    called.judge(|result, window| match result {
        Ok(position) => window.events.contains(&Event::NicPlugged { nic: *position }),
        Err(_) => false,
    })
}

pub fn unplug_disk(subject: &Subject, position: usize, timeout: Duration) {
    let called = subject.call("unplug_disk", |vm| vm.unplug_disk(position, timeout));
    called.judge(|result, window| unplugged(result, window, |model| model.disks.contains_key(&position)));
}

pub fn unplug_nic(subject: &Subject, position: usize, timeout: Duration) {
    let called = subject.call("unplug_nic", |vm| vm.unplug_nic(position, timeout));
    called.judge(|result, window| unplugged(result, window, |model| model.nics.contains(&position)));
}

/// Whether the outcome is documented, depending on when the device was `there`.
fn unplugged(result: &Result<()>, window: &Window, there: impl Fn(&Model) -> bool) -> bool {
    match result {
        Ok(()) => window.ever(&there) && window.ever(|model| !there(model)),
        Err(error) => match error.kind() {
            ErrorKind::NotFound => window.ever(|model| !there(model)),
            ErrorKind::Timeout => window.ever(|model| there(model) && model.state != PowerState::Halted),
            _ => false,
        },
    }
}

fn resize(subject: &Subject, position: usize, size: u64) {
    let holders = subject.holders.mark();
    let called = subject.call("resize_disk", |vm| vm.resize_disk(position, size));
    called.judge_verb(Verb::ResizeDisk, |kind, window| match kind {
        ErrorKind::NotFound => window.ever(|model| !model.disks.contains_key(&position)),
        ErrorKind::InvalidConfig => window.ever(|model| model.disks.get(&position).is_some_and(|old| *old > size)),
        ErrorKind::Busy => subject.holders.may_lock(holders),
        _ => false,
    });
}

fn set_link(subject: &Subject, position: usize, up: bool) {
    let called = subject.call("set_link", |vm| vm.set_link(position, up));
    called.judge_verb(Verb::SetLink, |kind, window| {
        kind == ErrorKind::NotFound && window.ever(|model| !model.nics.contains(&position))
    });
}

fn limits(subject: &Subject, position: usize, random: &mut Random) {
    let limit = match random.below(2) {
        0 => RateLimit::none(),
        _ => RateLimit::none().operations_per_second(1 + random.below(1000) as u64),
    };
    let disk = |model: &Model| model.disks.contains_key(&position);
    let nic = |model: &Model| model.nics.contains(&position);
    match random.below(4) {
        0 => limited(subject, "set_disk_limit", |vm| vm.set_disk_limit(position, limit), disk),
        1 => limited(subject, "disk_limit", |vm| vm.disk_limit(position).map(drop), disk),
        2 => {
            let limit = NicLimit::none().receive(limit);
            limited(subject, "set_nic_limit", |vm| vm.set_nic_limit(position, limit), nic);
        }
        _ if subject.bench().cpu_limits => {
            let limit = *random.pick(&[CpuLimit::none(), CpuLimit::none().cap(50), CpuLimit::none().weight(200)]);
            limited(subject, "set_cpu_limit", |vm| vm.set_cpu_limit(limit), |_| true);
        }
        _ => {}
    }
}

/// A limit is only refused if the device does not exist.
fn limited(
    subject: &Subject,
    what: &'static str,
    call: impl FnOnce(&Vm) -> Result<()>,
    there: impl Fn(&Model) -> bool,
) {
    subject.call(what, call).judge(|result, window| match result {
        Ok(()) => window.ever(there),
        Err(error) => error.kind() == ErrorKind::NotFound && window.ever(|model| !there(model)),
    });
}

fn balloon(subject: &Subject, random: &mut Random) {
    let target = ByteSize::mib(*random.pick(&[56, 64, MEMORY.bytes() >> 20]));
    let timeout = patience(random);
    match random.below(4) {
        0 => {
            let called = subject.call("set_memory_target", |vm| vm.set_memory_target(target));
            called.judge_verb(Verb::SetMemoryTarget, |_, _| false);
        }
        1 => {
            let called = subject.call("wait_memory_target", |vm| vm.wait_memory_target(timeout));
            called.judge_verb(Verb::WaitMemoryTarget, |kind, _| kind == ErrorKind::Timeout);
        }
        2 => {
            let called = subject.call("memory_statistics", Vm::memory_statistics);
            called.judge_verb(Verb::ReadMemoryStatistics, |_, _| false);
        }
        _ => {
            let called = subject.call("refresh_memory_statistics", |vm| vm.refresh_memory_statistics(timeout));
            // The guest may have no driver yet, or none at all, which is an InvalidState, too.
            called.judge(|result, window| match result {
                Ok(_) => window.allows(Verb::ReadMemoryStatistics),
                Err(error) => matches!(error.kind(), ErrorKind::InvalidState | ErrorKind::Timeout),
            });
        }
    }
}

/// Closes the other ends of some network interfaces.
fn hang_up(subject: &Subject) {
    subject.peers.lock().unwrap().pop();
}
