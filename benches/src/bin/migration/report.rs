//! The table and the JSON.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use xvirt_benches::Result;
use xvirt_benches::summary::{Summary, milliseconds};

use crate::contender::Moved;
use crate::scenarios::{IDLE_DOWNTIME, Scenario, Scenarios};

type Series = Vec<Duration>;

/// Prints what was measured, and writes it to `file`.
pub(crate) fn print(scenarios: &Scenarios, runs: usize, file: Option<&Path>) -> Result<()> {
    let Scenarios { full, full_by_four, capped, capped_by_four, writing, zero, large, tls, raw, rustls, .. } =
        scenarios;
    let (memory, most) = (full.guest.memory, large.guest.memory);
    println!("guests of {memory} and {most}; {runs} runs; milliseconds");
    println!(
        "{:<42}{:>10}{:>10}   {:<22}{:>10}{:>10}{:>8}{:>7}",
        "", "median", "min", "beside", "median", "min", "rate", "asked"
    );
    let mut rows = Rows::default();
    let what = format!("{memory} full, 1 connection");
    rows.add(&what, total(full, 0), ("raw socket", raw.clone()), Some(0.8))?;
    rows.add_peers(&what, full, total)?;
    let what = format!("{memory} full, TLS");
    rows.add(&what, total(tls, 0), ("rustls", rustls.clone()), Some(0.8))?;
    rows.add_peers(&format!("{memory} full, 4 connections"), full_by_four, total)?;
    let what = format!("{memory} full, 4 capped connections");
    rows.add(&what, total(capped_by_four, 0), ("1 capped connection", total(capped, 0)), Some(3.6))?;
    rows.add_peers(&what, capped_by_four, total)?;
    let what = format!("{most} mostly zero");
    rows.add(&what, total(zero, 0), (&format!("{most} full"), total(large, 0)), Some(10.0))?;
    rows.add_peers(&what, zero, total)?;
    let asked = |downtime| ("downtime asked", vec![downtime; runs.max(1)]);
    rows.add("downtime, idle", downtime(full, 0), asked(IDLE_DOWNTIME), Some(1.0))?;
    rows.add_peers("downtime, idle", full, downtime)?;
    let what = "downtime, writing half as fast as sent";
    rows.add(what, downtime(writing, 0), asked(writing.settings.downtime), Some(1.0))?;
    rows.add_peers(what, writing, downtime)?;
    for (memory, scenario) in [(memory, &scenarios.local_hand_over), (most, &scenarios.local_hand_over_large)] {
        let what = format!("downtime, local hand-over of {memory}");
        rows.add(&what, downtime(scenario, 0), asked(IDLE_DOWNTIME), Some(1.0))?;
    }
    if let Some(path) = file {
        let all = json!({"memory": memory.bytes(), "large": most.bytes(), "runs": runs, "rows": rows.0});
        std::fs::write(path, serde_json::to_string_pretty(&all)?)?;
    }
    Ok(())
}

/// The times of a contender.
fn total(scenario: &Scenario, contender: usize) -> Series {
    series(scenario, contender, |moved| Some(moved.total))
}

/// The downtimes of a contender.
fn downtime(scenario: &Scenario, contender: usize) -> Series {
    series(scenario, contender, |moved| moved.downtime)
}

fn series(scenario: &Scenario, contender: usize, get: impl FnMut(&Moved) -> Option<Duration>) -> Series {
    scenario.measured[contender].1.iter().filter_map(get).collect()
}

/// The rows for the JSON.
#[derive(Default)]
struct Rows(Vec<Value>);

impl Rows {
    /// Prints a row for each peer.
    fn add_peers(&mut self, what: &str, scenario: &Scenario, get: fn(&Scenario, usize) -> Series) -> Result<()> {
        for (number, (peer, _)) in scenario.measured.iter().enumerate().skip(1) {
            let theirs = get(scenario, number);
            if !theirs.is_empty() {
                self.add(what, get(scenario, 0), (peer.name(), theirs), None)?;
            }
        }
        Ok(())
    }

    /// Prints a row, with the rate that is asked, if any.
    fn add(&mut self, what: &str, ours: Series, beside: (&str, Series), asked: Option<f64>) -> Result<()> {
        let summary = |series: &[Duration]| Summary::of(series).ok_or("nothing was measured");
        let (mine, other) = (summary(&ours)?, summary(&beside.1)?);
        let rate = other.median.as_secs_f64() / mine.median.as_secs_f64();
        let [a, b, c, d] = [mine.median, mine.min, other.median, other.min].map(milliseconds);
        let wanted = asked.map(|rate| format!("{rate:.1}")).unwrap_or_default();
        println!("{what:<42}{a:>10}{b:>10}   {:<22}{c:>10}{d:>10}{rate:>8.2}{wanted:>7}", beside.0);
        self.0.push(json!({"what": what, "seconds": mine.median.as_secs_f64(), "beside": beside.0,
            "beside_seconds": other.median.as_secs_f64(), "rate": rate, "asked": asked}));
        Ok(())
    }
}
