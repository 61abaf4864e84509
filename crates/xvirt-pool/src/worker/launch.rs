//! Makes a worker.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::geteuid;
use uuid::Uuid;
use xvirt_worker::{Descriptors, Settings, launch};

use super::group::{self, Groups};
use super::process::kill_stranger;
use super::{Place, Worker};
use crate::operation::{Failure, codes};

/// The private memory of a worker beside that of its guest, in bytes.
const OWN_MEMORY: u64 = 512 << 20;
/// The memory of a worker's control group beside that of its guest, in bytes: for two workers while one takes the VM over,
/// and for what the kernel keeps of its disks.
const GROUP_MEMORY: u64 = 1 << 30;
/// The most threads and processes of a worker's control group.
const TASKS: u32 = 4096;
/// The descriptors of a worker.
const OPEN_FILES: u64 = 1024;

/// How workers are made on this host.
#[derive(Debug)]
pub(crate) struct Launcher {
    /// The program `xvirt-worker`.
    pub(crate) program: PathBuf,
    /// The user and the group that workers become.
    pub(crate) identity: Option<(u32, u32)>,
    /// Where the logs of VMs are.
    pub(crate) logs: PathBuf,
    /// Whether systemd gives each worker a scope of its own.
    pub(crate) systemd: bool,
    /// Their control groups otherwise, if this host lets us make some.
    pub(crate) groups: io::Result<Groups>,
}

impl Launcher {
    /// Makes the worker of a VM with this much memory in bytes. It has no VM yet.
    ///
    /// # Errors
    /// There is one already, which is left alone; or it cannot be made, and nothing is left of it.
    pub(crate) fn make(&self, vm: Uuid, epoch: u64, memory: u64, place: &Place) -> Result<Worker, Failure> {
        place.make()?;
        if Worker::find(vm, epoch, place.clone())?.is_some() {
            return Err(codes::internal(format!("the VM {vm} has a worker already"))
                .with_remedy("restart the host service: it adopts the worker"));
        }
        if let Ok(groups) = &self.groups {
            groups.require_empty(vm)?;
        }
        let made = self.make_in(vm, epoch, memory, place);
        if made.is_err() {
            if let Err(failure) = place.remove() {
                tracing::warn!(%failure, %vm, "the folder of a worker cannot be removed");
            }
            if let Ok(groups) = &self.groups {
                groups.remove(vm);
            }
        }
        made
    }

    /// Makes it in a place that no worker has.
    fn make_in(&self, vm: Uuid, epoch: u64, memory: u64, place: &Place) -> Result<Worker, Failure> {
        place.remove_socket()?;
        let descriptors =
            Descriptors::new(place.bind()?, place.new_exit_record()?, place.log(&log_of(&self.logs, vm))?);
        let descriptors = match self.systemd {
            true => descriptors.runner(scope(vm, memory.saturating_add(GROUP_MEMORY))),
            false => self.grouped(vm, memory, descriptors)?,
        };
        self.start(vm, epoch, memory, place, descriptors)
    }

    /// Makes a worker that is to take over the VM of another one, whose control group it joins: so limits stay in force,
    /// and memory stays where it is counted.
    ///
    /// # Errors
    /// As [`make`](Self::make). Nothing is left of it.
    pub(crate) fn make_beside(&self, old: &Worker, memory: u64) -> Result<Worker, Failure> {
        let (vm, place) = (old.vm, old.place.beside());
        let (socket, record) = old.place.make_beside()?;
        let made = place.log(&log_of(&self.logs, vm)).and_then(|log| {
            let descriptors = Descriptors::new(socket, record, log);
            let descriptors = if self.systemd {
                descriptors.group(group::open_of(old.number()?).map_err(|error| no_group(vm, &error))?)
            } else {
                self.grouped(vm, memory, descriptors)?
            };
            self.start(vm, old.epoch, memory, &place, descriptors)
        });
        if made.is_err()
            && let Err(failure) = old.place.remove_beside()
        {
            tracing::warn!(%failure, %vm, "the folder of a worker cannot be removed");
        }
        made
    }

