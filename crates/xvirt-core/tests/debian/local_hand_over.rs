//! A local hand-over of a busy Debian to another process of its host, without a copy of its memory, and back.

use std::env;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use xvirt_core::config::{Disk, Nic};
use xvirt_core::host::Host;
use xvirt_core::migrate::{Channel, MemoryTransfer, Migration, Reception, receive};
use xvirt_core::vm::{ArrivingVm, Vm};
use xvirt_testing::process::another;

use crate::busy::{check_load, end_load, is_clean, start_load};
use crate::guest::PATIENCE;
use crate::saved::SavedDebian;

/// Makes this program the other process: it names the socket through which the VM comes and goes.
const SOCKET: &str = "XVIRT_TEST_DEBIAN_HAND_OVER";

/// Takes the VM, checks it, and hands it back.
#[test]
fn another_process_takes_it_and_returns_it() {
    let Some(socket) = env::var_os(SOCKET).map(PathBuf::from) else { return };
    let connect = move |_| UnixStream::connect(&socket);
    let vm = take(&connect);
    check_load(&vm);
    hand_over(&vm, &connect);
}

fn take(channel: &dyn Channel) -> Vm {
    let (host, settings) = (Host::probe().unwrap(), Reception::default().silence_limit(PATIENCE));
    let mut accept = |arriving: &ArrivingVm| {
        let mut config = arriving.config().unwrap().clone();
        // The source still listens on its own socket.
        if let Some(vsock) = &mut config.vsock {
            vsock.path = vsock.path.with_file_name(format!("vsock-{}", std::process::id()));
        }
        Ok(config)
    };
    receive(channel, &host, &settings, &(), &(), &mut accept).unwrap()
}

fn hand_over(vm: &Vm, channel: &dyn Channel) {
    let settings = Migration::default().memory(MemoryTransfer::LocalHandOver).silence_limit(PATIENCE);
    let summary = vm.migrate(channel, &settings, &(), &()).unwrap();
    println!("{summary:?}");
    assert_eq!(summary.report.bytes, 0, "memory was copied");
}

#[test]
fn a_busy_debian_is_handed_to_another_process_and_back() {
    let Some(debian) = SavedDebian::copy() else { return };
    // Other processes cannot open an open tap of this one.
    let vm = debian.build(debian.config(Nic::new_tap()).shared_memory());
    vm.resume(&()).unwrap();
    start_load(&vm);

    let socket = debian.path("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let back = with_other(&socket, || {
        hand_over(&vm, &listener);
        drop(vm);
        take(&listener)
    });
    check_load(&back);
    end_load(&back);
    drop(back);
    is_clean(Disk::open(debian.path("root")).unwrap());
}

/// Does something while the other process runs, which must succeed.
fn with_other<T>(socket: &Path, run: impl FnOnce() -> T) -> T {
    let mut other = another("local_hand_over::another_process_takes_it_and_returns_it");
    // What it says must not be taken for a result of this process.
    let other = other.env(SOCKET, socket).stdout(Stdio::piped()).spawn().unwrap();
    let result = run();
    let said = other.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    result
}
