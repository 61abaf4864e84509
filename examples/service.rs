//! A host service in a program of one's own: a VM that lives on while the service is away.
//!
//! `cargo build -p xvirt-worker && cargo run --example service -- target/debug/xvirt-worker` needs `/dev/kvm`. A real
//! service keeps its state in a folder such as /var/lib/xvirt, and its sockets in /run/xvirt.

use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_pool::operation::{Caller, Verbs};
use xvirt_pool::{Host, HostOptions};

fn main() -> ExitCode {
    let Some(worker) = std::env::args().nth(1) else {
        eprintln!("usage: service PATH-OF-XVIRT-WORKER");
        return ExitCode::from(2);
    };
    match run(Path::new(&worker)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(worker: &Path) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let options = HostOptions::new(folder.path().join("state"), folder.path().join("run")).worker(worker);
    // Kernels are files in a folder of the host, and VMs name them.
    std::fs::create_dir_all(options.kernels())?;
    std::fs::write(options.kernels().join("demo"), demo::kernel())?;
    let caller = Caller::Local { uid: rustix::process::getuid().as_raw() };

    let host = Host::open(options.clone())?;
    for problem in host.problems() {
        eprintln!("{problem}");
    }
    let record = json!({
        "name_label": "web",
        "PV_kernel": "demo",
        "PV_args": CommandLine::new([Mode::Echo, Mode::Timer]).hertz(50).ticks(0).to_string(),
    });
    let vm = host.call(&caller, "VM.create", vec![record])?;
    host.call(&caller, "VM.start", vec![vm.clone(), json!(false), json!(false)])?;
    println!("{vm} runs");
    // As when the service is upgraded: its workers are processes of their own.
    drop(host);

    let host = Host::open(options)?;
    let state = host.call(&caller, "VM.get_power_state", vec![vm.clone()])?;
    println!("another service finds it {state}");
    print!("{}", first_ticks(&host, &caller, &vm)?);
    host.call(&caller, "VM.hard_shutdown", vec![vm.clone()])?;
    host.call(&caller, "VM.destroy", vec![vm])?;
    Ok(())
}

/// What the guest has printed, with ten ticks at least.
fn first_ticks(host: &Host, caller: &Caller, vm: &Value) -> Result<String, Box<dyn Error>> {
    let mut console = host.console(caller, vm.as_str().unwrap_or_default())?;
    let mut text = String::new();
    let mut bytes = [0; 1024];
    while !text.contains("timer: tick 10") {
        let count = console.read(&mut bytes)?;
        if count == 0 {
            return Err("the VM has ended".into());
        }
        text.push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()));
    }
    Ok(text)
}
