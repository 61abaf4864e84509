//! The table of results.

use std::fmt::Write;
use std::time::Duration;

use xvirt_benches::summary::{Summary, milliseconds};

use crate::contender::Contender;

/// All measurements by contender; `None` for a failed run.
pub(crate) struct Report {
    series: Vec<Vec<Option<Duration>>>,
}

impl Report {
    pub(crate) fn new(contenders: usize) -> Self {
        Self { series: vec![Vec::new(); contenders] }
    }

    pub(crate) fn add(&mut self, contender: usize, time: Option<Duration>) {
        self.series[contender].push(time);
    }

    /// The latest time of each contender.
    pub(crate) fn last(&self, contenders: &[Box<dyn Contender>]) -> String {
        let time = |(index, series): (usize, &Vec<_>)| {
            let time = series.last().copied().flatten().map_or("failed".to_owned(), milliseconds);
            format!("{} {time}", contenders[index].name())
        };
        self.series.iter().enumerate().map(time).collect::<Vec<_>>().join(", ")
    }

    /// The times of all contenders, and their ratios to each of xvirt's rows.
    pub(crate) fn table(&self, contenders: &[Box<dyn Contender>]) -> String {
        let times = |series: &Vec<Option<Duration>>| series.iter().copied().flatten().collect::<Vec<_>>();
        let summaries: Vec<_> = self.series.iter().map(|series| Summary::of(&times(series))).collect();
        let ours: Vec<_> = (0..contenders.len()).filter(|&i| !contenders[i].is_peer()).collect();
        let mut text = format!("\n{:<22}{:>10}{:>10}{:>10}{:>8}", "milliseconds", "median", "min", "max", "failed");
        // Writing to a string cannot fail.
        for &i in &ours {
            let _ = write!(text, "{:>20}", format!("× {}", contenders[i].name()));
        }
        for ((contender, summary), series) in contenders.iter().zip(&summaries).zip(&self.series) {
            let failures = series.iter().filter(|time| time.is_none()).count();
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
