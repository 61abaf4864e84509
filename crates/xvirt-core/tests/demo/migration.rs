//! Migrates VMs within one process, over socket pairs, plain and with TLS.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xvirt_core::config::{ByteSize, Disk, DiskSource, VmConfig, Vsock};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::migrate::{
    Channel, CommitDecision, Decision, Migration, MigrationObserver, MigrationPhase, MigrationReport, MigrationSummary,
    Reception, Sockets, receive,
};
use xvirt_core::vm::{ArrivingVm, HaltCause, PowerState, Vm};
use xvirt_core::{ErrorKind, Result};
use xvirt_testing::process::{Taken, comes_to, in_own_process, threads};
use xvirt_testing::random::Random;

use crate::host;
use crate::workload::{self, Workload};

/// How many migrations are cancelled: `XVIRT_CANCELLED_MIGRATIONS`.
const CANCELLED: u64 = 10;
/// How soon after the user cancels both sides have ended, and the target holds nothing.
const SOON: Duration = Duration::from_secs(1);

/// Migrates a VM to this process, with an observer of each side. Returns what each side does.
fn migrate(
    vm: &Vm,
    host: &Host,
    connections: u8,
    observers: [&dyn MigrationObserver; 2],
    accept: fn(&ArrivingVm) -> std::result::Result<VmConfig, Vec<String>>,
) -> (Result<MigrationSummary>, Result<Vm>) {
    let pairs: Vec<_> = (0..connections).map(|_| UnixStream::pair().unwrap()).collect();
    let (here, there): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let (here, there) = (Sockets::new(here).unwrap(), Sockets::new(there).unwrap());
    migrate_over(vm, host, (here, there), connections, observers, accept)
}

/// The same over any channels.
fn migrate_over(
    vm: &Vm,
    host: &Host,
    (here, there): (impl Channel, impl Channel),
    connections: u8,
    [source, target]: [&dyn MigrationObserver; 2],
    accept: fn(&ArrivingVm) -> std::result::Result<VmConfig, Vec<String>>,
) -> (Result<MigrationSummary>, Result<Vm>) {
    thread::scope(|scope| {
        let receive =
            move || receive(&there, host, &Reception::default(), &(), target, &mut |vm: &ArrivingVm| accept(vm));
        let target = scope.spawn(receive);
        let sent = vm.migrate(&here, &Migration::default().connections(connections), &(), source);
        drop(here);
        (sent, target.join().unwrap())
    })
}

fn as_it_is(arriving: &ArrivingVm) -> std::result::Result<VmConfig, Vec<String>> {
    Ok(arriving.config().unwrap().clone())
}

/// A running VM whose guest checks its memory and disks. Its memory is in files, so that it can be counted.
fn running(folder: &Path, host: &Host) -> Workload {
    let (_repository, stored) = workload::create(folder, None);
    let mut guest = Workload::new(stored.config().clone().shared_memory().build(host).unwrap());
    guest.vm.start().unwrap();
    guest.goes_on();
    guest
}

/// Whether the VM has the locks of its disks.
fn has_its_disks(vm: &Vm) -> bool {
    vm.config().unwrap().disks.iter().all(|disk| {
        let DiskSource::Image { path, format } = &disk.source else { return false };
        disk::open(path, Some(*format), Access::ReadWrite).is_err_and(|error| error.kind() == ErrorKind::Busy)
    })
}

#[test]
fn a_busy_vm_moves_and_every_page_and_block_is_exact() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = running(folder.path(), &host);
    for connections in [1, 4, 16] {
        let outcome = migrate(&guest.vm, &host, connections, [&(), &()], as_it_is);
        guest = moved(guest, outcome);
    }
}

/// The VM at the target after a migration, whose guest goes on with its memory and disks.
fn moved(mut guest: Workload, (sent, received): (Result<MigrationSummary>, Result<Vm>)) -> Workload {
    let summary = sent.unwrap();
    println!("{summary:?}");
    assert!(summary.report.bytes > 800 * 4096 && summary.report.zero_pages > 1000, "{summary:?}");
    assert_eq!(guest.vm.power_state(), PowerState::Halted);
    assert_eq!(guest.vm.halted().unwrap().cause, HaltCause::Migrated);
    guest.hear();
    let mut guest = Workload::taken_back(received.unwrap(), guest.progress);
    assert!(has_its_disks(&guest.vm));
    guest.goes_on();
    guest
}

