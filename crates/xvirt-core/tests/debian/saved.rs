//! One Debian that is booted and suspended once in a run of these tests, and resumed by each test that is not about
//! booting.
//!
//! The first test that needs it makes it, in the folder that `XVIRT_DEBIAN_SAVED` names; test processes on other hosts
//! that share this folder wait. It has two vCPUs, 512 MiB of memory, a disk, a NIC and a vsock device, and Python.
//! Tests plug in what else they need.

use std::fs;
use std::io::ErrorKind as IoKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xvirt_core::config::{ByteSize, Disk, Nic, Uuid, VmConfig, Vsock};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::net::MacAddress;
use xvirt_core::vm::{SuspendedVm, Vm};

use crate::guest::{Guest, PATIENCE};
use crate::{GUEST, HOST, needs, tap, without_mitigations};

pub const MAC: MacAddress = MacAddress::new([0x02, 0, 0, 0, 0x77, 0x0a]);

/// A copy of the saved Debian: its state, and an overlay of its disk.
pub struct SavedDebian {
    pub host: Host,
    state: TempDir,
    folder: TempDir,
}

impl SavedDebian {
    /// A copy for the test; `None` if the test is skipped, after printing the reason.
    pub fn copy() -> Option<Self> {
        Self::copy_to(tempfile::tempdir().unwrap())
    }

    /// The same with its disk in `folder`.
    pub fn copy_to(folder: TempDir) -> Option<Self> {
        let (host, [disk, saved]) = needs(["XVIRT_DEBIAN_DISK", "XVIRT_DEBIAN_SAVED"])?;
        make_once(&host, &disk, &saved);
        // A resume removes the file that it resumes from.
        let state = tempfile::tempdir_in(&saved).unwrap();
        fs::hard_link(saved.join("state"), state.path().join("state")).unwrap();
        disk::overlay(saved.join("root"), None, folder.path().join("root")).unwrap();
        Some(Self { host, state, folder })
    }

    /// The path of a file of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The VM, suspended, on a network with the host.
    pub fn vm(&self) -> Vm {
        let tap = tap(HOST);
        self.build(self.config(Nic::tap_descriptor(tap.as_fd().try_clone_to_owned().unwrap())))
    }

    /// The configuration of the VM with its NIC on any tap.
    pub fn config(&self, nic: Nic) -> VmConfig {
        config(self.folder.path()).nic(nic.mac(MAC))
    }

    /// The VM, suspended, with a configuration that differs from [`config`](Self::config) on the host's side only.
    pub fn build(&self, config: VmConfig) -> Vm {
        SuspendedVm::open(self.state.path().join("state")).unwrap().build_with(config, &self.host).unwrap()
    }
}

fn config(folder: &Path) -> VmConfig {
    let mut config = VmConfig::new("debian")
        .vcpus(2)
        .memory(ByteSize::mib(512))
        .boot(without_mitigations())
        .disk(Disk::open(folder.join("root")).unwrap().serial("root"))
        .vsock(Vsock::new(1234, folder.join("vsock")));
    config.uuid = Uuid::from_u128(0x7716_5f5a_0d0c_4b0e_8a35_2d5c_6a49_1e01);
    config.generation_id = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    config
}

/// Makes the saved Debian, unless it exists. Locks of files are not shared by hosts, but a directory is created once.
fn make_once(host: &Host, disk: &Path, saved: &Path) {
    let (making, deadline) = (saved.join("making"), Instant::now() + 2 * PATIENCE);
    while !saved.join("state").exists() {
        match fs::create_dir(&making) {
            Ok(()) => {
                let _making = Making(&making);
                // Another test may have finished between the two checks.
                if !saved.join("state").exists() {
                    make(host, disk, saved);
                }
            }
            Err(error) if error.kind() == IoKind::AlreadyExists => {
                assert!(Instant::now() < deadline, "{} was not made by another test", saved.display());
                thread::sleep(Duration::from_millis(200));
            }
            Err(error) => panic!("cannot create {}: {error}", making.display()),
        }
    }
}

/// The directory that exists while a test makes the saved Debian. If the test fails, the next one tries.
struct Making<'a>(&'a Path);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        fs::remove_dir(self.0).unwrap();
    }
}

fn make(host: &Host, disk: &Path, saved: &Path) {
    let began = Instant::now();
    let root = saved.join("root");
    if root.exists() {
        fs::remove_file(&root).unwrap();
    }
    disk::overlay(disk, Some(ImageFormat::Raw), &root).unwrap();
    let tap = tap(HOST);
    let nic = Nic::tap_descriptor(tap.as_fd().try_clone_to_owned().unwrap()).mac(MAC);
    let mut config = config(saved).nic(nic);
    let sockets = tempfile::tempdir().unwrap();
    config.vsock = Some(Vsock::new(1234, sockets.path().join("vsock")));
    let mut guest = Guest::start(config.build(host).unwrap());
    guest.log_in();
    println!("booted in {:.1?}", began.elapsed());
    guest.vm.agent().wait_ready(PATIENCE).unwrap();
    guest.run(&format!("until ip route get {HOST} 2>&1 | grep -q 'src {GUEST}'; do sleep 0.1; done"));
    // The rest of the boot.
    guest.run("udevadm settle; systemctl is-system-running --wait || true");
    guest.run("sync; echo 3 >/proc/sys/vm/drop_caches");
    println!("ready after {:.1?}", began.elapsed());
    let report = guest.vm.suspend(saved.join("state"), &()).unwrap();
    println!("suspended after {:.1?}: {report:?}", began.elapsed());
}
