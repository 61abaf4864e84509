//! How workers end, and what they record.

use std::fs::{self, File};
use std::io::Write;

use rustix::process::Signal;
use xvirt_core::config::ByteSize;
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_worker::protocol::{Json, Request};
use xvirt_worker::{Cause, Exit, ExitRecord, Settings, kind};

use crate::host;
use crate::support::{Parts, Worker, config, ticking};

fn cause(worker: &Worker) -> Cause {
    match worker.wait() {
        Exit::Recorded(record) => record.cause,
        Exit::Unrecorded => panic!("nothing was recorded: {}", worker.log()),
    }
}

#[test]
fn the_record_says_why_a_worker_ended() {
    let host = host!();
    let crashing = Worker::start();
    crashing.run(&Parts::new(&host, &config(&CommandLine::new([Mode::Crash]))));
    assert_eq!(cause(&crashing), Cause::Crashed { reason: "a vCPU triple-faulted".into() });

    let stopped = Worker::start();
    stopped.run(&Parts::new(&host, &ticking()));
    stopped.ask(Request::HardShutdown);
    assert_eq!(cause(&stopped), Cause::HardShutdown);

    let unused = Worker::start();
    unused.ask(Request::End);
    assert_eq!(cause(&unused), Cause::Requested);

    let mistaken = Worker::start();
    let mut parts = Parts::new(&host, &ticking());
    parts.build.config = Json("{\"name\":\"a\",\"boot\":{\"disk\":{}}}".into());
    let error = parts.send(&mut mistaken.connect()).unwrap_err();
    assert_eq!(error.kind(), kind::INVALID_CONFIG);
    assert_eq!(cause(&mistaken), Cause::BuildFailed { error });
}

#[test]
fn a_start_that_fails_leaves_the_worker_for_another() {
    let host = host!();
    let worker = Worker::start();
    let mut parts = Parts::new(&host, &ticking());
    let nothing = parts.add(tempfile::tempfile().unwrap());
    parts.build.kernel = Some(nothing);
    worker.build(&parts);
    for _ in 0..2 {
        assert_eq!(worker.connect().call(&Request::Start, &[]).unwrap_err().kind(), "invalid_kernel");
    }
    assert!(parts.send(&mut worker.connect()).unwrap_err().message().contains("has a VM already"));
    worker.ask(Request::End);
    assert_eq!(cause(&worker), Cause::Requested);
}

#[test]
fn a_worker_that_is_killed_died_without_saying_why() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    worker.console().tick();
    worker.signal(Signal::KILL);
    assert_eq!(worker.wait(), Exit::Unrecorded);
}

#[test]
fn a_fatal_signal_is_recorded() {
    let host = host!();
    for signal in [Signal::SEGV, Signal::ABORT] {
        let worker = Worker::start();
        worker.run(&Parts::new(&host, &ticking()));
        let vm = worker.connect().describe().unwrap().vm;
        worker.signal(signal);
        let Exit::Recorded(record) = worker.wait() else { panic!() };
        assert_eq!((record.cause, record.vm), (Cause::Signal { number: signal.as_raw() }, vm));
    }
}

#[test]
fn the_signal_that_follows_a_panic_leaves_its_message() {
    let host = host!();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &ticking()));
    // As the worker's panic hook does before a program that aborts on panics dies of SIGABRT.
    let said = ExitRecord::new(None, Cause::Panicked { message: "index out of bounds".into() });
    said.write(&File::options().write(true).open(worker.path("exit")).unwrap()).unwrap();
    worker.signal(Signal::ABORT);
    assert_eq!(worker.wait(), Exit::Recorded(said));
}

/// A control group whose processes may have 32 MiB.
fn small_group() -> Result<std::path::PathBuf, std::io::Error> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let of = |controller: &str| {
        let line = groups.lines().find(|line| line.split(':').nth(1) == Some(controller));
        line.and_then(|line| line.splitn(3, ':').nth(2)).unwrap_or("/").trim_start_matches('/').to_owned()
    };
    let name = format!("xvirt-worker-test-{}", std::process::id());
    for (folder, file) in [
        (format!("/sys/fs/cgroup/memory/{}/{name}", of("memory")), "memory.limit_in_bytes"),
        (format!("/sys/fs/cgroup/{}/{name}", of("")), "memory.max"),
    ] {
        let folder = std::path::PathBuf::from(folder);
        if fs::create_dir(&folder).is_ok() {
            let limited =
                File::options().write(true).open(folder.join(file)).and_then(|mut f| f.write_all(b"33554432"));
            if limited.is_ok() {
                return Ok(folder);
            }
            fs::remove_dir(&folder)?;
        }
    }
    Err(std::io::Error::other("no control group for memory can be made"))
}

#[test]
fn a_worker_gets_no_more_memory_than_its_group() {
    let host = host!();
    let group = match small_group() {
        Ok(group) => group,
        Err(error) => return println!("SKIPPED a_worker_gets_no_more_memory_than_its_group: {error}"),
    };
    let line = CommandLine::new([Mode::Hello, Mode::Counter]).pages(12_000).every(1);
    let mut ended = Vec::new();
    for confined in [false, true] {
        let processes = File::options().write(true).open(group.join("cgroup.procs")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let worker = Worker::in_group(folder, &Settings::new(0), confined.then_some(processes));
        let mut parts = Parts::new(&host, &config(&line).memory(ByteSize::mib(128)));
        parts.build.owner_epoch = 1;
        worker.run(&parts);
        if confined {
            assert_eq!(worker.wait(), Exit::Unrecorded);
        } else {
            worker.console().expect("pass 1\r");
        }
        ended.push(worker.is_over());
    }
    assert_eq!(ended, [false, true]);
    // Its last process may still be ending.
    let gone = (0..1000).any(|_| {
        fs::remove_dir(&group).is_ok() || {
            std::thread::yield_now();
            false
        }
    });
    assert!(gone, "{}", group.display());
}
