//! QEMU with each machine type that boots a kernel quickly.

use std::ffi::OsString;
use std::process::Command;

use xvirt_benches::Result;
use xvirt_benches::programs::Program;

use crate::contender::Contender;

/// The names in the table and the machine options, without devices that only older kernels need.
const MACHINES: [(&str, &str); 3] = [
    ("qemu microvm", "microvm,pit=off,pic=off,rtc=off,acpi=on"),
    // Without ACPI it uses the smaller of its two firmwares, and Linux needs the PIC.
    ("qemu microvm, qboot", "microvm,pit=off,rtc=off,acpi=off,x-option-roms=off"),
    ("qemu q35", "q35"),
];

/// The host's CPU if KVM supports it, which some hosts do not.
const CPUS: [&str; 2] = ["host", "qemu64"];

/// Each machine with each CPU; for each name, the first that works is used.
pub(crate) fn find() -> Result<Vec<Box<dyn Contender>>> {
    let program = std::env::var_os("QEMU").unwrap_or_else(|| "qemu-system-x86_64".into());
    let answer = Command::new(&program).arg("--version").output();
    let answer = answer.map_err(|e| format!("cannot run {}: {e}; install it, or set QEMU", program.display()))?;
    let version = String::from_utf8_lossy(&answer.stdout).lines().next().unwrap_or_default().to_owned();
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    for (name, machine) in MACHINES {
        for cpu in CPUS {
            let detail = format!(", {version}, -M {machine} -cpu {cpu}");
            contenders.push(Box::new(contender(&program, name, machine, cpu).with_detail(detail)));
        }
    }
    Ok(contenders)
}

fn contender(program: &OsString, name: &str, machine: &'static str, cpu: &'static str) -> Program {
    let program = program.clone();
    Program::new(name, true, move |guest| {
        let mut command = Command::new(&program);
        let data = std::env::var_os("QEMU_DATA").unwrap_or_default();
        for folder in std::env::split_paths(&data).filter(|folder| !folder.as_os_str().is_empty()) {
            command.arg("-L").arg(folder);
        }
        command.args(["-accel", "kvm", "-M", machine, "-cpu", cpu, "-smp", "1"]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot"]);
        // Not -nographic, which makes the firmware print on the serial port first.
        command.args(["-display", "none", "-serial", "stdio"]);
        command.arg("-m").arg(format!("{}M", guest.mebibytes()));
        command.arg("-kernel").arg(&guest.kernel).arg("-append").arg(&guest.command_line);
        if let Some(initrd) = &guest.initrd {
            command.arg("-initrd").arg(initrd);
        }
        command
    })
}
