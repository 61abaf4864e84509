//! The processes of a case, and what they say.

use std::io::{BufReader, Write};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::PATIENCE;
use crate::victim;

struct Process {
    child: Child,
    killed: bool,
}

/// What a process said; `None` if it has ended.
type Said = (usize, Option<String>);

/// Processes that obey. Dropping this kills them, and prints what was said if the test fails.
pub struct Processes {
    processes: Vec<Process>,
    words: Receiver<Said>,
    /// What was said while something else was expected.
    unexpected: Vec<(usize, String)>,
    name: String,
    log: Vec<String>,
}

impl Processes {
    /// Starts `count` processes that work in `folder`. `name` says how to repeat the test.
    pub fn start(count: usize, folder: &Path, name: String) -> Self {
        let (sender, words) = channel();
        let processes = (0..count).map(|number| Process::start(number, folder, sender.clone())).collect();
        Self { processes, words, unexpected: Vec::new(), name, log: Vec::new() }
    }

    /// Gives an order to a process that was not killed.
    pub fn order(&mut self, number: usize, order: &str) {
        let process = &mut self.processes[number];
        if !process.killed {
            self.log.push(format!("{number} <- {order}"));
            writeln!(process.child.stdin.as_mut().unwrap(), "{order}").unwrap();
        }
    }

    pub fn is_killed(&self, number: usize) -> bool {
        self.processes[number].killed
    }

    pub fn kill(&mut self, number: usize) {
        self.log.push(format!("{number} is killed"));
        self.processes[number].end();
    }

    /// Stops a process or lets it go on.
    pub fn signal(&mut self, number: usize, signal: Signal) {
        self.log.push(format!("{number} gets {signal}"));
        kill(Pid::from_raw(self.processes[number].child.id().cast_signed()), signal).unwrap();
    }

    /// What was said within `limit`. Nothing is said by a process that was killed.
    pub fn hear(&mut self, limit: Duration) -> Option<(usize, String)> {
        let (number, word) = self.words.recv_timeout(limit).ok()?;
        let killed = self.processes[number].killed;
        self.log.push(format!("{number} -> {}", word.as_deref().unwrap_or("(end)")));
        match word {
            Some(word) => Some((number, word)),
            None if killed => None,
            None => panic!("process {number} ended by itself"),
        }
    }

    /// Waits until a process says a word that begins with this, and returns its rest.
    pub fn expect(&mut self, number: usize, start: &str) -> String {
        let began = Instant::now();
        loop {
            let is_it = |(from, word): &(usize, String)| *from == number && word.starts_with(start);
            if let Some(place) = self.unexpected.iter().position(is_it) {
                return self.unexpected.remove(place).1[start.len()..].trim_start().to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "process {number} does not say '{start}'");
            let heard = self.hear(PATIENCE);
            self.unexpected.extend(heard);
        }
    }

    /// Lets a process end by itself.
    pub fn finish(&mut self, number: usize, order: &str) {
        self.order(number, order);
        let process = &mut self.processes[number];
        process.killed = true;
        let status = process.child.wait().unwrap();
        assert!(status.success(), "process {number}: {status}");
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(Process::end);
        if thread::panicking() {
            println!("{}:\n  {}", self.name, self.log.join("\n  "));
        }
    }
}

impl Process {
    fn start(number: usize, folder: &Path, words: Sender<Said>) -> Self {
        let mut child = victim::command("migration_faults::side::obeys", folder, 0).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            while let Some(word) = victim::next(&mut lines) {
                // The judge may have lost interest.
                let _ = words.send((number, Some(word)));
            }
            let _ = words.send((number, None));
        });
        Self { child, killed: false }
    }

    fn end(&mut self) {
        self.killed = true;
        // Fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
