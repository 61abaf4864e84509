//! Queries are answered while a verb waits, for a backend of the program or for anything else.

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, Disk};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::BlockBackend;
use xvirt_core::disk::{GuestSlice, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::progress::{Done, Progress};
use xvirt_core::repository::Repository;
use xvirt_core::vm::{Operation, PowerState, Statistics, Verb, Vm};
use xvirt_core::xva::{self, Export};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

const SIZE: u64 = 16 << 20;

/// A disk whose requests block while it is held up.
#[derive(Clone, Debug, Default)]
struct Slow(Arc<(Mutex<Answers>, Condvar)>);

#[derive(Debug, Default)]
struct Answers {
    held_up: bool,
    waiting: usize,
    bytes: Vec<u8>,
}

impl Slow {
    fn hold_up(&self) {
        self.0.0.lock().unwrap().held_up = true;
    }

    fn go_on(&self) {
        self.0.0.lock().unwrap().held_up = false;
        self.0.1.notify_all();
    }

    /// Waits until a request is blocked.
    fn wait_asked(&self) {
        let answers = self.0.0.lock().unwrap();
        let waited = self.0.1.wait_timeout_while(answers, PATIENCE, |answers| answers.waiting == 0).unwrap();
        assert!(!waited.1.timed_out(), "nobody asks the disk anything");
    }

    fn answer(&self) {
        let mut answers = self.0.0.lock().unwrap();
        answers.waiting += 1;
        self.0.1.notify_all();
        let mut answers = self.0.1.wait_while(answers, |answers| answers.held_up).unwrap();
        answers.waiting -= 1;
    }
}

impl BlockBackend for Slow {
    fn capacity(&self) -> u64 {
        self.answer();
        self.0.0.lock().unwrap().bytes.len() as u64
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.answer();
        let mut at = usize::try_from(offset).unwrap();
        let answers = self.0.0.lock().unwrap();
        for buffer in buffers {
            buffer.copy_from(&answers.bytes[at..at + buffer.len()]);
            at += buffer.len();
        }
        Ok(())
    }
    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.answer();
        let mut at = usize::try_from(offset).unwrap();
        let mut answers = self.0.0.lock().unwrap();
        for buffer in buffers {
            buffer.copy_to(&mut answers.bytes[at..at + buffer.len()]);
            at += buffer.len();
        }
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        self.answer();
        Ok(())
    }
    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        self.answer();
        Ok(())
    }
    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        self.answer();
        Ok(())
    }
    fn grow(&self, size: u64) -> io::Result<()> {
        self.answer();
        self.0.0.lock().unwrap().bytes.resize(size as usize, 0);
        Ok(())
    }
}

/// The answers of a VM.
struct Answered {
    state: PowerState,
    statistics: Statistics,
    disks: Vec<usize>,
    operations: Vec<Verb>,
    allowed: Vec<Verb>,
}

/// Makes all queries of a VM, which must all return in time.
fn ask(vm: &Arc<Vm>) -> Answered {
    let (sender, receiver) = mpsc::channel();
    let asked = Arc::clone(vm);
    thread::spawn(move || {
        let events = asked.events().unwrap();
        assert_eq!(events.try_next().unwrap(), None);
        asked.disks();
        asked.nics();
        asked.cpu_limit().unwrap();
        let answered = Answered {
            state: asked.power_state(),
            statistics: asked.statistics(),
            disks: asked.disk_positions(),
            operations: asked.current_operations().iter().map(|operation| operation.verb).collect(),
            allowed: asked.allowed_operations(),
        };
        let _ = sender.send(answered);
    });
    // An error means that a query waits for a verb.
    receiver.recv_timeout(PATIENCE).unwrap()
}

