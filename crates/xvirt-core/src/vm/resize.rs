//! Grows disks, also while the guest runs.

use std::io;

use super::assemble;
use super::events::Event;
use super::handle::Vm;
use super::state::Verb;
use crate::disk::BlockBackend;
use crate::{Error, ErrorKind, Result};

const SECTOR: u64 = 512;

impl Vm {
    /// Grows the disk at `position` to `size` bytes; the new part reads as zeroes.
    ///
    /// The guest of a running VM sees the new size immediately; it has to grow partitions and file systems itself. When
    /// this returns, the new size is on stable storage. If the disk has that size already, nothing is done.
    ///
    /// # Errors
    /// There is no such disk ([`NotFound`](ErrorKind::NotFound)); `size` is smaller than the disk, because that would
    /// destroy data, or not a multiple of 512 ([`InvalidConfig`](ErrorKind::InvalidConfig)); the guest may only read it
    /// ([`InvalidState`](ErrorKind::InvalidState)); its backend cannot grow
    /// ([`UnsupportedImage`](ErrorKind::UnsupportedImage)); the file system is full; the disk of a halted VM cannot be
    /// opened.
    pub fn resize_disk(&self, position: usize, size: u64) -> Result<()> {
        let _turn = self.begin(Verb::ResizeDisk)?;
        let disk = self.inner.live().devices.disks.get(&position).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("VM '{}' has no disk at position {position}", self.name()))
                .with_remedy("see disk_positions() for those it has")
        })?;
        let name = disk.config.name();
        let backend = disk.open().map_or_else(|| assemble::open_disk(&disk.config, disk.config.access()), Ok)?;
        let old = backend.capacity();
        check(&name, old, size)?;
        if old == size {
            return Ok(());
        }
        if backend.read_only() {
            return Err(Error::new(ErrorKind::InvalidState, format!("cannot resize disk {name}, which is read-only"))
                .with_remedy("give the disk to the VM writable"));
        }
        backend.grow(size).map_err(|error| cannot(&name, error))?;
        if let Some(disk) = &disk.device {
            disk.block.refresh_capacity();
            disk.function.config_changed();
        }
        self.inner.events.send(&Event::DiskResized { disk: position, size });
        Ok(())
    }
}

fn check(name: &str, old: u64, size: u64) -> Result<()> {
    if !size.is_multiple_of(SECTOR) {
        return Err(Error::new(ErrorKind::InvalidConfig, format!("disk {name} cannot have {size} bytes"))
            .with_remedy("give a size that is a multiple of 512 bytes"));
    }
    if size < old {
        let what = format!("cannot shrink disk {name} from {old} to {size} bytes");
        return Err(Error::new(ErrorKind::InvalidConfig, what)
            .with_remedy("plug in a smaller disk and copy the files inside the guest"));
    }
    Ok(())
}

fn cannot(name: &str, error: io::Error) -> Error {
    let what = format!("cannot grow disk {name}");
    if error.kind() == io::ErrorKind::Unsupported {
        return Error::new(ErrorKind::UnsupportedImage, what)
            .because(error)
            .with_remedy("grow it where its bytes are kept");
    }
    Error::io(what, error)
}
