//! Commands in the guest whose output is followed.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::ptr;

use xvirt_core::agent::GuestCommand;

use crate::arena::Arena;
use crate::call::{Call, XvirtCall, entry};
use crate::data::{XvirtCommandStatus, XvirtGuestCommand, XvirtOutputStream};
use crate::error::{XvirtError, XvirtStatus};
use crate::functions::XvirtGuestAgent;
use crate::handle::given;
use crate::input::{At, FromC, argument, need};
use crate::output::{ToC, out, put_record};

/// Runs a command in the guest, and calls `output` with each piece of its output, on this thread. `output` returns false
/// to end the command, whose status is then that it was killed.
///
/// `status` gets how the command ended; free it with xvirt_command_status_free(). `call` is NULL, or has a timeout and
/// the means to cancel the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_guest_agent_run_streamed(
    guest_agent: Option<&XvirtGuestAgent>,
    command: *const XvirtGuestCommand,
    output: Option<
        extern "C" fn(
            user_data: *mut c_void,
            stream: MaybeUninit<XvirtOutputStream>,
            bytes: *const u8,
            length: usize,
        ) -> bool,
    >,
    user_data: *mut c_void,
    call: *const XvirtCall,
    status: Option<&mut *mut XvirtCommandStatus>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let status = out(status, ptr::null_mut(), "status")?;
        let agent = given(guest_agent, "guest_agent")?;
        let at = At::root("command");
        // SAFETY: the caller passes NULL or what the header asks for.
        let (command, call) = unsafe { (GuestCommand::from_c(command, &at)?, Call::of(call)?) };
        let (command, output) = (need(command, &at)?, argument(output, "output")?);
        let told = |stream: xvirt_core::agent::OutputStream, bytes: &[u8]| {
            let goes_on = output(user_data, stream.to_c(&Arena::new()), bytes.as_ptr(), bytes.len());
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let ended = call.run(|_| agent.0.run_streamed(&command, told))?;
        put_record(status, &ended);
        Ok(())
    })
}
