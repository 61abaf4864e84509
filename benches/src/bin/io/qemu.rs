//! QEMU with its q35 machine and modern virtio devices.

use std::process::Command;

use xvirt_benches::Result;

use crate::Contender;
use crate::guest::{Guest, MEMORY};

/// How it opens the images: through the page cache, like xvirt, and bypassing it.
const CACHES: [&str; 2] = ["writeback", "none"];

/// With the host's CPU, or another if KVM does not support that one.
pub(crate) fn contenders(cpu: &str) -> Result<Vec<Contender>> {
    let program = std::env::var_os("QEMU").unwrap_or_else(|| "qemu-system-x86_64".into());
    let answer = Command::new(&program).arg("--version").output();
    let answer = answer.map_err(|e| format!("cannot run {} ({e}); set QEMU", program.display()))?;
    println!("{}", String::from_utf8_lossy(&answer.stdout).lines().next().unwrap_or_default());
    let contender = |cache| {
        let (program, cpu) = (program.clone(), cpu.to_owned());
        let command = move |guest: &Guest| {
            let mut command = Command::new(&program);
            let data = std::env::var_os("QEMU_DATA").unwrap_or_default();
            for folder in std::env::split_paths(&data).filter(|folder| !folder.as_os_str().is_empty()) {
                command.arg("-L").arg(folder);
            }
            command.args(["-cpu", &cpu]);
            machine(&mut command, guest, cache);
            command
        };
        Contender { name: format!("qemu {cache}"), command: Box::new(command) }
    };
    Ok(CACHES.into_iter().map(contender).collect())
}

fn machine(command: &mut Command, guest: &Guest, cache: &str) {
    command.args(["-accel", "kvm", "-M", "q35", "-smp", "1", "-m"]);
    command.arg(format!("{}M", MEMORY.bytes() >> 20));
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"]);
    command.arg("-kernel").arg(&guest.kernel).arg("-append").arg(&guest.append);
    if let Some(initrd) = &guest.initrd {
        command.arg("-initrd").arg(initrd);
    }
    for (number, disk) in guest.disks.iter().enumerate() {
        let (format, path) = (disk.format_name(), disk.path.display());
        let drive =
            format!("if=none,id=disk{number},file={path},format={format},cache={cache},aio=io_uring,discard=unmap");
        let device = format!("virtio-blk-pci,drive=disk{number},disable-legacy=on");
        command.arg("-drive").arg(drive).arg("-device").arg(device);
    }
    if let Some(tap) = &guest.tap {
        command.arg("-netdev").arg(format!("tap,id=net,ifname={tap},script=no,downscript=no,vhost=off"));
        command.args(["-device", "virtio-net-pci,netdev=net,disable-legacy=on,romfile="]);
    }
}
