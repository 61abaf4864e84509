//! Every call that waits can be ended early by its caller, and leaves the VM as it was.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write, empty, sink};
use std::ops::ControlFlow;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use xvirt_core::agent::GuestCommand;
use xvirt_core::config::{Boot, ByteSize, Disk, Nic, VmConfig, Vsock};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::host::Host;
use xvirt_core::migrate::{Migration, Reception, Sockets, receive};
use xvirt_core::progress::{Done, Progress, interruptible};
use xvirt_core::repository::Repository;
use xvirt_core::vm::{PowerState, Vm, VsockListener};
use xvirt_core::{Error, ErrorKind, Result};

use crate::host;
use crate::support::{Guest, PATIENCE, config, endless_loop};

/// No call may wait for this long.
const LONG: Duration = Duration::from_secs(3600);
/// How often a caller is asked until it ends a call.
const ASKED: u32 = 3;

/// More console input than can wait for a guest.
static TOO_MUCH: [u8; 128 << 10] = [b'x'; 128 << 10];

/// What the calls are made on.
struct Bench {
    guest: Guest,
    listener: VsockListener,
    /// The other end of its network interface.
    _switch: UnixListener,
    folder: tempfile::TempDir,
    host: Host,
}

type Call<T = Bench> = (&'static str, fn(&T) -> Result<()>);

/// Calls that wait for a guest that does nothing.
const OF_A_DEAF_GUEST: &[Call] = &[
    ("Vm::wait_halted", |bench| bench.vm().wait_halted(LONG)),
    ("Vm::clean_shutdown", |bench| bench.vm().clean_shutdown(LONG)),
    ("Vm::clean_reboot", |bench| bench.vm().clean_reboot(LONG)),
    ("Vm::unplug_disk", |bench| bench.vm().unplug_disk(0, LONG)),
    ("Vm::unplug_nic", |bench| bench.vm().unplug_nic(0, LONG)),
    ("Vm::wait_memory_target", |bench| bench.vm().wait_memory_target(LONG)),
    ("Vm::vsock_connect", |bench| bench.vm().vsock_connect(1000, LONG).map(drop)),
    ("VsockListener::accept", |bench| bench.listener.accept().map(drop)),
    ("EventReceiver::next_timeout", |bench| bench.vm().events()?.next_timeout(LONG).map(drop)),
    ("ConsoleReader::wait_for", |bench| bench.vm().console().reader_at_end().wait_for("login:", LONG).map(drop)),
    ("ConsoleReader::read_timeout", |bench| {
        bench.vm().console().reader_at_end().read_timeout(&mut [0], LONG).map(drop)
    }),
    ("ConsoleReader::read", |bench| inner(bench.vm().console().reader_at_end().read(&mut [0]).map(drop))),
    ("Console::write_all", |bench| bench.vm().console().write_all(&TOO_MUCH)),
    ("Console::write_all_timeout", |bench| bench.vm().console().write_all_timeout(&TOO_MUCH, LONG)),
    ("Console::write", |bench| inner(Write::write_all(&mut bench.vm().console(), &TOO_MUCH))),
    ("GuestAgent::wait_ready", |bench| bench.vm().agent().wait_ready(LONG)),
    ("Vm::check_migration", |bench| {
        let (here, _there) = UnixStream::pair().unwrap();
        bench.vm().check_migration(&Sockets::new([here]).unwrap(), &Migration::default(), &())
    }),
    ("Vm::migrate", |bench| {
        let (here, _there) = UnixStream::pair().unwrap();
        bench.vm().migrate(&Sockets::new([here]).unwrap(), &Migration::default(), &(), &()).map(drop)
    }),
    ("migrate::receive", |bench| {
        let listener = UnixListener::bind(bench.folder.path().join("target.sock")).unwrap();
        receive(&listener, &bench.host, &Reception::default(), &(), &(), &mut |_| Err(Vec::new())).map(drop)
    }),
];

/// Calls that wait for a program in the guest which takes requests and does not answer.
const OF_A_SILENT_AGENT: &[Call] = &[
    ("GuestAgent::wait_ready", |bench| bench.vm().agent().wait_ready(LONG)),
    ("GuestAgent::ping", |bench| bench.vm().agent().with_timeout(LONG).ping()),
    ("GuestAgent::info", |bench| bench.vm().agent().with_timeout(LONG).info().map(drop)),
    ("GuestAgent::network_interfaces", |bench| bench.vm().agent().with_timeout(LONG).network_interfaces().map(drop)),
    ("GuestAgent::time", |bench| bench.vm().agent().with_timeout(LONG).time().map(drop)),
    ("GuestAgent::set_time", |bench| bench.vm().agent().with_timeout(LONG).set_time(SystemTime::now())),
    ("GuestAgent::run", |bench| bench.vm().agent().run(&GuestCommand::new("a").timeout(LONG)).map(drop)),
    ("GuestAgent::run_streamed", |bench| {
        let command = GuestCommand::new("a").timeout(LONG);
        bench.vm().agent().run_streamed(&command, |_, _| ControlFlow::Continue(())).map(drop)
    }),
    ("GuestAgent::read_file", |bench| bench.vm().agent().with_timeout(LONG).read_file("/a", 1).map(drop)),
    ("GuestAgent::read_file_to", |bench| {
        bench.vm().agent().with_timeout(LONG).read_file_to("/a", &mut sink()).map(drop)
    }),
    ("GuestAgent::write_file", |bench| bench.vm().agent().with_timeout(LONG).write_file("/a", b"x")),
    ("GuestAgent::write_file_from", |bench| {
        bench.vm().agent().with_timeout(LONG).write_file_from("/a", &mut empty()).map(drop)
    }),
    ("GuestAgent::freeze_file_systems", |bench| {
        bench.vm().agent().with_timeout(LONG).freeze_file_systems(LONG).map(drop)
    }),
    ("GuestAgent::shutdown", |bench| bench.vm().agent().with_timeout(LONG).shutdown()),
    ("GuestAgent::reboot", |bench| bench.vm().agent().with_timeout(LONG).reboot()),
    ("Vm::clean_shutdown", |bench| bench.vm().clean_shutdown(LONG)),
];

/// Verbs that wait for another verb. Those that wait for a guest afterwards are above.
const OF_A_BUSY_VM: &[Call] = &[
    ("Vm::pause", |bench| bench.vm().pause()),
    ("Vm::hard_reboot", |bench| bench.vm().hard_reboot()),
    ("Vm::hard_shutdown", |bench| bench.vm().hard_shutdown()),
    ("Vm::start", |bench| bench.vm().start()),
    ("Vm::set_memory_target", |bench| bench.vm().set_memory_target(ByteSize::mib(64))),
    ("Vm::clean_shutdown", |bench| bench.vm().clean_shutdown(LONG)),
    ("Vm::suspend", |bench| bench.vm().suspend(bench.folder.path().join("other"), &()).map(drop)),
    ("Vm::snapshot_views", |bench| bench.vm().snapshot_views(bench.folder.path()).map(drop)),
];

/// Calls with an observer, and those that wait for another process which uses the repository.
const OF_A_BUSY_REPOSITORY: &[Call<Repository>] = &[
    ("Repository::vms", |repository| repository.vms().map(drop)),
    ("Repository::stage", |repository| repository.stage().map(drop)),
    ("Repository::check", |repository| repository.check(&()).map(drop)),
];

impl Bench {
    fn new(host: Host, line: Option<&CommandLine>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        File::create(path("disk.raw")).unwrap().set_len(1 << 20).unwrap();
        let config = match line {
            Some(line) => config(line),
            None => VmConfig::new("deaf").memory(ByteSize::mib(64)).boot(Boot::kernel(endless_loop())),
        };
        let config = config.disk(Disk::raw(path("disk.raw"))).nic(Nic::stream(path("nic.sock")));
        let vm = config.vsock(Vsock::new(78, path("v.sock"))).build(&host).unwrap();
        let switch = UnixListener::bind(path("nic.sock")).unwrap();
        vm.start().unwrap();
        let guest = Guest { console: vm.console().reader(), events: vm.events().unwrap(), vm };
        let listener = guest.vm.vsock_listen(1).unwrap();
        Self { guest, listener, _switch: switch, folder, host }
    }

    fn vm(&self) -> &Vm {
        &self.guest.vm
    }

    /// Checks that the VM runs with all its devices, that no call is left, and that it takes verbs.
    fn is_as_before(&self, after: &str) {
        let vm = self.vm();
        assert_eq!(vm.power_state(), PowerState::Running, "{after}");
        assert_eq!((vm.disks().len(), vm.nics().len()), (1, 1), "{after}");
        assert_eq!(vm.current_operations(), [], "{after}");
        vm.pause().unwrap();
        vm.unpause().unwrap();
    }
}

/// The error in an I/O error.
fn inner(result: std::io::Result<()>) -> Result<()> {
    result.map_err(|error| *error.into_inner().unwrap().downcast::<Error>().unwrap())
}

/// Makes a call whose caller ends it when it is asked for the third time.
fn interrupt(name: &str, call: impl FnOnce() -> Result<()>) {
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let third = move || {
        count.set(count.get() + 1);
        count.get() >= ASKED
    };
    let error = interruptible(third, call).err().unwrap_or_else(|| panic!("{name} was not interrupted"));
    assert_eq!((error.kind(), asked.get()), (ErrorKind::Cancelled, ASKED), "{name}: {error}");
    assert!(error.to_string().contains("was cancelled"), "{name}: {error}");
}

#[test]
fn calls_that_wait_for_a_guest() {
    let bench = Bench::new(host!(), None);
    bench.vm().set_memory_target(ByteSize::mib(32)).unwrap();
    for (name, call) in OF_A_DEAF_GUEST {
        interrupt(name, || call(&bench));
        bench.is_as_before(name);
    }
    bench.vm().hard_shutdown().unwrap();
}

#[test]
fn calls_of_an_agent_that_does_not_answer() {
    let mut bench = Bench::new(host!(), Some(&CommandLine::new([Mode::Agent, Mode::Echo]).agent("silent")));
    bench.guest.expect("agent: open");
    for (name, call) in OF_A_SILENT_AGENT {
        interrupt(name, || call(&bench));
        bench.is_as_before(name);
    }
    bench.vm().console().write_all(b"ping\n").unwrap();
    bench.guest.expect("pong");
}

#[test]
fn a_report_of_a_paused_guest_on_its_memory() {
    let host = host!();
    let mut guest = Guest::start(config(&CommandLine::new([Mode::Balloon])), &host).unwrap();
    guest.expect("balloon: touched=4096");
    guest.vm.refresh_memory_statistics(PATIENCE).unwrap();
    guest.vm.pause().unwrap();
    interrupt("Vm::refresh_memory_statistics", || guest.vm.refresh_memory_statistics(LONG).map(drop));
    assert_eq!((guest.vm.power_state(), guest.vm.current_operations()), (PowerState::Paused, Vec::new()));
    guest.vm.unpause().unwrap();
    guest.vm.refresh_memory_statistics(PATIENCE).unwrap();
}

/// Keeps an operation busy until the other end of `go_on` is gone.
struct Busy {
    began: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Progress for Busy {
    fn report(&self, _: Done) {
        let _ = self.began.send(());
        let _ = self.go_on.lock().unwrap().recv();
    }

    fn cancelled(&self) -> bool {
        false
    }
}

#[test]
fn verbs_that_wait_for_another_one() {
    let bench = Bench::new(host!(), None);
    let ((began, begins), (end, go_on)) = (mpsc::channel(), mpsc::channel());
    let (vm, path) = (bench.vm(), bench.folder.path().join("saved"));
    thread::scope(|scope| {
        scope.spawn(|| vm.suspend(&path, &Busy { began, go_on: go_on.into() }).unwrap());
        begins.recv().unwrap();
        for (name, call) in OF_A_BUSY_VM {
            interrupt(name, || call(&bench));
        }
        drop(end);
    });
    // An operation with an observer is interrupted as well.
    interrupt_at_once("Vm::resume", || vm.resume(&()).map(drop));
    vm.resume(&()).unwrap();
    interrupt_at_once("Vm::suspend", || vm.suspend(bench.folder.path().join("again"), &()).map(drop));
    bench.is_as_before("Vm::suspend");
}

/// Makes a call whose caller wants to end it from the beginning.
fn interrupt_at_once(name: &str, call: impl FnOnce() -> Result<()>) {
    let error = interruptible(|| true, call).err().unwrap_or_else(|| panic!("{name} was not interrupted"));
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{name}: {error}");
}

#[test]
fn calls_that_wait_for_another_user_of_a_repository() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    let lock = File::options().write(true).open(folder.path().join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    for (name, call) in OF_A_BUSY_REPOSITORY {
        interrupt(name, || call(&repository));
    }
    flock(&lock, FlockOperation::Unlock).unwrap();
    for (name, call) in OF_A_BUSY_REPOSITORY {
        interruptible(|| false, || call(&repository)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn what_does_not_have_to_wait_is_not_interrupted() {
    let mut bench = Bench::new(host!(), Some(&CommandLine::new([Mode::Agent, Mode::Echo])));
    bench.vm().agent().wait_ready(PATIENCE).unwrap();
    bench.guest.expect("echo");
    interruptible(
        || true,
        || {
            bench.vm().pause().unwrap();
            bench.vm().console().write_all(b"ping\n").unwrap();
            assert!(bench.vm().console().reader().try_read(&mut [0]).is_some());
            bench.guest.events.next_timeout(LONG).unwrap();
            bench.vm().unpause().unwrap();
        },
    );
    bench.guest.expect("pong");
    // A check that says no does not disturb.
    interruptible(
        || false,
        || {
            bench.vm().agent().run(&GuestCommand::new("hello").timeout(PATIENCE)).unwrap();
            bench.vm().clean_shutdown(PATIENCE).unwrap();
        },
    );
}
