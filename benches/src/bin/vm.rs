//! Runs one VM, whose console is the standard output, until this process is killed. It is what a program of a user that
//! runs one VM contains, and `compare` and `memory` measure it beside the peers.
//!
//! `cargo build --profile small -p xvirt-benches --bin vm`

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use xvirt_core::config::{Boot, VmConfig};
use xvirt_core::host::Host;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: vm --kernel FILE --append WORDS --memory SIZE [--initrd FILE]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let vm = config()?.build(&Host::probe()?)?;
    vm.start()?;
    // Rust's own standard output would buffer incomplete lines.
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    io::copy(&mut vm.console().reader(), &mut output)?;
    Ok(())
}

fn config() -> Result<VmConfig> {
    let (mut kernel, mut append, mut memory, mut initrd) = (None, None, None, None);
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match option.as_str() {
            "--kernel" => kernel = Some(value),
            "--append" => append = Some(value),
            "--memory" => memory = Some(value),
            "--initrd" => initrd = Some(value),
            _ => return Err(USAGE.into()),
        }
    }
    let mut boot = Boot::kernel(kernel.ok_or(USAGE)?).command_line(append.ok_or(USAGE)?);
    if let Some(initrd) = initrd {
        boot = boot.initrd(initrd);
    }
    Ok(VmConfig::new("compared").memory(memory.ok_or(USAGE)?.parse()?).boot(boot))
}
