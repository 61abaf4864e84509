//! One host's side: makes what the records say true, and the records what is true.
//!
//! `options` says where things are; `open` begins a service: it adopts the workers that it finds (`adopt`), ends what
//! an earlier service left undone, and starts what should run. `calls` takes verbs apart and carries them out, with `jobs` for those
//! that nobody waits for; `access` says who may call them. `start`, `stop`, `suspend` and `devices` are the verbs of VMs
//! that take a while, `records` those that are done with one transaction, of which `setters` checks what the setters of
//! fields require of other objects; `events`, `tasks`, `messages` and `advice` are those of which nothing in the world
//! changes. `attach` says which devices a VM has. `upgrade` moves a VM to a new worker, and `settle` decides which of the two
//! has it. `machine` says what the host is. `watch` follows each worker to its end. `storage` has the images of disks.
//! `slot` is the begin and end of an operation on a VM in the store, `occupied` of one on a device or a disk, `later` what
//! waits for a store that is full. `plan`, `owner` and `observe` decide and know nothing of the world. `memory` and
//! `descriptors` are what the VMs take of it.

mod access;
mod adopt;
mod advice;
mod attach;
mod calls;
mod descriptors;
mod devices;
mod events;
mod jobs;
mod later;
mod machine;
mod memory;
mod messages;
mod observe;
mod occupied;
mod open;
mod options;
mod owner;
pub(crate) mod plan;
mod records;
mod setters;
mod settle;
mod slot;
mod start;
mod stop;
mod storage;
mod suspend;
mod tasks;
mod upgrade;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;
use xvirt_worker::protocol::ConsoleKind;

#[cfg(feature = "simulation")]
pub use crate::clock::ManualHostClock;
pub use crate::clock::{HostClock, SystemHostClock};
pub use options::HostOptions;

use self::access::Access;
pub(crate) use self::events::Events;
use self::events::name_of;
use self::jobs::Jobs;
use self::later::Later;
use self::memory::Ledger;
pub(crate) use self::owner::Phase;
pub(crate) use self::slot::{owner_of, put as put_vm};
use crate::event::Messages;
use crate::model::{self, DateTime, Ref, VmPowerState};
use crate::objects::Objects;
use crate::operation::{Caller, Failure, Login, Verbs, codes, power};
use crate::sync::lock;
use crate::task::Tasks;
use crate::worker::launch::Launcher;
use crate::worker::{Places, Worker};

/// A host: its VMs, their disks and networks, and the tasks that change them.
///
/// Each VM runs in a process of its own, the *worker*, which lives on when this is dropped or its process ends; the next
/// `Host` over the same folders goes on with it. There is one at a time: the state store is locked.
///
/// All calls block, and may be made from several threads at once.
pub struct Host {
    inner: Arc<Inner>,
    maintenance: Vec<JoinHandle<()>>,
}

/// What the threads of a host share.
pub(crate) struct Inner {
    pub(crate) options: HostOptions,
    /// This host, and its pool.
    pub(crate) host: Ref<model::Host>,
    pub(crate) pool: Ref<model::Pool>,
    /// The boot of this host.
    pub(crate) boot: String,
    pub(crate) report: xvirt_core::host::Host,
    pub(crate) objects: Objects,
    pub(crate) events: Events,
    pub(crate) tasks: Tasks,
    pub(crate) messages: Messages,
    access: Access,
    pub(crate) launcher: Launcher,
    pub(crate) places: Places,
    pub(crate) workers: Mutex<BTreeMap<Uuid, Arc<Worker>>>,
    pub(crate) memory: Mutex<Ledger>,
    pub(crate) jobs: Jobs,
    pub(crate) later: Later,
    pub(crate) turns: storage::Turns,
    watchers: Mutex<Vec<JoinHandle<()>>>,
    closing: AtomicBool,
}

impl Host {
    /// Begins the service of this host: opens its state, adopts the workers that live, ends what an earlier service left
    /// undone, and starts the VMs that should run.
    ///
    /// # Errors
    /// Another service uses the state; a folder or the state cannot be used. No VM is touched then.
    pub fn open(options: HostOptions) -> Result<Self, Failure> {
        let inner = open::open(options)?;
        let mut host = Self { inner: Arc::clone(&inner), maintenance: Vec::new() };
        let (followed, maintained) = (Arc::clone(&inner), inner);
        host.maintain("later", move || maintained.later_loop())?;
        host.maintain("events", move || followed.events.feed.run(tasks::COLLECT, || followed.collect_tasks()))?;
        Ok(host)
    }

