//! The table and the JSON.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use xvirt_benches::Result;
use xvirt_benches::summary::{Summary, milliseconds};
use xvirt_core::config::ByteSize;

/// The asked time of the state without memory, to save and to load.
const STATE: Duration = Duration::from_millis(5);

#[derive(Default)]
pub(crate) struct Times {
    /// The bytes of memory in the file.
    pub(crate) bytes: u64,
    pub(crate) suspend: Vec<Duration>,
    pub(crate) write: Vec<Duration>,
    pub(crate) resume: Vec<Duration>,
    pub(crate) read: Vec<Duration>,
    pub(crate) save_state: Vec<Duration>,
    pub(crate) load_state: Vec<Duration>,
    peers: Vec<PeerTimes>,
}

/// The times of a peer.
#[derive(Default)]
pub(crate) struct PeerTimes {
    name: String,
    suspend: Vec<Duration>,
    resume: Vec<Duration>,
}

impl PeerTimes {
    pub(crate) fn add(&mut self, suspend: Duration, resume: Duration) {
        self.suspend.push(suspend);
        self.resume.push(resume);
    }
}

impl Times {
    pub(crate) fn peer(&mut self, name: &str) -> &mut PeerTimes {
        let at = self.peers.iter().position(|peer| peer.name == name).unwrap_or_else(|| {
            self.peers.push(PeerTimes { name: name.to_owned(), ..PeerTimes::default() });
            self.peers.len() - 1
        });
        &mut self.peers[at]
    }

    pub(crate) fn report(&self, memory: ByteSize, runs: usize, file: Option<&Path>) -> Result<()> {
        println!("a guest of {memory} with {} MiB in use; {runs} runs; milliseconds", self.bytes >> 20);
        println!(
            "{:<28}{:>10}{:>10}   {:<22}{:>10}{:>10}{:>7}",
            "", "median", "min", "beside", "median", "min", "rate"
        );
        let mut rows = vec![
            row("suspend", &self.suspend, "dd conv=fsync", &self.write)?,
            row("resume", &self.resume, "dd of=/dev/null", &self.read)?,
        ];
        for peer in &self.peers {
            rows.push(row("suspend", &self.suspend, &peer.name, &peer.suspend)?);
            rows.push(row("resume", &self.resume, &peer.name, &peer.resume)?);
        }
        let asked = vec![STATE; runs.max(1)];
        rows.push(row("save state without memory", &self.save_state, "asked", &asked)?);
        rows.push(row("load state without memory", &self.load_state, "asked", &asked)?);
        if let Some(path) = file {
            let all = json!({"bytes": self.bytes, "runs": runs, "rows": rows});
            std::fs::write(path, serde_json::to_string_pretty(&all)?)?;
        }
        Ok(())
    }
}

/// Prints a row, and returns it for the JSON.
fn row(what: &str, ours: &[Duration], peer: &str, theirs: &[Duration]) -> Result<Value> {
    let summary = |series| Summary::of(series).ok_or("nothing was measured");
    let (mine, other) = (summary(ours)?, summary(theirs)?);
    let rate = other.median.as_secs_f64() / mine.median.as_secs_f64();
    let [a, b, c, d] = [mine.median, mine.min, other.median, other.min].map(milliseconds);
    println!("{what:<28}{a:>10}{b:>10}   {peer:<22}{c:>10}{d:>10}{rate:>7.2}");
    Ok(json!({"what": what, "seconds": mine.median.as_secs_f64(), "beside": peer,
        "beside_seconds": other.median.as_secs_f64(), "rate": rate}))
}
