//! Configurations as JSON.

use std::ffi::c_char;
use std::ptr;

use xvirt_core::config::VmConfig;

use crate::call::entry;
use crate::data::XvirtVmConfig;
use crate::error::{XvirtError, XvirtStatus};
use crate::input::{At, FromC, argument, invalid, need};
use crate::output::{out, put_record, put_text};

/// Reads the configuration of a VM from JSON: the names are those of the members of the structs, times are numbers of
/// seconds, and sizes are numbers of bytes or text such as "1GiB". Unknown names are errors.
///
/// Free `vm_config` with xvirt_vm_config_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_vm_config_from_json(
    json: *const c_char,
    vm_config: Option<&mut *mut XvirtVmConfig>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let vm_config = out(vm_config, ptr::null_mut(), "vm_config")?;
        // SAFETY: the caller passes NULL or text.
        let json = argument(unsafe { String::from_c(json, &At::root("json")) }?, "json")?;
        put_record(vm_config, &VmConfig::from_json(&json)?);
        Ok(())
    })
}

/// Writes the configuration of a VM as JSON. It fails if the configuration has parts that are no data, such as open
/// files. Free `json` with xvirt_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_vm_config_to_json(
    vm_config: *const XvirtVmConfig,
    json: Option<&mut *mut c_char>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let json = out(json, ptr::null_mut(), "json")?;
        let at = At::root("vm_config");
        // SAFETY: the caller passes NULL or what the header asks for.
        let config = need(unsafe { VmConfig::from_c(vm_config, &at) }?, &at)?;
        let text = serde_json::to_string(&config)
            .map_err(|error| invalid("vm_config has parts that are no data").because(error))?;
        put_text(json, &text)
    })
}
