//! The table of results.

use std::fmt::Write;
use std::time::Duration;

use xvirt_benches::summary::{Summary, milliseconds};

use crate::contender::Contender;

/// All measurements, by contender.
pub(crate) struct Report {
    series: Vec<Vec<Duration>>,
    failures: Vec<usize>,
}

impl Report {
    pub(crate) fn new(contenders: usize) -> Self {
        Self { series: vec![Vec::new(); contenders], failures: vec![0; contenders] }
    }

    pub(crate) fn add(&mut self, contender: usize, time: Duration) {
        self.series[contender].push(time);
    }

    /// Counts a failure; whether it was the contender's first.
    pub(crate) fn add_failure(&mut self, contender: usize) -> bool {
        self.failures[contender] += 1;
        self.failures[contender] == 1
    }

    /// The times of all, and how many times as long they are as those of xvirt: of each row that is xvirt's.
    pub(crate) fn table(&self, contenders: &[Box<dyn Contender>]) -> String {
        let summaries: Vec<_> = self.series.iter().map(|series| Summary::of(series)).collect();
        let ours: Vec<_> = (0..contenders.len()).filter(|&i| !contenders[i].is_peer()).collect();
        let mut text = format!("\n{:<22}{:>10}{:>10}{:>10}{:>8}", "milliseconds", "median", "min", "max", "failed");
        // Writing to a string cannot fail.
        for &i in &ours {
            let _ = write!(text, "{:>20}", format!("× {}", contenders[i].name()));
        }
        for ((contender, summary), failures) in contenders.iter().zip(&summaries).zip(&self.failures) {
            let _ = write!(text, "\n{:<22}", contender.name());
            let Some(summary) = summary else { continue };
            let [median, min, max] = [summary.median, summary.min, summary.max].map(milliseconds);
            let _ = write!(text, "{median:>10}{min:>10}{max:>10}{failures:>8}");
            for base in ours.iter().filter_map(|&i| summaries[i]) {
                let ratio = summary.median.as_secs_f64() / base.median.as_secs_f64();
                let _ = write!(text, "{ratio:>20.2}");
            }
        }
        text.push('\n');
        text
    }
}