    /// Starts a thread that ends when the host is closed.
    fn maintain(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
        let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run);
        self.maintenance.push(thread.map_err(|error| codes::internal(format!("cannot start a thread: {error}")))?);
        Ok(())
    }

    /// Ends all waits for events, now and later, with an error: for when the service ends.
    pub fn end_waits(&self) {
        self.inner.events.feed.close();
    }

    /// Forgets what a caller has registered for, and ends its waits with `SESSION_INVALID`: for when its session ends.
    pub fn forget_caller(&self, caller: &Caller) {
        self.inner.events.leave(&name_of(caller));
    }

    /// The reference of this host.
    pub fn reference(&self) -> Ref<model::Host> {
        self.inner.host
    }

    /// What this host lacks, with what to do about it; its VMs run nevertheless.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.inner.report.problems().iter().map(ToString::to_string).collect();
        if let (false, Err(error)) = (self.inner.launcher.systemd, &self.inner.launcher.groups) {
            problems.push(format!(
                "VMs get no control groups of their own: {error}; mount control groups of version 2, writable for the service"
            ));
        }
        problems
    }
}

impl Verbs for Host {
    fn call(&self, caller: &Caller, verb: &str, parameters: Vec<Value>) -> Result<Value, Failure> {
        self.inner.call(caller, verb, parameters)
    }

    fn console(&self, _caller: &Caller, reference: &str) -> Result<UnixStream, Failure> {
        let inner = &self.inner;
        let vm = inner.vm_of_console(reference)?;
        let record = inner.objects.get(vm)?;
        let states = [VmPowerState::Running, VmPowerState::Paused];
        let worker = inner.worker_or_why(vm)?;
        let worker = worker.ok_or_else(|| power::bad_power_state(vm, &states, record.power_state))?;
        let connected = worker.connect(Some(END_PATIENCE));
        let console = connected.and_then(|(connection, _)| connection.console(ConsoleKind::Serial));
        let console = console.map_err(|error| codes::of_worker(&error))?;
        let unlimited = console.set_read_timeout(None).and_then(|()| console.set_write_timeout(None));
        unlimited.map_err(|error| codes::internal(format!("cannot use a console: {error}")))?;
        Ok(console)
    }

    fn log_in(&self, login: &Login) -> Result<String, Failure> {
        self.inner.log_in(login)
    }

    fn caller(&self, session: &str, from: Option<IpAddr>) -> Result<Caller, Failure> {
        self.inner.caller_of(session, from)
    }
}

impl Inner {
    pub(crate) fn worker(&self, vm: Uuid) -> Option<Arc<Worker>> {
        lock(&self.workers).get(&vm).cloned()
    }

    pub(crate) fn now(&self) -> DateTime {
        DateTime::from_unix(self.options.clock.unix()).unwrap_or_default()
    }

    /// Milliseconds since the host was started.
    pub(crate) fn since_boot(&self) -> u64 {
        u64::try_from(self.options.clock.since_boot().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn vm_of_console(&self, reference: &str) -> Result<Ref<model::Vm>, Failure> {
        let unknown = || codes::handle_invalid("console", reference);
        let vm: Ref<model::Vm> = reference.parse().map_err(|_| unknown())?;
        let console = Ref::<model::Console>::new(vm.uuid().ok_or_else(unknown)?);
        match self.objects.get(console) {
            Ok(console) => Ok(console.vm),
            Err(failure) if failure.code == "HANDLE_INVALID" => Ok(vm),
            Err(failure) => Err(failure),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let inner = &self.inner;
        inner.closing.store(true, Ordering::SeqCst);
        inner.tasks.cancel_all();
        inner.jobs.close();
        let workers: Vec<_> = lock(&inner.workers).values().cloned().collect();
        workers.iter().for_each(|worker| worker.give_up_watch());
        let watchers = std::mem::take(&mut *lock(&inner.watchers));
        inner.later.close();
        inner.events.feed.close();
        for thread in watchers.into_iter().chain(std::mem::take(&mut self.maintenance)) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
        if let Ok(groups) = &inner.launcher.groups {
            groups.remove_parents();
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("reference", &self.inner.host).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("host", &self.host).finish_non_exhaustive()
    }
}

/// The stack of a thread of the service.
const STACK: usize = 512 << 10;
/// How long a worker may take to end once its VM is off.
pub(crate) const END_PATIENCE: Duration = Duration::from_secs(60);
