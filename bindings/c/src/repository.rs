//! Changing the configuration of a VM in a repository.

use std::ffi::{c_char, c_void};
use std::ptr;

use xvirt_core::config::{Uuid, VmConfig};
use xvirt_core::{Error, ErrorKind};

use crate::arena::Arena;
use crate::call::{Call, XvirtCall, entry};
use crate::data::XvirtVmConfig;
use crate::error::{XvirtError, XvirtStatus};
use crate::functions::{XvirtRepository, XvirtStoredVm};
use crate::handle::{given, put_handle};
use crate::input::{At, FromC, argument};
use crate::output::{Struct, out};

/// Changes the configuration of a VM in a repository. `change` gets the present one, and returns another one, or NULL to
/// leave it as it is; the call then fails with XVIRT_STATUS_CANCELLED. It may change members of what it gets, and return
/// that. What it gets is valid until it returns, and another one that it returns must be valid until this call returns.
/// It is called again if another process has changed the VM meanwhile, always on this thread.
///
/// `uuid` is the VM's. `vm` gets the changed VM; free it with xvirt_stored_vm_free(). `call` is NULL, or has a timeout
/// and the means to cancel the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_repository_update(
    repository: Option<&XvirtRepository>,
    uuid: *const c_char,
    change: Option<extern "C" fn(user_data: *mut c_void, config: *mut XvirtVmConfig) -> *const XvirtVmConfig>,
    user_data: *mut c_void,
    call: *const XvirtCall,
    vm: Option<&mut *mut XvirtStoredVm>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let vm = out(vm, ptr::null_mut(), "vm")?;
        let repository = given(repository, "repository")?;
        // SAFETY: the caller passes NULL or what the header asks for.
        let (uuid, call) = unsafe { (Uuid::from_c(uuid, &At::root("uuid"))?, Call::of(call)?) };
        let (uuid, change) = (argument(uuid, "uuid")?, argument(change, "change")?);
        let changed = |config: &mut VmConfig| {
            let arena = Arena::new();
            let mut present = config.to_struct(&arena);
            let answer = change(user_data, &raw mut present);
            // SAFETY: the function returns NULL or what the header asks for; what it got is still there.
            let answer = unsafe { VmConfig::from_c(answer, &At::root("config")) }?;
            *config = answer.ok_or_else(|| Error::new(ErrorKind::Cancelled, "the configuration was left as it is"))?;
            Ok(())
        };
        let changed = call.run(|_| repository.0.update(uuid, changed))?;
        put_handle(vm, XvirtStoredVm(changed));
        Ok(())
    })
}