    fn grouped(&self, vm: Uuid, memory: u64, descriptors: Descriptors) -> Result<Descriptors, Failure> {
        let Ok(groups) = &self.groups else { return Ok(descriptors) };
        let group = groups.make(vm, memory.saturating_add(GROUP_MEMORY), TASKS);
        Ok(descriptors.group(group.map_err(|error| no_group(vm, &error))?))
    }

    /// Puts the share of CPU time of a VM (as `cpu.weight` has it) and its cap in percent of one CPU into force.
    pub(crate) fn limit_cpu(&self, vm: Uuid, weight: Option<u32>, cap: Option<u32>) -> io::Result<()> {
        if self.systemd {
            return limit_scope(vm, weight, cap);
        }
        match &self.groups {
            Ok(groups) => groups.limit(vm, weight, cap),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }

    fn start(
        &self,
        vm: Uuid,
        epoch: u64,
        memory: u64,
        place: &Place,
        descriptors: Descriptors,
    ) -> Result<Worker, Failure> {
        let mut settings =
            Settings::new(geteuid().as_raw()).memory_limit(memory.saturating_add(OWN_MEMORY)).open_files(OPEN_FILES);
        if let Some((uid, gid)) = self.identity {
            settings = settings.identity(uid, gid);
        }
        launch(&self.program, &settings, descriptors).map_err(|error| {
            let failure = codes::of_worker(&error);
            place.why_not_built().map_or(failure, |reason| codes::of_worker(&reason))
        })?;
        let found = Worker::find(vm, epoch, place.clone()).inspect_err(|_| kill_stranger(place))?;
        found.ok_or_else(|| match place.why_not_built() {
            Some(reason) => codes::of_worker(&reason),
            None => codes::internal(format!("the worker of the VM {vm} has ended at once"))
                .with_remedy(format!("see {}", log_of(&self.logs, vm).display())),
        })
    }
}

fn no_group(vm: Uuid, error: &io::Error) -> Failure {
    codes::internal(format!("cannot use the control group of the VM {vm}: {error}"))
}

/// The log of a VM.
pub(crate) fn log_of(logs: &Path, vm: Uuid) -> PathBuf {
    logs.join(format!("{vm}.log"))
}

/// Whether systemd runs this host, and gives processes of this user scopes of their own.
pub(crate) fn has_systemd() -> bool {
    // sd_booted(3).
    geteuid().is_root() && Path::new("/run/systemd/system").is_dir()
}

/// What runs a worker in a scope of its own: outside the service's control group, so that the end of the service is not
/// its end.
fn scope(vm: Uuid, memory: u64) -> Vec<String> {
    let unit = format!("--unit={}", unit(vm));
    let (memory, tasks) = (format!("--property=MemoryMax={memory}"), format!("--property=TasksMax={TASKS}"));
    let words = [
        "systemd-run",
        "--scope",
        "--quiet",
        "--collect",
        "--slice=xvirt.slice",
        "--property=Delegate=yes",
        // Which shuts down guests when the host goes down: units stop in the reverse order.
        "--property=Before=xvirt-vms.service",
        &memory,
        &tasks,
        &unit,
        "--",
    ];
    words.map(str::to_owned).to_vec()
}

fn unit(vm: Uuid) -> String {
    format!("xvirt-{vm}.scope")
}

/// Lets systemd limit the CPU time of a scope (systemd.resource-control(5)).
fn limit_scope(vm: Uuid, weight: Option<u32>, cap: Option<u32>) -> io::Result<()> {
    let weight = weight.map_or_else(String::new, |weight| weight.to_string());
    let quota = cap.map_or_else(String::new, |cap| format!("{cap}%"));
    let mut command = Command::new("systemctl");
    command.args(["--runtime", "set-property", &unit(vm)]);
    command.args([format!("CPUWeight={weight}"), format!("CPUQuota={quota}")]);
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("systemd does not limit {}: {}", unit(vm), said.trim())))
}
