//! The peers that variables of the environment name.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use xvirt_core::config::ByteSize;

use crate::Result;

/// The program that `variable` names.
///
/// # Errors
/// It is not set.
pub fn named(variable: &str) -> Result<OsString> {
    std::env::var_os(variable).ok_or_else(|| format!("{variable} does not name a program").into())
}

/// Adds a guest with one vCPU to Cloud Hypervisor's command line. Its serial port is the standard input and output.
pub fn add_cloud_hypervisor_guest(command: &mut Command, memory: ByteSize, kernel: &Path, command_line: &str) {
    command.args(["--serial", "tty", "--console", "off", "--cpus", "boot=1"]);
    command.arg("--memory").arg(format!("size={}M", memory.bytes() >> 20));
    command.arg("--kernel").arg(kernel).arg("--cmdline").arg(command_line);
}
