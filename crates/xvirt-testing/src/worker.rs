//! The process of a VM.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The program `xvirt-worker`: what the variable `XVIRT_WORKER` names, or else the one beside the tests, which is built if it
/// is not there.
pub fn worker_program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        if let Some(program) = std::env::var_os("XVIRT_WORKER") {
            return program.into();
        }
        let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "xvirt-worker", "--bin", "xvirt-worker"]);
        build.current_dir(env!("CARGO_MANIFEST_DIR")).arg("--target-dir").arg(folder.parent().unwrap());
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "xvirt-worker cannot be built");
        folder.join("xvirt-worker")
    });
    program.clone()
}
