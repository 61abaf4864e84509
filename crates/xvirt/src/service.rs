//! `xvirt host run`: the host service.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use xvirt_pool::xenapi::{Limits, Listeners, Server};
use xvirt_pool::{Host, HostOptions};

use crate::account::Account;
use crate::arguments::HostRun;
use crate::failure::{Failure, Result};
use crate::size::Size;
use crate::{listen, log, notify};

/// How long requests may take to be answered when the service stops. What takes longer is a task, which goes on when the
/// service is there again.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the service until it is told to stop.
pub fn run(options: &HostRun, socket: Option<PathBuf>) -> Result<()> {
    log::start(options.log);
    raise_descriptors();
    make_run_folder(&options.run)?;
    let socket = socket.unwrap_or_else(|| options.run.join("xvirt.sock"));
    let host = open(options)?;
    let waits = Arc::clone(&host);
    let serving = format!("cannot serve at {}", socket.display());
    let mut listeners = Listeners::socket(socket);
    listen::open(&mut listeners, options);
    let server = Server::start(host, listeners, Limits::default()).map_err(|error| Failure::new(serving, error))?;
    tracing::info!(socket = %server.path().display(), version = env!("CARGO_PKG_VERSION"), "the host service is ready");
    notify::notify("READY=1");
    let why = wait_for_end()?;
    tracing::info!(signal = why, "the host service stops; VMs run on");
    notify::notify("STOPPING=1");
    waits.end_waits();
    server.stop(GRACE);
    Ok(())
}

/// Opens this host.
fn open(options: &HostRun) -> Result<Arc<Host>> {
    let mut host = HostOptions::new(&options.root, &options.run);
    if let Some(worker) = &options.worker {
        host = host.worker(worker);
    }
    if let Some(Account { uid, gid }) = options.worker_user {
        host = host.worker_identity(uid, gid);
    }
    if let Some(Size(bytes)) = options.memory_reserve {
        host = host.memory_reserve(bytes);
    }
    let what = format!("cannot open the host in {}", options.root.display());
    let host = Host::open(host).map_err(|failure| Failure::of_verb(what, failure))?;
    for problem in host.problems() {
        tracing::warn!("{problem}");
    }
    Ok(Arc::new(host))
}

/// Waits for the signal that ends the service, and returns its name.
fn wait_for_end() -> Result<&'static str> {
    let cannot = |error| Failure::new("cannot wait for signals", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    runtime.block_on(async {
        let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (mut terminate, mut interrupt) = (terminate.map_err(cannot)?, interrupt.map_err(cannot)?);
        tokio::select! {
            _ = terminate.recv() => Ok("SIGTERM"),
            _ = interrupt.recv() => Ok("SIGINT"),
        }
    })
}

/// Connections, workers and disks take many descriptors, of which a process has few unless it asks for more.
fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "cannot raise the limit on descriptors");
    }
}

/// The group of the service may look for its socket in there.
fn make_run_folder(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o750).create(folder);
    made.map_err(|error| {
        Failure::new(format!("cannot make {}", folder.display()), format!("{error}; choose another with --run"))
    })
}
