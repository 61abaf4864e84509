//! Cloud Hypervisor.

use std::process::Command;

use xvirt_benches::Result;
use xvirt_benches::peers::{add_cloud_hypervisor_guest, named};

use crate::Contender;
use crate::guest::{Guest, MEMORY};

/// It opens the images like xvirt: through the page cache, or past it.
pub(crate) fn contenders() -> Result<Vec<Contender>> {
    let program = named("CLOUD_HYPERVISOR")?;
    let contender = |direct| {
        let program = program.clone();
        let command = move |guest: &Guest| {
            let mut command = Command::new(&program);
            machine(&mut command, guest, direct);
            command
        };
        let name = if direct { "cloud-hypervisor direct" } else { "cloud-hypervisor" };
        Contender { name: name.to_owned(), command: Box::new(command) }
    };
    Ok([false, true].map(contender).into())
}

fn machine(command: &mut Command, guest: &Guest, direct: bool) {
    add_cloud_hypervisor_guest(command, MEMORY, &guest.kernel, &guest.append);
    if let Some(initrd) = &guest.initrd {
        command.arg("--initramfs").arg(initrd);
    }
    let on = |yes| if yes { "on" } else { "off" };
    let disk = |disk: &crate::guest::Image| {
        let (format, path) = (disk.format_name(), disk.path.display());
        let layered = on(format == "qcow2");
        format!("path={path},image_type={format},backing_files={layered},direct={}", on(direct))
    };
    if !guest.disks.is_empty() {
        command.arg("--disk").args(guest.disks.iter().map(disk));
    }
    if let Some(tap) = &guest.tap {
        command.arg("--net").arg(format!("tap={tap}"));
    }
}
