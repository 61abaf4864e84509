//! Measures what a call of the C library costs beside one of the Rust library.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use serde_json::json;
use xvirt_benches::{Result, demo_vm, ended};
use xvirt_core::host::Host;
use xvirt_core::vm::PowerState;

/// The most that a call from C may take beyond one from Rust, in nanoseconds.
const ASKED: f64 = 150.0;

/// Reads the power state of a running VM, in turn with the C library and with the Rust library. The C library is built for
/// speed and installed into a temporary folder first, and its program is compiled with what pkg-config says.
#[derive(Parser)]
struct Options {
    /// How many calls are timed at a time.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// How often they are.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Also writes the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    ended("c", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let host = Host::probe()?;
    host.require_kvm()?;
    let folder = tempfile::tempdir()?;
    let program = program(folder.path())?;
    let (mut rust, mut c) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        rust.push(rust_call(&host, options.calls)?);
        c.push(output(Command::new(&program).arg(options.calls.to_string()))?.trim().parse::<f64>()?);
    }
    let (rust, c) = (Figures::of(rust), Figures::of(c));
    let beyond = c.median - rust.median;
    println!("reading the power state, ns, the median of {} times {} calls (the best)", options.runs, options.calls);
    println!("Rust {:.1} ({:.1})", rust.median, rust.best);
    println!("C    {:.1} ({:.1}), {beyond:.1} beyond Rust, at most {ASKED} are asked for", c.median, c.best);
    if let Some(path) = &options.json {
        let figures = |of: &Figures| json!({"median": of.median, "best": of.best});
        let all = json!({"calls": options.calls, "runs": options.runs, "rust_ns": figures(&rust), "c_ns": figures(&c),
            "beyond_rust_ns": beyond, "asked_ns": ASKED});
        std::fs::write(path, format!("{all:#}\n"))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

/// Nanoseconds of one call.
struct Figures {
    median: f64,
    best: f64,
}

impl Figures {
    fn of(mut series: Vec<f64>) -> Self {
        series.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| series.get(index).copied().unwrap_or(f64::NAN);
        Self { median: at(series.len() / 2), best: at(0) }
    }
}

/// What one call of the Rust library takes.
fn rust_call(host: &Host, calls: u32) -> Result<f64> {
    let vm = demo_vm::config("cost").build(host)?;
    vm.start()?;
    demo_vm::wait_up(&vm)?;
    let time = demo_vm::power_state_time(&vm, calls);
    if vm.power_state() != PowerState::Running {
        return Err("the VM does not run any more".into());
    }
    Ok(time)
}

/// The program in C, with the library of this workspace.
fn program(folder: &Path) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (prefix, program) = (folder.join("prefix"), folder.join("power-state"));
    output(Command::new(root.join("scripts/install-c")).arg("--prefix").arg(&prefix))?;
    let mut said = Command::new("pkg-config");
    said.args(["--cflags", "--libs", "xvirt"]).env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    let flags = output(&mut said)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-D_GNU_SOURCE", "-O2"]).arg(root.join("bindings/c/benches/power-state.c"));
    compiler.arg("-o").arg(&program).args(flags.split_whitespace());
    output(compiler.arg(format!("-Wl,-rpath,{}", prefix.join("lib").display())))?;
    Ok(program)
}

/// What a program prints.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_owned();
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("cannot run {name:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name:?} failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
