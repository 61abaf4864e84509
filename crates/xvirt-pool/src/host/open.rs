//! The begin of a service: who it is, what it finds, and what it makes of that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::access::Access;
use super::later::FULL;
use super::owner::Owner;
use super::{HostOptions, Inner, Ledger, slot};
use crate::ErrorKind;
use crate::event::Messages;
use crate::model::{Host, HostMetrics, Message, Pool, Ref, Sr, Task, Vm, VmPowerState};
use crate::operation::{Failure, codes};
use crate::store::{SqliteStore, Store};
use crate::task::{self, Tasks};
use crate::worker::Places;
use crate::worker::group::Groups;
use crate::worker::launch::Launcher;
use crate::worker::place::failed;

/// How long what a killed service has left may keep its store, and how often that is looked at.
const LEFTOVER: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// Begins a service.
pub(crate) fn open(options: HostOptions) -> Result<Arc<Inner>, Failure> {
    for folder in [&options.state, &options.run, &options.kernels(), &options.logs(), &options.disks()] {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| failed("create", folder, &error))?;
    }
    let store: Arc<dyn Store> = Arc::new(open_store(&options)?);
    let uuid = identity(&options.identity_path())?;
    let events = super::Events::new(crate::event::Feed::new(Arc::clone(&store)));
    let objects = super::Objects::new(store, uuid, Arc::clone(&options.clock));
    // A full store has taken no change of an earlier service that is not in it.
    unless_full(objects.supersede_earlier())?;
    let report = xvirt_core::host::Host::probe().map_err(|error| codes::of_core(&error))?;
    let pool = objects.all::<Pool>()?.first().map_or_else(|| Ref::new(Uuid::new_v4()), |(pool, _)| *pool);
    let memory = report.memory().total.saturating_sub(options.memory_reserve);
    let boot = options.clock.boot();
    let boot =
        boot.map_err(|error| codes::internal(format!("cannot tell one start of the host from another: {error}")))?;
    let systemd = crate::worker::launch::has_systemd();
    let launcher = Launcher {
        program: options.worker.clone(),
        identity: options.worker_identity,
        logs: options.logs(),
        systemd,
        // Those that systemd makes are not ours to write.
        groups: if systemd { Err(std::io::Error::other("they are systemd's")) } else { Groups::open(None, uuid) },
    };
    let places = Places::open(&options.run)?;
    let access = Access::new(&options.state);
    let inner = Arc::new(Inner {
        options,
        host: Ref::new(uuid),
        pool,
        boot,
        report,
        objects,
        events,
        tasks: Tasks::default(),
        messages: Messages::default(),
        access,
        launcher,
        places,
        workers: Mutex::default(),
        memory: Mutex::new(Ledger::new(memory)),
        jobs: super::Jobs::default(),
        later: super::Later::default(),
        turns: super::storage::Turns::default(),
        watchers: Mutex::default(),
        closing: AtomicBool::new(false),
    });
    let described = inner.describe_host();
    if inner.objects.get(inner.host).is_ok() {
        unless_full(described)?
    } else {
        described?
    }
    inner.describe_roles();
    inner.remember_sessions()?;
    unless_full(inner.abandon_earlier())?;
    unless_full(inner.measure_earlier())?;
    let mut restarts: BTreeSet<Ref<Vm>> = inner.adopt()?.into_iter().collect();
    unless_full(inner.end_plugs())?;
    inner.end_tasks()?;
    unless_full(inner.end_occupations())?;
    unless_full(inner.describe_machine())?;
    inner.clean()?;
    restarts.extend(inner.power_on().or_else(|failure| unless_full(Err(failure)).map(|()| Vec::new()))?);
    restarts.into_iter().for_each(|vm| inner.start_by_itself(vm));
    Ok(inner)
}

/// A service begins on a full store too: VMs run, and are shut down.
fn unless_full(done: Result<(), Failure>) -> Result<(), Failure> {
    match done {
        Err(failure) if failure.code == FULL => {
            tracing::error!(%failure, "the host service begins, and cannot write what has changed");
            Ok(())
        }
        done => done,
    }
}

fn open_store(options: &HostOptions) -> Result<SqliteStore, Failure> {
    let path = options.store_path();
    let deadline = Instant::now() + LEFTOVER;
    loop {
        let opened = match SqliteStore::open(&path, &options.store) {
            Err(error) if error.kind() == ErrorKind::NotFound => SqliteStore::create(&path, &options.store),
            opened => opened,
        };
        match opened {
            // A service that was killed while it started a program: the child keeps the lock until it runs the program.
            Err(error) if error.kind() == ErrorKind::Busy && holder_is_gone(&path) && Instant::now() < deadline => {
                thread::sleep(LOOK);
            }
            opened => return Ok(opened?),
        }
    }
}

/// Whether the process that locked a store has ended.
fn holder_is_gone(store: &Path) -> bool {
    let number = fs::read_to_string(store.with_extension("db.lock")).unwrap_or_default();
    let number = number.trim().parse::<u32>().ok();
    // A process that has ended but was not waited for has no program.
    number.is_some_and(|number| fs::read_link(format!("/proc/{number}/exe")).is_err())
}

