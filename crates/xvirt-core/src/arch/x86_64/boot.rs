//! Loads a kernel, its initrd and its command line into guest memory.
//!
//! Sources: Linux `Documentation/arch/x86/boot.rst` (64-bit protocol), Xen `docs/misc/pvh.pandoc` (PVH).

use std::io::{Read, Seek, SeekFrom};

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::loader::elf::{Elf, PvhBootCapability};
use linux_loader::loader::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use linux_loader::loader::{BzImage, KernelLoader};
use vm_memory::{Address, ByteValued, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, ReadVolatile};

use super::registers::Entry;
use super::{elf, layout};
use crate::config::EntryProtocol;
use crate::memory::{GuestRam, LOW_RAM_LIMIT};
use crate::{Error, ErrorKind, Result};

const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
const BZIMAGE_MAGIC: u32 = 0x5372_6448;
const BOOT_FLAG: u16 = 0xAA55;
/// The loader id for boot loaders without an assigned one.
const LOADER_UNDEFINED: u8 = 0xFF;
/// The offset of the 64-bit entry point in the protected-mode part of a bzImage.
const ENTRY_64_OFFSET: u64 = 0x200;
const XLF_KERNEL_64: u16 = 1;
const PVH_MAGIC: u32 = 0x336E_C578;
const PAGE: u64 = 4096;

/// A kernel image, in a file or in memory.
pub(crate) trait KernelSource: Read + ReadVolatile + Seek {}
impl<T: Read + ReadVolatile + Seek> KernelSource for T {}

/// What to load. Kernel and initrd are read directly into guest memory, after a check that they fit.
pub(crate) struct Payload<'a, K, I> {
    pub(crate) kernel: &'a mut K,
    /// The initrd and its length.
    pub(crate) initrd: Option<(&'a mut I, u64)>,
    pub(crate) command_line: &'a str,
    pub(crate) protocol: EntryProtocol,
}

/// Loads everything and returns the entry point of the boot CPU.
pub(crate) fn load<K: KernelSource, I: ReadVolatile>(ram: &GuestRam, payload: Payload<'_, K, I>) -> Result<Entry> {
    let mut magic = [0u8; 4];
    payload.kernel.rewind().and_then(|()| payload.kernel.read_exact(&mut magic)).map_err(|e| {
        Error::new(ErrorKind::InvalidKernel, "the kernel cannot be read")
            .because(e)
            .with_remedy("check the kernel image")
    })?;
    write_command_line(ram, payload.command_line)?;
    if magic == *b"\x7FELF" { load_elf(ram, payload) } else { load_bzimage(ram, payload) }
}

fn load_elf<K: KernelSource, I: ReadVolatile>(ram: &GuestRam, payload: Payload<'_, K, I>) -> Result<Entry> {
    elf::check(payload.kernel, low_ram_end(ram))?;
    let loaded = Elf::load(ram, None, payload.kernel, Some(GuestAddress(layout::HIGH_MEMORY))).map_err(load_error)?;
    let initrd = place_initrd(ram, payload.initrd, loaded.kernel_end, u64::from(u32::MAX))?;
    let pvh = match (loaded.pvh_boot_cap, payload.protocol) {
        (PvhBootCapability::PvhEntryPresent(address), EntryProtocol::Auto | EntryProtocol::Pvh) => Some(address),
        (_, EntryProtocol::Pvh) => {
            return Err(Error::new(ErrorKind::InvalidKernel, "the kernel has no PVH entry")
                .with_remedy("use a kernel built with CONFIG_PVH, or let xvirt choose the entry"));
        }
        _ => None,
    };
    if let Some(address) = pvh {
        write_pvh_start_info(ram, initrd)?;
        return Ok(Entry::Pvh { address: address.raw_value() });
    }
    write_zero_page(ram, setup_header::default(), initrd)?;
    Ok(Entry::Linux64 { address: loaded.kernel_load.raw_value() })
}

