//! Shell scripts that stand in for a program that is started by its path.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Waited for in full only when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A shell script in a folder of its own, which begins with telling that it was started.
#[derive(Debug)]
pub struct StandIn {
    folder: tempfile::TempDir,
}

impl StandIn {
    /// Makes a program of the lines `script` of a shell.
    pub fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = Self { folder };
        let script = format!("#!/bin/sh\necho $$ >>{}\n{script}\n", stand_in.path("started").display());
        // Another process writes it: it cannot be executed while a child of another test has it open for writing.
        let mut install = Command::new("install")
            .args(["-m", "755", "/dev/stdin"])
            .arg(stand_in.program())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        install.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(install.wait().unwrap().success());
        stand_in
    }

    /// The program.
    pub fn program(&self) -> PathBuf {
        self.path("program")
    }

    /// A file beside it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The processes that were started, once there are so many.
    pub fn started(&self, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        wait_until("they are started", || {
            let text = fs::read_to_string(self.path("started")).unwrap_or_default();
            numbers = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.parse().ok()).collect();
            numbers.len() >= count
        });
        numbers
    }
}

/// Whether there is such a process, if only as one that nobody has waited for.
pub fn exists(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// Waits for something that nobody tells of.
pub fn wait_until(what: &str, mut true_now: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !true_now() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
