//! Many threads call all verbs of many VMs at random. Every call must have a documented outcome, every event must be
//! allowed, and when all threads stop, the resources in use must be the expected ones.
//!
//! Takes 10 seconds, or `XVIRT_VERBS_SECONDS`. With `XVIRT_VERBS_SEED`, each thread makes the same choices as in an
//! earlier run, though the interleaving differs. This is a separate process, because it counts the resources of the
//! process and has a log that panics.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "demo")]

mod asking;
mod called;
mod devices;
mod findings;
mod holders;
mod ledger;
mod log;
mod looking;
mod model;
mod power;
mod process;
mod program;
mod quiet;
mod scene;
mod serving;
mod subject;
#[path = "../demo/support.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod support;
mod talking;
mod watch;

use std::env;
use std::sync::Arc;
use std::time::Duration;

use findings::Findings;
use scene::Scene;
use subject::{Bench, MEMORY};
use watch::Watch;
use xvirt_core::config::CpuLimit;
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::host::Host;
use xvirt_core::net::Tap;
use xvirt_testing::process::{Taken, comes_to};
use xvirt_testing::random;

/// Additional mappings that may stay: glibc keeps stacks for further threads, up to 40 MiB of 256 KiB and more, each
/// with a guard page that is its own mapping.
const MAX_KEPT: usize = 400;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Whether this process may limit vCPUs.
fn can_limit(host: &Host) -> xvirt_core::Result<()> {
    let vm = support::config(&CommandLine::new([Mode::Hello])).build(host)?;
    vm.start()?;
    vm.set_cpu_limit(CpuLimit::none().cap(50))
}

#[test]
fn random_verbs_have_their_documented_outcomes() {
    let host = host!();
    let seed = number("XVIRT_VERBS_SEED").unwrap_or_else(|| getrandom::u64().unwrap() >> 16);
    let seconds = number("XVIRT_VERBS_SECONDS").unwrap_or(10);
    println!("XVIRT_VERBS_SEED={seed} XVIRT_VERBS_SECONDS={seconds}");
    let taps = Tap::create(None).inspect_err(|error| println!("without taps: {error}")).is_ok();
    let (before, mappings) = (Taken::now(), process::mappings().len());
    let (findings, watch) = (Findings::default(), Watch::default());
    let cpu_limits = can_limit(&host).inspect_err(|error| println!("without limits of vCPUs: {error}")).is_ok();
    let bench = Arc::new(Bench { host, findings, watch, panics: log::install(), taps, cpu_limits });
    let scene = Scene::new(&bench, seed);
    scene.run(Duration::from_secs(seconds));
    drop(scene);
    println!("{}", bench.findings.summary());
    if let Err(found) = comes_to(&before, process::FAREWELL, Taken::now) {
        let descriptors = process::descriptors();
        bench.findings.report(format!("at the end there are {found:?}, not {before:?}: {descriptors:?}"));
    }
    let now = process::mappings();
    if let Some(memory) = now.iter().find(|mapping| mapping.bytes >= MEMORY.bytes()) {
        bench.findings.report(format!("at the end the memory of a guest is still mapped: {}", memory.line));
    }
    if now.len() > mappings + MAX_KEPT {
        bench.findings.report(format!("at the end there are {} mappings, not {mappings}: {now:#?}", now.len()));
    }
    let found = bench.findings.take();
    assert!(found.is_empty(), "with XVIRT_VERBS_SEED={seed}:\n{}", found.join("\n"));
    let never = bench.findings.never_ok();
    assert!(never.is_empty(), "these calls were never successful: {never:?}");
    assert!(bench.findings.any_panicked(), "the log has never crashed a VM");
}
