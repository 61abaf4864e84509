//! Where the files of workers are: one folder for each VM that runs.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;
use xvirt_worker::{Cause, Exit, ExitRecord};

use crate::operation::{Failure, codes};

/// The longest path of a unix socket, in bytes (unix(7)).
const MAX_SOCKET_PATH: usize = 107;
/// A log that is larger than this is begun anew with the next start, in bytes.
const MAX_LOG: u64 = 1 << 20;

/// How a run of a VM ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As the worker recorded it.
    Recorded(Cause),
    /// The worker died without saying why.
    Unrecorded,
    /// The host was started again since.
    HostRestarted,
}

/// The folder of all workers of this host.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    folder: PathBuf,
}

/// The folder of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    folder: PathBuf,
}

impl Places {
    /// Makes the folder, in the folder `run` of the service.
    pub(crate) fn open(run: &Path) -> Result<Self, Failure> {
        let places = Self { folder: run.join("workers") };
        let longest = places.of(Uuid::nil()).socket();
        if longest.as_os_str().len() > MAX_SOCKET_PATH {
            let what = format!("the path of {} is too long for a socket", longest.display());
            return Err(codes::internal(what).with_remedy("use a folder with a shorter path, such as /run/xvirt"));
        }
        make(&places.folder)?;
        Ok(places)
    }

    /// The folder of a VM's worker.
    pub(crate) fn of(&self, vm: Uuid) -> Place {
        Place { folder: self.folder.join(vm.to_string()) }
    }

    /// The VMs that have folders.
    pub(crate) fn list(&self) -> Result<Vec<Uuid>, Failure> {
        let cannot = |error: io::Error| failed("list", &self.folder, &error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            if let Some(uuid) = name.to_str().and_then(|name| Uuid::try_parse(name).ok()) {
                found.push(uuid);
            }
        }
        Ok(found)
    }
}

impl Place {
    /// Makes the folder, if it is not there.
    pub(crate) fn make(&self) -> Result<(), Failure> {
        make(&self.folder)
    }

    /// The socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Removes the socket of a worker that has ended.
    pub(crate) fn remove_socket(&self) -> Result<(), Failure> {
        absent(fs::remove_file(self.socket())).map_err(|error| failed("remove", &self.socket(), &error))
    }

    /// An empty exit record.
    pub(crate) fn new_exit_record(&self) -> Result<File, Failure> {
        let path = self.folder.join("exit");
        File::create(&path).map_err(|error| failed("create", &path, &error))
    }

    /// The log, open to append.
    pub(crate) fn log(&self, path: &Path) -> Result<File, Failure> {
        let large = fs::metadata(path).is_ok_and(|log| log.len() > MAX_LOG);
        let mut options = File::options();
        options.create(true).append(true);
        let log = options.open(path).map_err(|error| failed("open", path, &error))?;
        if large {
            log.set_len(0).map_err(|error| failed("empty", path, &error))?;
        }
        Ok(log)
    }

    /// How the worker ended.
    pub(crate) fn end(&self) -> End {
        let read = File::open(self.folder.join("exit")).map(|file| ExitRecord::read(&file));
        match read {
            Ok(Ok(Exit::Recorded(record))) => End::Recorded(record.cause),
            Ok(Ok(Exit::Unrecorded)) => End::Unrecorded,
            Ok(Err(error)) => {
                tracing::warn!(%error, folder = %self.folder.display(), "an exit record cannot be read");
                End::Unrecorded
            }
            Err(_) => End::Unrecorded,
        }
    }

    /// Why a worker that has ended could not build its VM, if it says so.
    pub(crate) fn why_not_built(&self) -> Option<xvirt_worker::Error> {
        match self.end() {
            End::Recorded(Cause::BuildFailed { error } | Cause::NotStarted { error }) => Some(error),
            _ => None,
        }
    }

    /// Removes the folder of a worker that has ended.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        absent(fs::remove_dir_all(&self.folder)).map_err(|error| failed("remove", &self.folder, &error))
    }
}

fn make(folder: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| failed("create", folder, &error))
}

fn absent(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// The failure of something done to a file.
pub(crate) fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    let text = format!("cannot {what} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::new("OUT_OF_SPACE", [text]).with_remedy("make room on the file system")
        }
        io::ErrorKind::PermissionDenied => codes::internal(text).with_remedy("give the service the right to it"),
        _ => codes::internal(text),
    }
}
