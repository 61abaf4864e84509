//! The boot menu on a disk.

use std::ptr;

use xvirt_core::boot::{BootMenu, EntryChoice, Limits};

use crate::backend::XvirtBlockBackend;
use crate::call::{Call, XvirtCall, entry};
use crate::data::{XvirtBootEntry, XvirtBootFiles, XvirtEntryChoice, XvirtLimits};
use crate::error::{XvirtError, XvirtStatus};
use crate::handle::given;
use crate::input::{At, FromC};
use crate::lists::XvirtBootEntryList;
use crate::output::{out, put_list, put_record};

/// Reads the entries of the boot menu of a disk: GRUB's first, then those of other boot loaders, then kernels by their
/// usual names. At most one of them is the default; there is none if no entry can be booted.
///
/// Free `entries` with xvirt_boot_entry_list_free(). `call` is NULL, or has a timeout and the means to cancel the call.
///
/// Errors: XVIRT_STATUS_NOT_BOOTABLE if there is nothing to boot. XVIRT_STATUS_LIMIT_EXCEEDED if the disk takes more work
/// than any real one, because its directories, links or menus lead in circles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_boot_menu_entries(
    disk: Option<&XvirtBlockBackend>,
    call: *const XvirtCall,
    entries: Option<&mut *mut XvirtBootEntryList>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let entries = out(entries, ptr::null_mut(), "entries")?;
        let disk = given(disk, "disk")?;
        // SAFETY: the caller passes NULL or what the header asks for.
        let call = unsafe { Call::of(call) }?;
        let menu = call.run(|_| BootMenu::read(&*disk.0))?;
        put_list(entries, menu.entries().iter());
        Ok(())
    })
}

/// Finds an entry in the boot menu of a disk. `choice` is NULL for the default entry.
///
/// Free `boot_entry` with xvirt_boot_entry_free(). `call` is NULL, or has a timeout and the means to cancel the call.
///
/// Errors: XVIRT_STATUS_NOT_BOOTABLE if there is no such entry, with the names of those that exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_boot_menu_entry(
    disk: Option<&XvirtBlockBackend>,
    choice: *const XvirtEntryChoice,
    call: *const XvirtCall,
    boot_entry: Option<&mut *mut XvirtBootEntry>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let boot_entry = out(boot_entry, ptr::null_mut(), "boot_entry")?;
        let disk = given(disk, "disk")?;
        // SAFETY: the caller passes NULL or what the header asks for.
        let (choice, call) = unsafe { (EntryChoice::from_c(choice, &At::root("choice"))?, Call::of(call)?) };
        let menu = call.run(|_| BootMenu::read(&*disk.0))?;
        put_record(boot_entry, menu.entry(&choice.unwrap_or_default())?);
        Ok(())
    })
}

/// Reads the kernel, the initial RAM disk and the command line of an entry in the boot menu of a disk. `choice` is NULL
/// for the default entry, `limits` for the usual limits of their sizes.
///
/// Free `boot_files` with xvirt_boot_files_free(). `call` is NULL, or has a timeout and the means to cancel the call.
///
/// Errors: XVIRT_STATUS_NOT_BOOTABLE if there is no such entry, or it cannot be booted, with the reason.
/// XVIRT_STATUS_LIMIT_EXCEEDED if a file is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_boot_menu_load(
    disk: Option<&XvirtBlockBackend>,
    choice: *const XvirtEntryChoice,
    limits: *const XvirtLimits,
    call: *const XvirtCall,
    boot_files: Option<&mut *mut XvirtBootFiles>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let boot_files = out(boot_files, ptr::null_mut(), "boot_files")?;
        let disk = given(disk, "disk")?;
        // SAFETY: the caller passes NULL or what the header asks for.
        let (choice, limits, call) = unsafe {
            let choice = EntryChoice::from_c(choice, &At::root("choice"))?;
            (choice, Limits::from_c(limits, &At::root("limits"))?, Call::of(call)?)
        };
        let files = call.run(|_| {
            let menu = BootMenu::read(&*disk.0)?;
            menu.load_within(menu.entry(&choice.unwrap_or_default())?, &limits.unwrap_or_default())
        })?;
        put_record(boot_files, &files);
        Ok(())
    })
}
