//! The table of results.

use std::fmt::Write;

use crate::Contender;
use crate::jobs::Unit;

pub(crate) struct Report {
    contenders: Vec<String>,
    jobs: Vec<(String, Unit)>,
    /// Values by job and contender.
    values: Vec<Vec<Vec<f64>>>,
}

impl Report {
    pub(crate) fn new(contenders: &[Contender], jobs: Vec<(String, Unit)>) -> Self {
        Self {
            contenders: contenders.iter().map(|contender| contender.name.clone()).collect(),
            values: vec![vec![Vec::new(); contenders.len()]; jobs.len()],
            jobs,
        }
    }

    /// Adds a result and prints it.
    pub(crate) fn add(&mut self, contender: usize, job: usize, value: f64) {
        eprintln!("{}: {}: {value:.1}", self.contenders[contender], self.jobs[job].0);
        self.values[job][contender].push(value);
    }

    /// The medians, and the ratios of xvirt's to the others'.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("\n{:<32}{:<9}", "medians", "");
        // Writing to a string cannot fail.
        for name in &self.contenders {
            let _ = write!(text, "{name:>16}");
        }
        for name in self.contenders.iter().skip(1) {
            let _ = write!(text, "{:>18}", format!("x {name}"));
        }
        for ((job, unit), values) in self.jobs.iter().zip(&self.values) {
            let unit = match unit {
                Unit::Operations => "op/s",
                Unit::Bytes => "MiB/s",
                Unit::Bits => "Mbit/s",
            };
            let _ = write!(text, "\n{job:<32}{unit:<9}");
            let medians: Vec<_> = values.iter().map(|series| median(series)).collect();
            for median in &medians {
                let _ = write!(text, "{median:>16.1}");
            }
            for other in medians.iter().skip(1) {
                let _ = write!(text, "{:>18.2}", medians[0] / other);
            }
        }
        text.push('\n');
        text
    }
}

fn median(series: &[f64]) -> f64 {
    let mut sorted = series.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
