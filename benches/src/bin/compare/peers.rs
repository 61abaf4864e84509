//! Finds the peers and runs them as documented.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use xvirt_benches::Result;
use xvirt_benches::peers::{add_cloud_hypervisor_guest, named};

use crate::contender::Contender;
use crate::guest::Guest;
use crate::process::Program;
use crate::qemu;

type Found = Result<Vec<Box<dyn Contender>>>;

/// All peers by name, each with its contender or why there is none. `folder` is for their files.
pub(crate) fn find(guest: &Guest, folder: &Path) -> [(&'static str, Found); 3] {
    [
        ("qemu", qemu::find()),
        ("firecracker", named("FIRECRACKER").and_then(|program| firecracker(program, guest, folder))),
        ("cloud-hypervisor", named("CLOUD_HYPERVISOR").and_then(cloud_hypervisor)),
    ]
}

fn firecracker(program: OsString, guest: &Guest, folder: &Path) -> Found {
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
    Ok(vec![Box::new(Program::new("firecracker", true, move |_| {
        let mut command = Command::new(&program);
        command.args(["--no-api", "--config-file"]).arg(&path).arg("--log-path").arg(&log);
        command
    }))])
}

fn cloud_hypervisor(program: OsString) -> Found {
    Ok(vec![Box::new(Program::new("cloud-hypervisor", true, move |guest| {
        let mut command = Command::new(&program);
        add_cloud_hypervisor_guest(&mut command, guest.memory, &guest.kernel, &guest.command_line);
        if let Some(initrd) = &guest.initrd {
            command.arg("--initramfs").arg(initrd);
        }
        command
    }))])
}
