//! Programs that run one VM each: xvirt's, and its peers. All start the same guest.

mod guest;
mod program;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

pub use guest::{Guest, Stopwatch};
pub use program::{Program, Running};

use crate::Result;
use crate::peers::{add_cloud_hypervisor_guest, named};

/// The profile for programs that run one VM each, and for what the host service is packaged with.
const PROFILE: &str = "small";

/// The program `vm` of this package. If Cargo runs this program, it builds that one first; otherwise it must be there.
///
/// # Errors
/// It cannot be built, or is not there.
pub fn xvirt() -> Result<Program> {
    let program = built("xvirt-benches", "vm")?;
    Ok(Program::new("xvirt, process", false, move |guest| {
        let mut command = Command::new(&program);
        command.arg("--kernel").arg(&guest.kernel).arg("--append").arg(&guest.command_line);
        command.arg("--memory").arg(guest.memory.bytes().to_string());
        if let Some(initrd) = &guest.initrd {
            command.arg("--initrd").arg(initrd);
        }
        command
    }))
}

/// The path of a program of this workspace, as it is packaged. If Cargo runs this program, it builds that one first;
/// otherwise it must be there.
///
/// # Errors
/// It cannot be built, or is not there.
pub fn built(package: &str, name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.parent().and_then(Path::parent).ok_or("this program is in no folder")?;
    if let Some(cargo) = std::env::var_os("CARGO") {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let mut build = Command::new(cargo);
        build.args(["build", "--locked", "--package", package, "--bin", name, "--profile", PROFILE]);
        build.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target);
        // What Cargo tells this program of its package would make it build other packages again.
        for (name, _) in std::env::vars_os() {
            let of_package = |start: &str| name.as_encoded_bytes().starts_with(start.as_bytes());
            if of_package("CARGO_PKG_") || of_package("CARGO_MANIFEST_") {
                build.env_remove(name);
            }
        }
        let status = build.status().map_err(|error| format!("cannot run {:?}: {error}", build.get_program()))?;
        if !status.success() {
            return Err(format!("building the program {name} failed: {status}").into());
        }
    }
    let program = target.join(PROFILE).join(name);
    if !program.is_file() {
        let how = format!("cargo build --profile {PROFILE} -p {package} --bin {name}");
        return Err(format!("there is no program {}; build it: {how}", program.display()).into());
    }
    Ok(program)
}

/// Firecracker, without its API. `folder` is for its files.
///
/// # Errors
/// There is none, or its files cannot be written.
pub fn firecracker(guest: &Guest, folder: &Path) -> Result<Program> {
    let program = named("FIRECRACKER")?;
    let mut source = json!({ "kernel_image_path": guest.kernel, "boot_args": guest.command_line });
    if let Some(initrd) = &guest.initrd {
        source["initrd_path"] = json!(initrd);
    }
    let machine = json!({ "vcpu_count": 1, "mem_size_mib": guest.mebibytes() });
    let config = json!({ "boot-source": source, "drives": [], "machine-config": machine });
    let path = folder.join("firecracker.json");
    std::fs::write(&path, config.to_string())?;
    // Otherwise it logs to the standard output, in between the guest's text.
    let log = folder.join("firecracker.log");
    std::fs::write(&log, "")?;
    Ok(Program::new("firecracker", true, move |_| {
        let mut command = Command::new(&program);
        command.args(["--no-api", "--config-file"]).arg(&path).arg("--log-path").arg(&log);
        command
    }))
}

/// Firecracker in its jailer, which gives it a root folder, namespaces and a user of its own. `folder` is for its files.
///
/// # Errors
/// There is none of them, or their files cannot be written.
pub fn jailed_firecracker(guest: &Guest, folder: &Path) -> Result<Program> {
    let (firecracker, jailer) = (named("FIRECRACKER")?, named("JAILER")?);
    let base = folder.join("jails");
    let inside = Path::new(&firecracker).file_name().ok_or("FIRECRACKER names no file")?;
    let root = base.join(inside);
    let source = json!({ "kernel_image_path": "/kernel", "boot_args": guest.command_line });
    let machine = json!({ "vcpu_count": 1, "mem_size_mib": guest.mebibytes() });
    let config = json!({ "boot-source": source, "drives": [], "machine-config": machine }).to_string();
    let number = Cell::new(0);
    Ok(Program::new("firecracker, jailer", true, move |guest| {
        number.set(number.get() + 1);
        let id = format!("bench-{}", number.get());
        let jail = root.join(&id).join("root");
        let prepared = std::fs::create_dir_all(&jail)
            .and_then(|()| std::fs::copy(&guest.kernel, jail.join("kernel")))
            .and_then(|_| std::fs::write(jail.join("config.json"), &config))
            .and_then(|()| std::fs::write(jail.join("log"), ""));
        if let Err(error) = prepared {
            eprintln!("cannot prepare {}: {error}", jail.display());
        }
        let mut command = Command::new(&jailer);
        command.args(["--id", &id, "--uid", "0", "--gid", "0", "--exec-file"]).arg(&firecracker);
        command.arg("--chroot-base-dir").arg(&base);
        command.args(["--", "--no-api", "--config-file", "/config.json", "--log-path", "/log"]);
        command
    }))
}

/// Cloud Hypervisor.
///
/// # Errors
/// There is none.
pub fn cloud_hypervisor() -> Result<Program> {
    let program = named("CLOUD_HYPERVISOR")?;
    Ok(Program::new("cloud-hypervisor", true, move |guest| {
        let mut command = Command::new(&program);
        add_cloud_hypervisor_guest(&mut command, guest.memory, &guest.kernel, &guest.command_line);
        if let Some(initrd) = &guest.initrd {
            command.arg("--initramfs").arg(initrd);
        }
        command
    }))
}