fn load_bzimage<K: KernelSource, I: ReadVolatile>(ram: &GuestRam, payload: Payload<'_, K, I>) -> Result<Entry> {
    if payload.protocol == EntryProtocol::Pvh {
        return Err(Error::new(ErrorKind::InvalidKernel, "a bzImage has no PVH entry")
            .with_remedy("use the uncompressed vmlinux, or let xvirt choose the entry"));
    }
    let header = read_setup_header(payload.kernel)?;
    check_size(ram, payload.kernel)?;
    let loaded =
        BzImage::load(ram, None, payload.kernel, Some(GuestAddress(layout::HIGH_MEMORY))).map_err(load_error)?;
    // From its load address or its preferred address, the kernel decompresses itself over this much memory.
    let base = loaded.kernel_load.raw_value().max(header.pref_address);
    let end = loaded.kernel_end.max(base.saturating_add(u64::from(header.init_size)));
    let initrd = place_initrd(ram, payload.initrd, end, u64::from(header.initrd_addr_max))?;
    write_zero_page(ram, loaded.setup_header.unwrap_or(header), initrd)?;
    Ok(Entry::Linux64 { address: loaded.kernel_load.raw_value() + ENTRY_64_OFFSET })
}

/// Reads and checks the header, so that an invalid file gets a clear error.
fn read_setup_header<K: KernelSource>(kernel: &mut K) -> Result<setup_header> {
    let mut header = setup_header::default();
    let read =
        kernel.seek(SeekFrom::Start(0x1F1)).and_then(|_| kernel.read_exact(ByteValued::as_mut_slice(&mut header)));
    let magic = header.header;
    if read.is_err() || magic != BZIMAGE_MAGIC {
        return Err(Error::new(ErrorKind::InvalidKernel, "the kernel is neither a bzImage nor an ELF image")
            .with_remedy("give a Linux kernel for x86-64 (vmlinuz or vmlinux)"));
    }
    let (version, flags) = (header.version, header.xloadflags);
    if version < 0x20C || flags & XLF_KERNEL_64 == 0 {
        return Err(Error::new(ErrorKind::InvalidKernel, "the kernel has no 64-bit entry")
            .with_remedy("give a Linux kernel for x86-64 of version 3.8 or later"));
    }
    Ok(header)
}

/// Rejects a bzImage larger than the memory in which it is decompressed, before reading it.
fn check_size<K: KernelSource>(ram: &GuestRam, kernel: &mut K) -> Result<()> {
    let length = kernel.seek(SeekFrom::End(0)).map_err(|e| Error::io("cannot measure the kernel", e))?;
    if length > low_ram_end(ram) {
        let what = format!("a kernel of {} MiB does not fit the VM's memory", length >> 20);
        return Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("give the VM more memory"));
    }
    Ok(())
}

fn load_error(error: linux_loader::loader::Error) -> Error {
    Error::new(ErrorKind::InvalidKernel, "the kernel cannot be loaded")
        .because(error)
        .with_remedy("check the kernel image, and that the VM has enough memory for it")
}

fn write_command_line(ram: &GuestRam, command_line: &str) -> Result<()> {
    if command_line.len() >= layout::COMMAND_LINE_MAX || command_line.contains('\0') {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            "the kernel's command line is too long or contains zero bytes",
        )
        .with_remedy(format!("keep it below {} bytes and without zero bytes", layout::COMMAND_LINE_MAX)));
    }
    let mut bytes = command_line.as_bytes().to_vec();
    bytes.push(0);
    ram.write_slice(&bytes, GuestAddress(layout::COMMAND_LINE)).map_err(too_small)
}

/// The address and length of the initrd.
#[derive(Clone, Copy)]
struct Initrd {
    address: u64,
    length: u64,
}

/// Loads the initrd at the highest possible address, so that the kernel has room to decompress itself below.
fn place_initrd<I: ReadVolatile>(
    ram: &GuestRam,
    initrd: Option<(&mut I, u64)>,
    kernel_end: u64,
    highest: u64,
) -> Result<Option<Initrd>> {
    let Some((bytes, length)) = initrd else { return Ok(None) };
    let no_room = || {
        Error::new(ErrorKind::InvalidConfig, format!("an initrd of {} MiB does not fit the VM's memory", length >> 20))
            .with_remedy("give the VM more memory")
    };
    let ceiling = low_ram_end(ram).min(highest.saturating_add(1));
    let address = ceiling.checked_sub(length).ok_or_else(no_room)? & !(PAGE - 1);
    if address < kernel_end {
        return Err(no_room());
    }
    ram.read_exact_volatile_from(GuestAddress(address), bytes, length as usize)
        .map_err(|e| Error::new(ErrorKind::Io, "cannot read the initrd").because(e))?;
    Ok(Some(Initrd { address, length }))
}

