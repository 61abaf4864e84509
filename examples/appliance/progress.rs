//! The progress bar. It is only shown if standard error is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use xvirt_core::progress::{Done, Progress};

use crate::interrupt::Interrupt;

const KNOWN: &str = "{bar:30} {percent:>3} %  {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
const UNKNOWN: &str = "{spinner} {bytes}, {bytes_per_sec}, {elapsed} gone";

/// Shows the progress of an operation, and ends it on Ctrl-C. Dropping this removes the bar.
#[derive(Debug)]
pub struct Bar<'a> {
    bar: ProgressBar,
    interrupt: &'a Interrupt,
}

impl<'a> Bar<'a> {
    /// A bar for work on `total` bytes, if that is known.
    pub fn new(total: Option<u64>, interrupt: &'a Interrupt) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(style(KNOWN)),
            None => ProgressBar::no_length().with_style(style(UNKNOWN)),
        };
        Self { bar, interrupt }
    }
}

impl Progress for Bar<'_> {
    fn report(&self, done: Done) {
        if let Some(total) = done.total.filter(|total| self.bar.length() != Some(*total)) {
            self.bar.set_length(total);
            self.bar.set_style(style(KNOWN));
        }
        self.bar.set_position(done.bytes);
    }

    fn cancelled(&self) -> bool {
        self.interrupt.came()
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
