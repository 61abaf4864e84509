//! What has to be at this host before a VM is migrated to it, besides memory and processors.
//!
//! The guest still runs at the source, which has the disks open, so nothing is opened for it here.

use std::fs;
use std::path::Path;

use crate::config::{Disk, DiskSource, Nic, NicBackendConfig, VmConfig};
use crate::disk;
use crate::{Error, ErrorKind, Result};

/// Checks the disks, whose sizes at the source are `disk_sizes`, the network interfaces and the vsock device that the VM
/// gets here. Each failure names what is missing.
pub(super) fn check(config: &VmConfig, disk_sizes: &[u64]) -> Vec<Result<()>> {
    let disks = config.disks.iter().zip(disk_sizes).map(|(disk, size)| check_disk(disk, *size));
    disks.chain(config.nics.iter().map(check_nic)).chain([check_vsock(config)]).collect()
}

/// Fails if a disk cannot be opened here once the source has closed it, or is not the disk there, of `size` bytes.
fn check_disk(disk: &Disk, size: u64) -> Result<()> {
    let DiskSource::Image { path, format } = &disk.source else { return Ok(()) };
    let written = disk::is_written(path, !disk.read_only)?;
    let other = |why: String| {
        Error::new(ErrorKind::InvalidConfig, format!("{} is not the disk there: {why}", path.display()))
            .with_remedy("migrate VMs whose disks both hosts share")
    };
    let here = disk::inspect(path, Some(*format))?.virtual_size;
    if here != size {
        return Err(other(format!("it has {here} bytes, and the disk there has {size}")));
    }
    if !disk.read_only && written == Some(false) {
        return Err(other("nobody writes to it, or its file system does not share locks between hosts".to_owned()));
    }
    Ok(())
}

/// Fails if the host's side of a network interface cannot be made here.
fn check_nic(nic: &Nic) -> Result<()> {
    if let Some(bridge) = &nic.bridge {
        let folder = Path::new("/sys/class/net").join(bridge).join("bridge");
        fs::metadata(folder).map_err(|e| {
            Error::io(format!("cannot find bridge {bridge}"), e).with_remedy("create it, or choose another bridge")
        })?;
    }
    let (file, what) = match &nic.backend {
        NicBackendConfig::Tap(_) | NicBackendConfig::NewTap => (Path::new("/dev/net/tun"), "tap interfaces need it"),
        NicBackendConfig::Stream(path) => (path.as_path(), "the program that carries frames listens there"),
        _ => return Ok(()),
    };
    let missing = |e| Error::io(format!("cannot find {}", file.display()), e).with_remedy(what);
    fs::metadata(file).map(drop).map_err(missing)
}

/// Fails if the folder of the socket for host programs is not there.
fn check_vsock(config: &VmConfig) -> Result<()> {
    let Some(folder) = config.vsock.as_ref().filter(|vsock| vsock.listener.is_none()).and_then(|v| v.path.parent())
    else {
        return Ok(());
    };
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let what = format!("cannot create the vsock socket in {}: there is no such folder", folder.display());
    Err(Error::new(ErrorKind::NotFound, what).with_remedy("create the folder, or choose another path"))
}
