//! Measures what the Python package costs beside the Rust library.

mod report;
mod rust;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use serde_json::Value;
use xvirt_benches::{Result, ended};
use xvirt_core::host::Host;

/// Measures the Python package beside the Rust library: a call that reads the power state, the output of the demo guest's
/// console, the start of the package, and how soon Ctrl-C interrupts calls that wait.
///
/// The interpreter must have the package, built for speed: `pip install ./bindings/python`.
#[derive(Parser)]
struct Options {
    /// The interpreter.
    #[arg(long, default_value = "python3")]
    interpreter: PathBuf,
    /// How many lines the guest is sent, each of which it sends back.
    #[arg(long, default_value_t = 400)]
    lines: usize,
    /// How often each start and each interrupted call is measured.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Also writes the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    ended("python", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let host = Host::probe()?;
    host.require_kvm()?;
    let before = rust::console(&host, options.lines)?;
    let python = python(options)?;
    // On both sides, so that a machine that becomes slower or faster does not favour one of them.
    let rust = rust::Figures { console: before.best(rust::console(&host, options.lines)?), call: rust::call(&host)? };
    report::report(&rust, &python, options.json.as_deref())
}

/// What the program in Python measures.
fn python(options: &Options) -> Result<Value> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bindings/python/benches/measure.py");
    let output = Command::new(&options.interpreter)
        .arg(program)
        .args(["--lines", &options.lines.to_string(), "--length", &rust::LENGTH.to_string()])
        .args(["--rereads", &rust::REREADS.to_string(), "--rounds", &options.rounds.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", options.interpreter.display()))?;
    if !output.status.success() {
        return Err(format!("the program in Python failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
