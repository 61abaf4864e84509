//! A busy Debian is suspended, and resumed by another process.

use std::env;
use std::path::Path;
use std::thread;
use std::time::Duration;

use xvirt_core::config::{Disk, Nic};
use xvirt_core::host::Host;
use xvirt_core::vm::{SuspendedVm, Vm};
use xvirt_testing::process::another;

use crate::busy::{check_load, end_load, is_clean, start_load};
use crate::saved::SavedDebian;

/// Makes this program the other process: it names the file of the suspended VM.
const FILE: &str = "XVIRT_TEST_DEBIAN_SUSPENDED";
/// How often the guest is suspended, and for how many seconds: `XVIRT_SUSPEND=5x60` is the long variant.
const SHORT: (u32, u64) = (2, 3);

fn rounds() -> (u32, u64) {
    let Ok(text) = env::var("XVIRT_SUSPEND") else { return SHORT };
    let (count, seconds) = text.split_once('x').unwrap();
    (count.parse().unwrap(), seconds.parse().unwrap())
}

/// Resumes the VM, checks it, and suspends it again.
#[test]
fn another_process_resumes_it() {
    let Some(file) = env::var_os(FILE) else { return };
    let vm = resume_and_check(Path::new(&file));
    println!("{:?}", vm.suspend(file, &()).unwrap());
}

/// Resumes the VM, whose load must go on without damage and whose clock must be right.
fn resume_and_check(file: &Path) -> Vm {
    let vm = SuspendedVm::open(file).unwrap().build(&Host::probe().unwrap()).unwrap();
    println!("{:?}", vm.resume(&()).unwrap());
    check_load(&vm);
    vm
}

#[test]
fn a_busy_debian_is_suspended_and_resumed_by_other_processes() {
    let Some(debian) = SavedDebian::copy() else { return };
    // Other processes cannot open an open tap of this one.
    let vm = debian.build(debian.config(Nic::new_tap()));
    vm.resume(&()).unwrap();
    start_load(&vm);

    let (count, seconds) = rounds();
    let file = debian.path("suspended");
    vm.suspend(&file, &()).unwrap();
    drop(vm);
    for _ in 1..count {
        thread::sleep(Duration::from_secs(seconds));
        let other = another("suspend::another_process_resumes_it").env(FILE, &file).output().unwrap();
        let said = [other.stdout, other.stderr].map(|output| String::from_utf8_lossy(&output).into_owned()).concat();
        assert!(other.status.success() && file.exists(), "{said}");
    }
    thread::sleep(Duration::from_secs(seconds));
    let vm = resume_and_check(&file);
    end_load(&vm);
    drop(vm);
    is_clean(Disk::open(debian.path("root")).unwrap());
}
