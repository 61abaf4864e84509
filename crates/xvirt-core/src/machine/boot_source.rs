//! What a machine boots: loads it into guest memory.

use std::sync::Arc;

use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use crate::arch::x86_64::boot::{self, Payload};
use crate::arch::x86_64::registers::Entry;
use crate::boot::{BootMenu, EntryChoice, Limits};
use crate::config::{Boot, BootFile, EntryProtocol};
use crate::disk::{BlockBackend, CopyBeforeWrite};
use crate::memory::GuestRam;
use crate::{Error, ErrorKind, Result};

use super::boot_file::Opened;

/// Returns the machine's current disk at a position.
pub(crate) type DiskAt<'a> = &'a dyn Fn(usize) -> Option<Arc<CopyBeforeWrite>>;

/// What a machine boots. It is loaded at power-on and again at every reset.
#[derive(Debug)]
pub(super) struct BootSource(Boot);

impl BootSource {
    pub(super) fn new(boot: &Boot) -> Self {
        Self(boot.clone())
    }

    /// Loads it into guest memory and returns the entry of the boot processor.
    pub(super) fn load(&self, disk_at: DiskAt<'_>, ram: &GuestRam) -> Result<Entry> {
        match &self.0 {
            Boot::Disk { disk, entry, append } => {
                let backend = disk_at(*disk).ok_or_else(|| no_such_disk(*disk))?;
                from_disk(&*backend, entry, append, ram)
            }
            Boot::Kernel { kernel, initrd, command_line, protocol } => {
                from_files(kernel, initrd.as_ref(), command_line, *protocol, ram)
            }
        }
    }
}

fn from_files(
    kernel: &BootFile,
    initrd: Option<&BootFile>,
    command_line: &str,
    protocol: EntryProtocol,
    ram: &GuestRam,
) -> Result<Entry> {
    let mut initrd = initrd.map(|file| Opened::new(file, "initrd")).transpose()?;
    let initrd = initrd.as_mut().map(|opened| {
        let length = opened.length;
        (opened, length)
    });
    let mut opened = Opened::new(kernel, "kernel")?;
    let loaded = boot::load(ram, Payload { kernel: &mut opened, initrd, command_line, protocol });
    loaded.map_err(|error| match kernel {
        BootFile::Bytes(_) => error,
        _ => Error::new(error.kind(), format!("cannot boot {kernel:?}")).because(error),
    })
}

/// Loads an entry of a disk's boot menu. The disk is its guest's, which decides how large everything on it is: nothing
/// is read but into the VM's memory.
fn from_disk(disk: &dyn BlockBackend, entry: &EntryChoice, append: &str, ram: &GuestRam) -> Result<Entry> {
    let menu = BootMenu::read(disk)?;
    let memory = ram.iter().map(|region| region.len()).sum();
    let entry = menu.entry(entry)?;
    let mut image = menu.open(entry, &Limits { initrd: memory, ..Limits::default() })?;
    let command_line = [image.command_line.as_str(), append].join(" ");
    let initrd = image.initrd.as_mut().map(|initrd| {
        let length = initrd.length();
        (initrd, length)
    });
    let payload = Payload {
        kernel: &mut image.kernel,
        initrd,
        command_line: command_line.trim_end(),
        protocol: EntryProtocol::Auto,
    };
    let loaded = boot::load(ram, payload).map_err(|error| image.take_failure().unwrap_or(error))?;
    menu.record_start(entry)?;
    Ok(loaded)
}

fn no_such_disk(disk: usize) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("there is no disk {disk} to boot from")).with_remedy("add the disk")
}

#[cfg(test)]
#[cfg(feature = "demo")]
mod tests {
    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::arch::x86_64::layout;
    use crate::boot::testing::{File, MemoryDisk, WritableDisk, ext, text};
    use crate::config::{ByteSize, MemoryBacking};
    use crate::memory::allocate;

    /// Kernel and initrd in guest memory, from a disk with these initrds: what the initrd is there.
    fn loaded(initrds: &[&[u8]]) -> Option<Result<Vec<u8>>> {
        let names: Vec<_> = (0..initrds.len()).map(|number| format!("/initrd-{number}")).collect();
        let config = format!("LABEL a\nLINUX /vmlinuz\nINITRD {}\n", names.join(","));
        let mut files = vec![File("/vmlinuz", crate::demo::kernel()), text("/extlinux.conf", &config)];
        files.extend(names.iter().zip(initrds).map(|(name, bytes)| File(name, bytes)));
        let disk = MemoryDisk(ext(&["-t", "ext4"], 32, &files)?);
        let ram = allocate(ByteSize::mib(16), &MemoryBacking::default()).unwrap();
        Some(from_disk(&disk, &EntryChoice::Default, "", &ram).map(|_| {
            let [address, size] = [0, 8].map(|at| ram.read_obj::<u64>(GuestAddress(layout::PVH_MODULES + at)).unwrap());
            let mut bytes = vec![0; usize::try_from(size).unwrap()];
            ram.read_slice(&mut bytes, GuestAddress(address)).unwrap();
            bytes
        }))
    }

    #[test]
    fn initrds_follow_each_other_at_multiples_of_four() {
        let large: Vec<u8> = (0..(5 << 20) + 3).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let Some(bytes) = loaded(&[b"first", &large, b"", b"last one"]) else { return };
        let expected = [b"first\0\0\0", large.as_slice(), b"\0", b"last one"].concat();
        assert!(bytes.unwrap() == expected);
    }

    /// An entry that GRUB starts once is started once: the disk knows that it had its turn.
    #[test]
    fn the_next_entry_of_grub_has_one_turn() {
        let config = "load_env\nif [ \"$next_entry\" ]; then\nset default=$next_entry\nset next_entry=\nsave_env next_entry\nfi\n\
                      menuentry a { linux /vmlinuz a }\nmenuentry b { linux /vmlinuz b }\n";
        let block = format!("{:#<1024}", "# GRUB Environment Block\nnext_entry=b\n");
        let files =
            [File("/vmlinuz", crate::demo::kernel()), text("/grub/grub.cfg", config), text("/grub/grubenv", &block)];
        let Some(image) = ext(&["-t", "ext4"], 32, &files) else { return };
        let disk = WritableDisk::new(MemoryDisk(image));
        let ram = allocate(ByteSize::mib(16), &MemoryBacking::default()).unwrap();
        let starts = || {
            from_disk(&disk, &EntryChoice::Default, "", &ram).unwrap();
            let mut line = vec![0; 64];
            ram.read_slice(&mut line, GuestAddress(layout::COMMAND_LINE)).unwrap();
            String::from_utf8(line).unwrap().split('\0').next().unwrap().to_owned()
        };
        // An entry that cannot be loaded has not had its turn.
        let small = allocate(ByteSize::mib(1), &MemoryBacking::default()).unwrap();
        assert!(from_disk(&disk, &EntryChoice::Default, "", &small).is_err());
        assert_eq!([starts(), starts()], ["BOOT_IMAGE=/vmlinuz b", "BOOT_IMAGE=/vmlinuz a"]);
    }

    #[test]
    fn initrds_that_do_not_fit_together_are_refused() {
        let part = vec![1; 8 << 20];
        let Some(bytes) = loaded(&[&part, &part]) else { return };
        let expected = "an initrd of 16 MiB does not fit the VM's memory; give the VM more memory";
        assert_eq!(bytes.unwrap_err().to_string(), expected);
    }
}
