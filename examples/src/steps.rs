//! The steps of a program, with the time that each took.

use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

/// The steps of a program: each is printed when it is done, and all of them at the end.
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
    /// Prints that a step is done, and the time since the last one.
    pub fn done(&mut self, what: &str) {
        let took = self.last.elapsed();
        println!("== {what} ({:.2} s)", took.as_secs_f64());
        self.last = Instant::now();
        self.done.push((what.to_owned(), took));
    }

    /// Prints all steps with their times, and the total.
    pub fn summary(&self) {
        let mut out = BufWriter::new(std::io::stdout().lock());
        // The reader may have closed the pipe.
        let _ = writeln!(out);
        for (what, took) in &self.done {
            let _ = writeln!(out, "{:8.2} s  {what}", took.as_secs_f64());
        }
        let _ = writeln!(out, "{:8.2} s  in total", self.began.elapsed().as_secs_f64());
    }
}