#[cfg(feature = "tls")]
#[test]
fn a_busy_vm_moves_over_tls_and_every_page_and_block_is_exact() {
    use std::net::TcpListener;

    use xvirt_core::migrate::Tls;
    use xvirt_testing::certificates::Authority;

    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = running(folder.path(), &host);
    let authority = Authority::new("the pool");
    let [source, target] = ["host-a", "127.0.0.1"].map(|name| {
        let identity = authority.sign(name, |_| {});
        let [chain, key, authorities] = [&identity.certificate, &identity.key, &authority.certificate];
        Tls::from_pem(chain.as_bytes(), key.as_bytes(), authorities.as_bytes()).unwrap()
    });
    for connections in [1, 4] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = source.channel(&listener.local_addr().unwrap().to_string()).unwrap();
        let channels = (here, target.accept(listener));
        let outcome = migrate_over(&guest.vm, &host, channels, connections, [&(), &()], as_it_is);
        guest = moved(guest, outcome);
    }
}

#[test]
fn a_vm_that_is_not_taken_runs_on_and_all_reasons_arrive() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = running(folder.path(), &host);
    let other_memory = |arriving: &ArrivingVm| Ok(as_it_is(arriving)?.memory(ByteSize::mib(64)));
    let two_reasons = |_: &ArrivingVm| Err(vec!["no network 'blue'".to_owned(), "no storage 'fast'".to_owned()]);
    let fewer_disks = |arriving: &ArrivingVm| {
        let mut config = as_it_is(arriving)?;
        config.disks.pop();
        Ok(config)
    };
    for (accept, reason) in [
        (two_reasons as fn(&ArrivingVm) -> _, "no network 'blue'; no storage 'fast'"),
        (other_memory, "other memory"),
        (fewer_disks, "VM 'demo' had 2 disks, and the configuration has 1"),
    ] {
        let (sent, received) = migrate(&guest.vm, &host, 2, [&(), &()], accept);
        let error = sent.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MigrationRefused, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(received.unwrap_err().kind(), ErrorKind::MigrationRefused);
        assert_eq!(guest.vm.power_state(), PowerState::Running);
    }
    assert!(has_its_disks(&guest.vm));
    guest.goes_on();
}

/// The descriptors and threads of this process, and how often guest memory is mapped.
fn taken() -> (usize, Vec<String>, usize) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    // The parts of one memory with different page sizes are mappings of their own; the first begins with the file.
    let is_first = |line: &&str| line.contains("guest-memory") && line.split_whitespace().nth(2) == Some("00000000");
    let mapped = maps.lines().filter(is_first).count();
    // A disk has as many threads as its guest's requests need.
    let mut threads: Vec<_> = threads().into_iter().filter(|name| name != "disk-io").collect();
    threads.sort();
    (Taken::now().descriptors, threads, mapped)
}

/// Cancels when this phase begins.
struct CancelIn(MigrationPhase, AtomicBool);

impl MigrationObserver for CancelIn {
    fn report(&self, report: &MigrationReport) {
        self.1.fetch_or(report.phase == self.0, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }

    fn settings(&self) -> Option<Migration> {
        None
    }
}

#[test]
fn everything_that_is_missing_is_named_at_once_before_anything_moves() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = running(folder.path(), &host);
    let address = folder.path().join("socket");
    let listener = UnixListener::bind(&address).unwrap();
    let connect = |_| UnixStream::connect(&address);
    let other = folder.path().join("other.raw");
    disk::create(&other, ImageFormat::Raw, workload::DISK).unwrap();
    let small = folder.path().join("small.raw");
    disk::create(&small, ImageFormat::Raw, 1 << 20).unwrap();
    let none = folder.path().join("none.raw");
    let lacking = |arriving: &ArrivingVm, first: &Path, second: &Path| {
        let mut config = as_it_is(arriving)?;
        (config.disks[0], config.disks[1]) = (Disk::raw(first), Disk::raw(second));
        Ok(config.vsock(Vsock::new(3, folder.path().join("no-folder/vsock"))))
    };
    let mut offers = 0;
    let mut accept = |arriving: &ArrivingVm| {
        offers += 1;
        assert_eq!(arriving.is_only_checked(), offers < 3);
        match offers {
            1 => lacking(arriving, &other, &small),
            2 => lacking(arriving, &small, &none),
            _ => as_it_is(arriving),
        }
    };
    let moved = thread::scope(|scope| {
        let target = scope.spawn(|| receive(&listener, &host, &Reception::default(), &(), &(), &mut accept).unwrap());
        let settings = Migration::default();
        let too_small = "small.raw is not the disk there: it has 1048576 bytes";
        for reasons in [["other.raw is not the disk there: nobody writes to it", too_small], [too_small, "none.raw"]] {
            let error = guest.vm.check_migration(&connect, &settings, &()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MigrationRefused, "{error}");
            for reason in reasons.into_iter().chain(["no-folder: there is no such folder"]) {
                assert!(error.to_string().contains(reason), "{error}");
            }
            assert!(has_its_disks(&guest.vm));
            guest.goes_on();
        }
        guest.vm.migrate(&connect, &settings, &(), &()).unwrap();
        target.join().unwrap()
    });
    guest.hear();
    Workload::taken_back(moved, guest.progress).goes_on();
}

