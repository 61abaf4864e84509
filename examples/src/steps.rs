//! What was done, and how long each took.

use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

/// The steps of a program: each is told as it is done, and all of them at the end.
#[derive(Debug)]
pub struct Steps {
    began: Instant,
    last: Instant,
    done: Vec<(String, Duration)>,
}

impl Default for Steps {
    fn default() -> Self {
        let now = Instant::now();
        Self { began: now, last: now, done: Vec::new() }
    }
}

impl Steps {
    /// Tells that something is done, and how long it took since the last step.
    pub fn done(&mut self, what: &str) {
        let took = self.last.elapsed();
        println!("== {what} ({:.2} s)", took.as_secs_f64());
        self.last = Instant::now();
        self.done.push((what.to_owned(), took));
    }

    /// Lists all steps with their times, and the time of all.
    pub fn summary(&self) {
        let mut out = BufWriter::new(std::io::stdout().lock());
        // Whoever reads may have seen enough.
        let _ = writeln!(out);
        for (what, took) in &self.done {
            let _ = writeln!(out, "{:8.2} s  {what}", took.as_secs_f64());
        }
        let _ = writeln!(out, "{:8.2} s  in all", self.began.elapsed().as_secs_f64());
    }
}