/// Calls `verb`, whose disk blocks, and returns the VM's answers meanwhile.
fn ask_during(vm: &Arc<Vm>, slow: &Slow, verb: impl FnOnce(&Vm) + Send) -> Answered {
    slow.hold_up();
    if vm.power_state() == PowerState::Running {
        // The guest must block first: otherwise, the verb might end before it uses the disk.
        slow.wait_asked();
    }
    thread::scope(|scope| {
        let verb = scope.spawn(move || verb(vm));
        slow.wait_asked();
        while vm.current_operations().is_empty() {
            thread::yield_now();
        }
        let answered = ask(vm);
        assert!(!verb.is_finished());
        slow.go_on();
        verb.join().unwrap();
        answered
    })
}

fn build(slow: &Slow, mode: Mode, host: &Host) -> Arc<Vm> {
    let line = CommandLine::new([mode]).blocks(20).every(1);
    Arc::new(config(&line).disk(Disk::backend(Arc::new(slow.clone()))).build(host).unwrap())
}

#[test]
fn questions_are_answered_while_a_verb_waits_for_a_disk() {
    let host = host!();
    let slow = Slow::default();
    slow.0.0.lock().unwrap().bytes.resize(SIZE as usize, 0);
    let vm = build(&slow, Mode::BlkLoad, &host);
    assert!(vm.allowed_operations().contains(&Verb::Start));

    let during = ask_during(&vm, &slow, |vm| vm.start().unwrap());
    assert_eq!((during.state, during.disks), (PowerState::Halted, vec![0]));
    assert_eq!((during.operations, during.allowed), (vec![Verb::Start], vec![]));

    vm.console().reader().wait_for("round 1", PATIENCE).unwrap();
    // The guest waits for the disk, and the verb waits for the guest's request.
    for (verb, name) in [(Vm::pause as fn(&Vm) -> _, Verb::Pause), (Vm::hard_reboot, Verb::HardReboot)] {
        let during = ask_during(&vm, &slow, |vm| verb(vm).unwrap());
        assert_eq!((during.state, during.disks), (PowerState::Running, vec![0]));
        assert_eq!((during.operations, during.allowed), (vec![name], vec![]));
        assert_eq!(during.statistics.disks.len(), 1);
        if name == Verb::Pause {
            vm.unpause().unwrap();
        }
    }
    let during = ask_during(&vm, &slow, |vm| vm.resize_disk(0, 2 * SIZE).unwrap());
    assert_eq!((during.state, during.operations), (PowerState::Running, vec![Verb::ResizeDisk]));
    let during = ask_during(&vm, &slow, |vm| vm.hard_shutdown().unwrap());
    assert_eq!((during.disks, during.operations), (vec![0], vec![Verb::HardShutdown]));
    assert_eq!((vm.power_state(), vm.current_operations()), (PowerState::Halted, vec![]));
}

#[test]
fn a_verb_that_waits_for_the_guest_lets_others_come() {
    let host = host!();
    let guest = Guest::start(config(&CommandLine::new([Mode::Panic]).panic_event(0)), &host).unwrap();
    let vm = &guest.vm;
    thread::scope(|scope| {
        let shutdown = scope.spawn(|| vm.clean_shutdown(PATIENCE));
        while vm.current_operations().is_empty() {
            thread::yield_now();
        }
        let operations = vm.current_operations();
        assert_eq!(operations.iter().map(|operation| operation.verb).collect::<Vec<_>>(), [Verb::CleanShutdown]);
        assert!(vm.allowed_operations().contains(&Verb::HardShutdown));
        assert!(!vm.allowed_operations().contains(&Verb::Start));
        vm.hard_shutdown().unwrap();
        shutdown.join().unwrap().unwrap_err();
    });
    assert_eq!(vm.current_operations(), []);
}

/// An observer that blocks the operation in the middle.
#[derive(Default)]
struct HeldUp(Mutex<Middle>, Condvar);

#[derive(Default)]
struct Middle {
    reached: Option<Done>,
    goes_on: bool,
}

impl HeldUp {
    fn wait_reached(&self) -> Done {
        let middle = self.0.lock().unwrap();
        let (middle, _) = self.1.wait_timeout_while(middle, PATIENCE, |middle| middle.reached.is_none()).unwrap();
        middle.reached.unwrap()
    }

