//! A process is killed while it suspends and resumes its VM: the VM is suspended or it is not, and never both.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use xvirt_core::config::{Boot, Disk, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::vm::{SuspendedVm, Vm};
use xvirt_testing::random::Random;

use crate::host;
use crate::support::{PATIENCE, config};

const ORDER: &str = "XVIRT_TEST_SUSPEND_KILL";
/// Names the word after which the process waits to be killed.
const STOP: &str = "XVIRT_TEST_SUSPEND_KILL_STOP";
/// How often the process is killed, unless `XVIRT_SUSPEND_KILLS` says otherwise.
const KILLS: u64 = 20;
const DISK: u64 = 8 << 20;

fn configuration(folder: &Path) -> VmConfig {
    let line = CommandLine::new([Mode::Counter, Mode::BlkLoad]).pages(300).blocks(16).every(1);
    let kernel = Boot::kernel(folder.join("kernel")).command_line(line.to_string());
    config(&line).boot(kernel).disk(Disk::raw(folder.join("disk")))
}

/// Waits until the guest has checked its memory and its disk again.
fn goes_on(vm: &Vm) {
    let mut console = vm.console().reader_at_end();
    for expected in ["blk 0: round", "pass", "blk 0: round", "pass"] {
        let text = console.wait_for(expected, PATIENCE).unwrap();
        assert!(!text.contains(demo::FAILED), "{text}");
    }
}

/// Prints what is about to be done, or is done. Waits to be killed if that is where it should stop.
fn say(word: &str) {
    println!("{word}");
    if std::env::var(STOP).is_ok_and(|stop| stop == word) {
        let _ = io::stdin().read_line(&mut String::new());
    }
}

/// Suspends and resumes a VM for ever, in the process that is killed.
#[test]
fn obeys() {
    let Ok(folder) = std::env::var(ORDER) else { return };
    let (folder, host) = (Path::new(&folder), Host::probe().unwrap());
    let saved = folder.join("saved");
    let vm = configuration(folder).build(&host).unwrap();
    vm.start().unwrap();
    loop {
        goes_on(&vm);
        say("suspending");
        vm.suspend(&saved, &()).unwrap();
        say("suspended");
        say("resuming");
        vm.resume(&()).unwrap();
        say("resumed");
    }
}

/// When a process is killed.
enum Moment {
    /// This long after its first word.
    After(Duration),
    /// While it waits after this word.
    At(&'static str),
}

/// Starts the process, kills it, and returns its last word.
fn killed(folder: &Path, moment: &Moment) -> String {
    let (first, stop) = match moment {
        Moment::After(_) => ("suspending", ""),
        Moment::At(word) => (*word, *word),
    };
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "suspend_kill::obeys", "--nocapture"])
        .env(ORDER, folder)
        .env(STOP, stop)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut last = String::new();
    while last != first {
        last = word(&mut lines).unwrap_or_else(|| panic!("the process ended by itself"));
    }
    if let Moment::After(delay) = moment {
        thread::sleep(*delay);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    while let Some(word) = word(&mut lines) {
        if !word.is_empty() {
            last = word;
        }
    }
    last
}

/// The next line, if it is one of ours; an empty text if not. Nothing at the end.
fn word(lines: &mut BufReader<ChildStdout>) -> Option<String> {
    let mut line = String::new();
    let length = lines.read_line(&mut line).unwrap();
    let ours = ["suspending", "suspended", "resuming", "resumed"];
    let word = line.strip_suffix('\n').and_then(|line| ours.into_iter().find(|word| line.ends_with(word)));
    (length > 0).then(|| word.unwrap_or_default().to_owned())
}

#[test]
fn a_killed_process_leaves_a_vm_suspended_or_not() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (folder, saved) = (folder.path(), folder.path().join("saved"));
    fs::write(folder.join("kernel"), demo::kernel()).unwrap();
    disk::create(folder.join("disk"), ImageFormat::Raw, DISK).unwrap();
    let kills = std::env::var("XVIRT_SUSPEND_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut random = Random::new(kills);
    let at_random = (0..kills).map(|_| Moment::After(Duration::from_micros(random.below(150_000) as u64)));
    for (number, moment) in [Moment::At("suspended"), Moment::At("resumed")].into_iter().chain(at_random).enumerate() {
        let last = killed(folder, &moment);
        let exists = saved.exists();
        let expected: &[bool] = match last.as_str() {
            "suspended" => &[true],
            "resumed" => &[false],
            _ => &[false, true],
        };
        assert!(expected.contains(&exists), "kill {number} after '{last}': the file is there: {exists}");
        let others = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let others: Vec<_> = others.filter(|name| name != "kernel" && name != "disk" && name != "saved").collect();
        assert!(others.is_empty(), "kill {number} after '{last}' leaves {others:?}");
        if exists {
            let vm = SuspendedVm::open(&saved).unwrap().build(&host).unwrap();
            vm.resume(&()).unwrap();
            goes_on(&vm);
            vm.hard_shutdown().unwrap();
        }
    }
}
