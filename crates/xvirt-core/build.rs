//! Compiles the demo guest (`demo/`) with feature `demo`; without it there is nothing to do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

const GUEST: &str = "demo";

const FLAGS: &[&str] = &[
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    // No C library, and only general registers: interrupt handlers and an emulating KVM require that.
    "-ffreestanding",
    "-mgeneral-regs-only",
    "-mno-red-zone",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fcf-protection=none",
    // Linked to one fixed address.
    "-fno-pic",
    "-no-pie",
    "-static",
    "-nostdlib",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    "-Wl,-z,max-page-size=4096",
];

fn main() -> Result<(), String> {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_DEMO").is_none() {
        return Ok(());
    }
    println!("cargo:rerun-if-changed={GUEST}");
    println!("cargo:rerun-if-env-changed=CC");

    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set; build.rs is run by cargo")?;
    let compiler = env::var("CC").unwrap_or_else(|_| "gcc".to_owned());
    let sources = sources(Path::new(GUEST)).map_err(|e| format!("cannot list {GUEST}/: {e}"))?;
    // `CC` may carry arguments or a wrapper, as in `ccache gcc`.
    let mut words = compiler.split_whitespace();
    let output = Command::new(words.next().unwrap_or("gcc"))
        .args(words)
        .args(FLAGS)
        .arg("-T")
        .arg(Path::new(GUEST).join("link.ld"))
        .args(&sources)
        .arg("-o")
        .arg(Path::new(&out).join("demo.elf"))
        .output()
        .map_err(|e| {
            format!("feature `demo` needs a C compiler: cannot run `{compiler}` ({e}); install gcc or set CC")
        })?;
    // Not errors: another compiler than ours warns of other things. scripts/test fails if there are any.
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        println!("cargo::warning={line}");
    }
    let status = output.status;
    if status.success() { Ok(()) } else { Err(format!("`{compiler}` could not build the demo guest: {status}")) }
}

/// The C and assembly files, sorted so that the image does not depend on the order of the directory.
fn sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "c" || e == "S") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