    fn go_on(&self) {
        self.0.lock().unwrap().goes_on = true;
        self.1.notify_all();
    }
}

impl Progress for HeldUp {
    fn report(&self, done: Done) {
        let mut middle = self.0.lock().unwrap();
        if done.fraction().is_none_or(|part| part <= 0.25 || part >= 1.0) || middle.goes_on {
            return;
        }
        middle.reached = Some(done);
        self.1.notify_all();
        let (middle, _) = self.1.wait_timeout_while(middle, PATIENCE, |middle| !middle.goes_on).unwrap();
        assert!(middle.goes_on, "nobody lets it go on");
    }

    fn cancelled(&self) -> bool {
        false
    }
}

#[test]
fn long_operations_tell_how_far_they_are_and_nobody_waits_to_hear_it() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let kernel = folder.path().join("demo.elf");
    std::fs::write(&kernel, demo::kernel()).unwrap();
    let mut stage = repository.stage().unwrap();
    let path = stage.disk_path(0, ImageFormat::Raw);
    std::fs::write(&path, vec![1; SIZE as usize]).unwrap();
    let stored = stage.commit(config(&CommandLine::new([])).boot(Boot::kernel(kernel)).disk(Disk::raw(path))).unwrap();
    let vm = Arc::new(stored.config().build(&host).unwrap());

    type Work<'a> = &'a (dyn Fn(&dyn Progress) + Sync);
    let export = |progress: &dyn Progress| {
        xva::export_running(&vm, None, folder.path(), io::sink(), &Export::none(), progress).unwrap();
    };
    let (none, all) = (vec![], vm.allowed_operations());
    let works: [(Verb, Work<'_>, &Vec<Verb>); 4] = [
        (Verb::Clone, &|progress| drop(repository.clone_vm(&*vm, "clone", progress).unwrap()), &none),
        (Verb::Copy, &|progress| drop(repository.copy_vm(&*vm, "copy", progress).unwrap()), &none),
        (Verb::Export, &export, &all),
        (Verb::Seal, &|progress| drop(repository.seal("sealed", &*vm, progress).unwrap()), &none),
    ];
    for (verb, work, allowed) in works {
        let held = HeldUp::default();
        thread::scope(|scope| {
            let working = scope.spawn(|| work(&held));
            let reached = held.wait_reached();
            let answered = ask(&vm);
            let [operation] = &vm.current_operations()[..] else { panic!("{verb}: not one operation") };
            assert_eq!((operation.verb, operation.done), (verb, Some(reached)));
            assert!(reached.fraction().is_some_and(|part| part > 0.25 && part < 1.0), "{verb}: {reached:?}");
            let json = serde_json::to_string(operation).unwrap();
            assert_eq!(&serde_json::from_str::<Operation>(&json).unwrap(), operation);
            assert_eq!((answered.state, &answered.allowed), (PowerState::Halted, allowed), "{verb}");
            held.go_on();
            working.join().unwrap();
        });
        assert_eq!(vm.current_operations(), []);
    }
}

#[test]
fn what_takes_a_halted_vm_is_refused_while_it_runs() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    let guest = Guest::start(config(&CommandLine::new([Mode::Echo])), &host).unwrap();
    let refused = |error: xvirt_core::Error| (error.kind(), error.to_string());
    let expected = |verb| {
        let text = format!("cannot {verb} VM 'demo' while it is running; it must be halted");
        (ErrorKind::InvalidState, text)
    };
    assert_eq!(refused(repository.seal("a", &guest.vm, &()).unwrap_err()), expected("seal"));
    assert_eq!(refused(repository.clone_vm(&guest.vm, "a", &()).unwrap_err()), expected("clone"));
    assert_eq!(refused(repository.copy_vm(&guest.vm, "a", &()).unwrap_err()), expected("copy"));
    guest.vm.hard_shutdown().unwrap();
    assert_eq!(repository.copy_vm(&guest.vm, "a", &()).unwrap_err().kind(), ErrorKind::NotFound);
}