/// The UUID of this host, which it keeps in a file: the store may be that of several hosts.
fn identity(path: &Path) -> Result<Uuid, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Uuid::try_parse(text.trim()).map_err(|_| {
            codes::internal(format!("{} is not the UUID of a host", path.display()))
                .with_remedy("restore it: VMs of this host belong to that UUID")
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let uuid = Uuid::new_v4();
            let new = path.with_extension("new");
            let mut options = fs::File::options();
            options.create(true).truncate(true).write(true).mode(0o600);
            let written = options.open(&new).and_then(|mut file| {
                file.write_all(uuid.to_string().as_bytes())?;
                file.sync_all()
            });
            written.and_then(|()| fs::rename(&new, path)).map_err(|error| failed("write", path, &error))?;
            super::storage::sync_folders([path])?;
            Ok(uuid)
        }
        Err(error) => Err(failed("read", path, &error)),
    }
}

impl Inner {
    /// Writes the records of this host, its pool and its first repository, as far as they have changed: a service begins
    /// on a full store too.
    fn describe_host(&self) -> Result<(), Failure> {
        let uuid = self.host.uuid().unwrap_or_default();
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        let (repository, metrics, now) = (Uuid::new_v4(), Uuid::new_v4(), self.now());
        let memory = i64::try_from(self.report.memory().total).unwrap_or(i64::MAX);
        let no_repository = self.objects.all::<Sr>()?.is_empty();
        self.objects.change(|change| {
            let mut host = change.find(self.host)?.unwrap_or_else(|| Host {
                uuid: uuid.to_string(),
                name_label: name.clone(),
                ..Host::default()
            });
            host.hostname.clone_from(&name);
            host.enabled = true;
            if host.metrics.is_null() {
                host.metrics = Ref::new(metrics);
            }
            let measured = change.find(host.metrics)?.unwrap_or_default();
            if !measured.live || measured.memory_total != memory {
                let measured = HostMetrics {
                    uuid: host.metrics.uuid().unwrap_or_default().to_string(),
                    memory_total: memory,
                    live: true,
                    last_updated: now,
                    ..measured
                };
                change.put(host.metrics, &measured)?;
            }
            let mut pool = change.find(self.pool)?.unwrap_or_else(|| Pool {
                uuid: self.pool.uuid().unwrap_or_default().to_string(),
                master: self.host,
                // Otherwise no VM would start with the host, whatever its record says.
                other_config: [("auto_poweron".to_owned(), "true".to_owned())].into(),
                ..Pool::default()
            });
            if no_repository {
                let sr = Ref::<Sr>::new(repository);
                crate::host::storage::put_sr(change, sr, self.host, "Local disks", &self.options.disks())?;
                pool.default_sr = sr;
                pool.suspend_image_sr = sr;
            }
            change.put(self.pool, &pool)?;
            change.put(self.host, &host)
        })
    }

    /// Ends all other tasks of earlier services.
    fn end_tasks(&self) -> Result<(), Failure> {
        for (reference, task) in self.objects.all::<Task>()? {
            if task.resident_on != self.host || task::has_ended(&task) {
                continue;
            }
            let now = self.now();
            let _ = self.later.make(&self.objects, move |change| {
                let Some(mut task) = change.find(reference)? else { return Ok(()) };
                task::end(&mut task, &Err(task::interrupted()), now);
                change.put(reference, &task)
            });
        }
        self.collect_tasks();
        let mut messages = self.objects.all::<Message>()?;
        messages.sort_by_key(|(_, message)| message.timestamp);
        self.messages.remember(messages.iter().filter_map(|(message, _)| message.uuid()));
        Ok(())
    }

    /// Removes what no worker needs any more.
    fn clean(&self) -> Result<(), Failure> {
        let Ok(groups) = &self.launcher.groups else { return Ok(()) };
        let folders: BTreeSet<Uuid> = self.places.list()?.into_iter().collect();
        for vm in groups.list().into_iter().filter(|vm| !folders.contains(vm)) {
            match groups.require_empty(vm) {
                Ok(()) => groups.remove(vm),
                Err(failure) => tracing::error!(%vm, %failure, "a worker cannot be adopted"),
            }
        }
        Ok(())
    }

    /// The VMs that are to start because the host did. As XenServer has it, both the pool and the VM must say so. That they
    /// are to start is in the store before the start of the host counts as seen, so that no end of this service loses it.
    fn power_on(&self) -> Result<Vec<Ref<Vm>>, Failure> {
        let key = crate::objects::beside_of(self.host, "boot");
        if self.objects.beside::<String>(&key)?.as_deref() == Some(self.boot.as_str()) {
            return Ok(Vec::new());
        }
        let wants = |config: &BTreeMap<String, String>| config.get("auto_poweron").is_some_and(|value| value == "true");
        let all = wants(&self.objects.get(self.pool)?.other_config);
        let mut starting = Vec::new();
        for (vm, record) in self.objects.all::<Vm>()? {
            let halted = record.power_state == VmPowerState::Halted && !record.is_a_template;
            if !all || !halted || !wants(&record.other_config) {
                continue;
            }
            self.objects.change(|change| {
                let owner = slot::owner_of(change, vm)?;
                change.put_beside(&Owner::key(vm), &Owner { restart: true, ..owner })
            })?;
            starting.push(vm);
        }
        self.objects.change(|change| change.put_beside(&key, &self.boot))?;
        Ok(starting)
    }
}
