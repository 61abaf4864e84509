//! Shell scripts that stand in for programs started by path.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A time limit that is reached only if a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A shell script in a folder of its own, which first records that it was started.
#[derive(Debug)]
pub struct StandIn {
    folder: tempfile::TempDir,
}

impl StandIn {
    /// Creates a program from the lines of a shell script.
    pub fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = Self { folder };
        let script = format!("#!/bin/sh\necho $$ >>{}\n{script}\n", stand_in.path("started").display());
        // Another process writes the file: it cannot be executed while a child of another test holds it open for
        // writing.
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

    /// The path of the program.
    pub fn program(&self) -> PathBuf {
        self.path("program")
    }

    /// The path of a file beside it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The process ids of its runs, once there are `count`.
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

/// Whether this process exists, possibly as a zombie.
pub fn exists(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// Polls until a condition without notification is true.
pub fn wait_until(what: &str, mut true_now: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !true_now() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