#[test]
fn a_side_that_cancels_in_any_phase_keeps_nothing() {
    in_own_process("migration::a_side_that_cancels_in_any_phase_keeps_nothing", cancel_in_all_phases);
}

fn cancel_in_all_phases() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = running(folder.path(), &host);
    let before = taken();
    use MigrationPhase::{Parked, Prepared, Receiving, Released, Running};
    for phase in [Running, Parked, Released, Receiving, Prepared] {
        let observer = CancelIn(phase, AtomicBool::new(false));
        let at_source = ![Receiving, Prepared].contains(&phase);
        let observers: [&dyn MigrationObserver; 2] = if at_source { [&observer, &()] } else { [&(), &observer] };
        let (sent, received) = migrate(&guest.vm, &host, 2, observers, as_it_is);
        let (sent, received) = (sent.unwrap_err(), received.unwrap_err());
        let error = if at_source { sent } else { received };
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{phase:?}: {error}");
        assert_eq!(comes_to(&before, SOON, taken), Ok(()), "{phase:?}");
        assert_eq!(guest.vm.power_state(), PowerState::Running);
        assert!(has_its_disks(&guest.vm));
        guest.goes_on();
    }
}

#[test]
fn a_cancelled_vm_runs_on_with_its_disks_and_the_target_holds_nothing() {
    let name = "migration::a_cancelled_vm_runs_on_with_its_disks_and_the_target_holds_nothing";
    in_own_process(name, cancel_at_random);
}

fn cancel_at_random() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = running(folder.path(), &host);
    let count = std::env::var("XVIRT_CANCELLED_MIGRATIONS").map_or(CANCELLED, |text| text.parse().unwrap());
    let (mut cancelled, mut longest) = (0, Duration::ZERO);
    for seed in 0..count {
        let before = taken();
        assert_eq!(before.2, 1, "guest memory is mapped more than once");
        let (stop, moment) = (AtomicBool::new(false), Duration::from_micros(Random::new(seed).below_u64(100_000)));
        let (asked, (sent, received)) = thread::scope(|scope| {
            let canceller = scope.spawn(|| {
                thread::sleep(moment);
                stop.store(true, Ordering::Relaxed);
                Instant::now()
            });
            let outcome = migrate(&guest.vm, &host, 2, [&stop, &()], as_it_is);
            (canceller.join().unwrap(), outcome)
        });
        match sent {
            Ok(_) => {
                guest.hear();
                guest = Workload::taken_back(received.unwrap(), guest.progress);
            }
            Err(error) => {
                let took = asked.elapsed();
                assert!(took < SOON, "{seed}: both sides ended after {took:?}");
                let left = comes_to(&before, SOON - took, taken);
                assert_eq!(left, Ok(()), "{seed}: {before:?} were taken before");
                longest = longest.max(asked.elapsed());
                cancelled += 1;
                assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
                assert!(received.is_err());
            }
        }
        assert_eq!(guest.vm.power_state(), PowerState::Running);
        assert!(has_its_disks(&guest.vm));
        guest.goes_on();
    }
    println!("{cancelled} of {count} were cancelled, after {longest:?} at most");
}

/// A store whose client panics once the transaction is sent.
struct PanickingStore;

impl CommitDecision for PanickingStore {
    fn commit(&self) -> Decision {
        panic!("the reply cannot be read");
    }

    fn withdraw(&self) -> Decision {
        Decision::Unknown
    }

    fn read(&self) -> Decision {
        Decision::Refused
    }
}

#[test]
fn a_vm_whose_store_panics_stays_stopped_until_it_is_decided() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = running(folder.path(), &host);
    let (here, there) = UnixStream::pair().unwrap();
    let (here, there) = (Sockets::new([here]).unwrap(), Sockets::new([there]).unwrap());
    thread::scope(|scope| {
        let target = scope.spawn(|| {
            let settings = Reception::default();
            receive(&there, &host, &settings, &PanickingStore, &(), &mut |vm: &ArrivingVm| as_it_is(vm))
        });
        let migrate = || guest.vm.migrate(&here, &Migration::default(), &PanickingStore, &());
        assert!(catch_unwind(AssertUnwindSafe(migrate)).is_err());
        assert_eq!(guest.vm.power_state(), PowerState::Paused);
        drop(here);
        assert!(target.join().unwrap().is_err());
    });
    let error = guest.vm.unpause().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
    guest.vm.resolve_migration(false).unwrap();
    assert!(has_its_disks(&guest.vm));
    guest.goes_on();
}