fn low_ram_end(ram: &GuestRam) -> u64 {
    ram.iter().map(|r| r.start_addr().raw_value() + r.len()).find(|end| *end <= LOW_RAM_LIMIT).unwrap_or(LOW_RAM_LIMIT)
}

/// The memory map in the form that firmware reports: `(address, length, type)`.
fn memory_map(ram: &GuestRam) -> Vec<(u64, u64, u32)> {
    let mut map = vec![
        (0, layout::LOW_MEMORY_END, E820_RAM),
        (layout::LOW_MEMORY_END, layout::HIGH_MEMORY - layout::LOW_MEMORY_END, E820_RESERVED),
        (layout::HIGH_MEMORY, low_ram_end(ram).saturating_sub(layout::HIGH_MEMORY), E820_RAM),
        (layout::PCI_CONFIG, layout::PCI_CONFIG_SIZE, E820_RESERVED),
    ];
    let high = ram.iter().filter(|r| r.start_addr().raw_value() >= LOW_RAM_LIMIT);
    map.extend(high.map(|r| (r.start_addr().raw_value(), r.len(), E820_RAM)));
    map
}

fn write_zero_page(ram: &GuestRam, header: setup_header, initrd: Option<Initrd>) -> Result<()> {
    let mut params = boot_params { hdr: header, ..Default::default() };
    params.hdr.boot_flag = BOOT_FLAG;
    params.hdr.header = BZIMAGE_MAGIC;
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    params.hdr.cmd_line_ptr = layout::COMMAND_LINE as u32;
    params.hdr.cmdline_size = layout::COMMAND_LINE_MAX as u32;
    params.acpi_rsdp_addr = layout::ACPI_TABLES;
    if let Some(initrd) = initrd {
        params.hdr.ramdisk_image = initrd.address as u32;
        params.hdr.ramdisk_size = initrd.length as u32;
    }
    let map = memory_map(ram);
    for (slot, (addr, size, type_)) in params.e820_table.iter_mut().zip(&map) {
        *slot = boot_e820_entry { addr: *addr, size: *size, r#type: *type_ };
    }
    params.e820_entries = map.len() as u8;
    ram.write_obj(params, GuestAddress(layout::ZERO_PAGE)).map_err(too_small)
}

fn write_pvh_start_info(ram: &GuestRam, initrd: Option<Initrd>) -> Result<()> {
    let map = memory_map(ram);
    for (index, (addr, size, type_)) in map.iter().enumerate() {
        let entry = hvm_memmap_table_entry { addr: *addr, size: *size, type_: *type_, reserved: 0 };
        let address = layout::PVH_MEMORY_MAP + (index * size_of::<hvm_memmap_table_entry>()) as u64;
        ram.write_obj(entry, GuestAddress(address)).map_err(too_small)?;
    }
    if let Some(initrd) = initrd {
        let module = hvm_modlist_entry { paddr: initrd.address, size: initrd.length, ..Default::default() };
        ram.write_obj(module, GuestAddress(layout::PVH_MODULES)).map_err(too_small)?;
    }
    let info = hvm_start_info {
        magic: PVH_MAGIC,
        version: 1,
        nr_modules: u32::from(initrd.is_some()),
        modlist_paddr: if initrd.is_some() { layout::PVH_MODULES } else { 0 },
        cmdline_paddr: layout::COMMAND_LINE,
        rsdp_paddr: layout::ACPI_TABLES,
        memmap_paddr: layout::PVH_MEMORY_MAP,
        memmap_entries: map.len() as u32,
        ..Default::default()
    };
    ram.write_obj(info, GuestAddress(layout::PVH_START_INFO)).map_err(too_small)
}

fn too_small(error: vm_memory::GuestMemoryError) -> Error {
    Error::new(ErrorKind::InvalidConfig, "the kernel's boot data does not fit the guest's memory")
        .because(error)
        .with_remedy("give the VM more memory")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::boot::testing::{File, MemoryDisk, ext};
    use crate::boot::{BootMenu, Limits};
    use crate::config::{ByteSize, MemoryBacking};
    use crate::memory::allocate;

    fn ram() -> GuestRam {
        allocate(ByteSize::mib(16), &MemoryBacking::default()).unwrap()
    }

    fn load_bytes(kernel: &[u8], initrd: Option<&[u8]>, command_line: &str) -> Result<Entry> {
        let mut initrd = initrd.map(|bytes| (bytes, bytes.len() as u64));
        let initrd = initrd.as_mut().map(|(bytes, length)| (bytes, *length));
        let payload = Payload { kernel: &mut Cursor::new(kernel), initrd, command_line, protocol: EntryProtocol::Auto };
        load(&ram(), payload)
    }

    #[test]
    fn what_is_no_kernel_is_refused_in_plain_words() {
        for bytes in [&b"not a kernel, but long enough to be one"[..], &[0u8; 4096]] {
            let error = load_bytes(bytes, None, "").unwrap_err();
            assert_eq!(
                error.to_string(),
                "the kernel is neither a bzImage nor an ELF image; give a Linux kernel for x86-64 (vmlinuz or vmlinux)"
            );
        }
        assert_eq!(load_bytes(b"", None, "").unwrap_err().kind(), ErrorKind::InvalidKernel);
    }

    #[test]
    fn a_truncated_elf_is_an_error() {
        let error = load_bytes(b"\x7FELF\x02\x01\x01", None, "").unwrap_err();
        assert!(error.to_string().starts_with("the kernel cannot be loaded: "), "{error}");
    }

    /// The loader would spend minutes on an ELF image with many notes in a hole; this one has far fewer than possible.
    #[test]
    fn an_elf_with_thousands_of_notes_in_a_hole_is_refused() {
        const NOTES: u16 = 2000;
        let mut kernel = vec![0; 32 << 20];
        kernel[..7].copy_from_slice(b"\x7FELF\x02\x01\x01");
        kernel[24..32].copy_from_slice(&layout::HIGH_MEMORY.to_le_bytes());
        kernel[32..40].copy_from_slice(&64_u64.to_le_bytes());
        kernel[54..58].copy_from_slice(&[56, 0, NOTES as u8, (NOTES >> 8) as u8]);
        for header in kernel[64..].chunks_exact_mut(56).take(NOTES.into()) {
            header[0] = 4;
            header[8..16].copy_from_slice(&(1_u64 << 20).to_le_bytes());
            header[32..40].copy_from_slice(&(30_u64 << 20).to_le_bytes());
        }
        let Some(image) = ext(&["-t", "ext4"], 8, &[File("/vmlinuz", &kernel)]) else { return };
        let disk = MemoryDisk(image);
        let menu = BootMenu::read(&disk).unwrap();
        let mut image = menu.open(menu.default_entry().unwrap(), &Limits::default()).unwrap();
        let (kernel, protocol) = (&mut image.kernel, EntryProtocol::Auto);
        let payload = Payload { kernel, initrd: None::<(&mut &[u8], u64)>, command_line: "", protocol };
        let error = load(&ram(), payload).unwrap_err();
        assert_eq!(error.to_string(), "the kernel has 2000 program headers, the maximum is 64; check the kernel image");
    }

    #[test]
    fn an_endless_command_line_is_refused() {
        let error = load_bytes(b"\x7FELF", None, &"x".repeat(layout::COMMAND_LINE_MAX)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("keep it below 65536 bytes"), "{error}");
    }

    #[test]
    fn an_initrd_that_does_not_fit_is_refused() {
        // The initrd is not read.
        let error =
            place_initrd(&ram(), Some((&mut &[0_u8; 0][..], 15 << 20)), 2 << 20, u64::from(u32::MAX)).err().unwrap();
        assert_eq!(error.to_string(), "an initrd of 15 MiB does not fit the VM's memory; give the VM more memory");
    }

    #[test]
    fn the_memory_map_leaves_out_the_hole() {
        let ram = allocate(ByteSize::gib(4), &MemoryBacking::default()).unwrap();
        let usable: u64 = memory_map(&ram).iter().filter(|m| m.2 == E820_RAM).map(|m| m.1).sum();
        assert_eq!(usable, (4 << 30) - (layout::HIGH_MEMORY - layout::LOW_MEMORY_END));
        assert!(memory_map(&ram).iter().all(|(a, l, t)| *t != E820_RAM || *a >= 1 << 32 || a + l <= LOW_RAM_LIMIT));
    }
}
