//! Where a host keeps things, and how it works.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{HostClock, SystemHostClock};
use crate::store::SqliteOptions;

/// Where a host keeps its state, and how it works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostOptions {
    /// The folder of everything that outlives a start of the host: the state store, kernels, logs, disks.
    pub state: PathBuf,
    /// The folder of what does not: sockets. Its path is short, as that of a socket must be.
    pub run: PathBuf,
    /// The program `xvirt-worker`.
    pub worker: PathBuf,
    /// The user and the group that workers become; the service's own if absent.
    pub worker_identity: Option<(u32, u32)>,
    /// Bytes of memory that no VM gets.
    pub memory_reserve: u64,
    /// A VM that crashes sooner than this after its start is not started again: 120 s, as XenServer has it.
    pub restart_brake: Duration,
    /// How long a guest may take to shut down: 20 minutes, as XenServer has it.
    pub shutdown_timeout: Duration,
    /// How the state store works.
    pub store: SqliteOptions,
    /// The clocks.
    pub clock: Arc<dyn HostClock>,
}

impl HostOptions {
    /// A host that keeps its state in the folder `state`, and sockets in the folder `run`. Its workers' program is next to
    /// this one.
    pub fn new(state: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("xvirt-worker")));
        Self {
            state: state.into(),
            run: run.into(),
            worker: beside.unwrap_or_else(|| "/usr/bin/xvirt-worker".into()),
            worker_identity: None,
            memory_reserve: 256 << 20,
            restart_brake: Duration::from_secs(120),
            shutdown_timeout: Duration::from_secs(1200),
            store: SqliteOptions::default(),
            clock: Arc::new(SystemHostClock),
        }
    }

    /// Sets the program `xvirt-worker`.
    #[must_use]
    pub fn worker(mut self, program: impl Into<PathBuf>) -> Self {
        self.worker = program.into();
        self
    }

    /// Sets the user and the group that workers become.
    #[must_use]
    pub fn worker_identity(mut self, uid: u32, gid: u32) -> Self {
        self.worker_identity = Some((uid, gid));
        self
    }

    /// Sets how much memory no VM gets, in bytes.
    #[must_use]
    pub fn memory_reserve(mut self, bytes: u64) -> Self {
        self.memory_reserve = bytes;
        self
    }

    /// Sets how long a VM must have run to be started again after a crash.
    #[must_use]
    pub fn restart_brake(mut self, time: Duration) -> Self {
        self.restart_brake = time;
        self
    }

    /// Sets how long a guest may take to shut down.
    #[must_use]
    pub fn shutdown_timeout(mut self, time: Duration) -> Self {
        self.shutdown_timeout = time;
        self
    }

    /// Sets how the state store works.
    #[must_use]
    pub fn store(mut self, options: SqliteOptions) -> Self {
        self.store = options;
        self
    }

    /// Sets the clocks.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn HostClock>) -> Self {
        self.clock = clock;
        self
    }

    /// The folder of kernels, which `PV_kernel` and `PV_ramdisk` name.
    pub fn kernels(&self) -> PathBuf {
        self.state.join("kernels")
    }

    /// The folder of the logs of VMs.
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// The file of the private key of this host and its certificates, which XenAPI's clients see.
    pub fn certificate(&self) -> PathBuf {
        self.state.join("certificate.pem")
    }

    /// The folder of the first repository of disks.
    pub fn disks(&self) -> PathBuf {
        self.state.join("disks")
    }

    pub(crate) fn store_path(&self) -> PathBuf {
        self.state.join("state.db")
    }

    pub(crate) fn identity_path(&self) -> PathBuf {
        Path::new(&self.state).join("host-uuid")
    }
}
