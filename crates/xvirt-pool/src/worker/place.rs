//! Where the files of workers are: one folder for each VM that runs, with the socket and the exit record of its worker.
//!
//! A worker that is to take a VM over has its files in the folder [`BESIDE`] there. It appears with all of its files, and
//! is empty once they have taken the place of the old worker's. So what a killed service has left says how far it was.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use uuid::Uuid;
use xvirt_worker::{Cause, Exit, ExitRecord};

use super::identity::Identity;
use crate::operation::{Failure, codes};

/// The folder of the worker that is to take the VM over, and how it is called until its files are there.
const BESIDE: &str = "new";
const UNFINISHED: &str = "making";
const SOCKET: &str = "socket";
const EXIT: &str = "exit";
/// Which process the worker is.
const PROCESS: &str = "process";
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
        let longest = places.of(Uuid::nil()).beside().socket();
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
        self.folder.join(SOCKET)
    }

    /// Removes the socket of a worker that has ended.
    pub(crate) fn remove_socket(&self) -> Result<(), Failure> {
        absent(fs::remove_file(self.socket())).map_err(|error| failed("remove", &self.socket(), &error))
    }

    /// An empty exit record.
    pub(crate) fn new_exit_record(&self) -> Result<File, Failure> {
        let path = self.folder.join(EXIT);
        File::create(&path).map_err(|error| failed("create", &path, &error))
    }

    /// Notes which process the worker is.
    pub(crate) fn note_process(&self, identity: Identity) {
        let path = self.folder.join(PROCESS);
        if let Err(error) = fs::write(&path, identity.text()) {
            tracing::warn!(%error, path = %path.display(), "a worker cannot be noted; it cannot be ended if it hangs");
        }
    }

    /// The process of the worker, if it was noted and lives.
    pub(crate) fn process(&self) -> Option<OwnedFd> {
        let noted = fs::read_to_string(self.folder.join(PROCESS)).ok()?;
        Identity::parse(&noted)?.process()
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
        let read = File::open(self.folder.join(EXIT)).map(|file| ExitRecord::read(&file));
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

    /// The place of the worker that is to take the VM over.
    pub(crate) fn beside(&self) -> Self {
        Self { folder: self.folder.join(BESIDE) }
    }

    /// Makes the files of a worker that is to take the VM over: its socket and its exit record.
    ///
    /// # Errors
    /// A file cannot be made, or there is such a worker.
    pub(crate) fn make_beside(&self) -> Result<(UnixListener, File), Failure> {
        let unfinished = self.unfinished();
        unfinished.remove()?;
        unfinished.make()?;
        let socket = unfinished.bind()?;
        let record = unfinished.new_exit_record()?;
        let beside = self.beside();
        fs::rename(&unfinished.folder, &beside.folder).map_err(|error| failed("make", &beside.folder, &error))?;
        Ok((socket, record))
    }

    /// Listens on the socket, until a worker does.
    pub(crate) fn bind(&self) -> Result<UnixListener, Failure> {
        UnixListener::bind(self.socket()).map_err(|error| failed("bind", &self.socket(), &error))
    }

    /// What is left of a worker that is or was to take the VM over.
    pub(crate) fn left_beside(&self) -> Result<LeftBeside, Failure> {
        let beside = self.beside();
        match fs::read_dir(&beside.folder).map(|mut entries| entries.next()) {
            Ok(None) => Ok(LeftBeside::Moved),
            Ok(Some(_)) => Ok(LeftBeside::Worker),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LeftBeside::Nothing),
            Err(error) => Err(failed("list", &beside.folder, &error)),
        }
    }

    /// Puts the files of the worker that has taken the VM over in the place of those of the old one. What was done of it
    /// is not done again.
    pub(crate) fn move_beside(&self) -> Result<(), Failure> {
        let beside = self.beside();
        // If that of the new one is not noted, that of the old one must not be taken for it.
        let noted = self.folder.join(PROCESS);
        absent(fs::remove_file(&noted)).map_err(|error| failed("remove", &noted, &error))?;
        for name in [EXIT, PROCESS, SOCKET] {
            let (from, to) = (beside.folder.join(name), self.folder.join(name));
            absent(fs::rename(&from, &to)).map_err(|error| failed("move", &from, &error))?;
        }
        Ok(())
    }

    /// Forgets a move that is in the store. The files of another one, which may have begun since, stay.
    pub(crate) fn forget_move(&self) {
        // Fails if it has files.
        let _ = fs::remove_dir(self.beside().folder);
    }

    /// Removes what is left beside. Nobody else may use it.
    pub(crate) fn remove_beside(&self) -> Result<(), Failure> {
        self.unfinished().remove()?;
        self.beside().remove()
    }

    fn unfinished(&self) -> Self {
        Self { folder: self.folder.join(UNFINISHED) }
    }
}

/// What is left of a worker that is or was to take a VM over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftBeside {
    /// There is none.
    Nothing,
    /// Its files: it is not decided which of the two has the VM.
    Worker,
    /// Its files are in the place of the old one's.
    Moved,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beside_says_how_far_a_move_was() {
        let folder = tempfile::tempdir().unwrap();
        let place = Places::open(folder.path()).unwrap().of(Uuid::nil());
        place.make().unwrap();
        place.new_exit_record().unwrap();
        drop(place.bind().unwrap());
        let left = || place.left_beside().unwrap();
        assert_eq!(left(), LeftBeside::Nothing);
        // A service was killed while it made the files.
        place.unfinished().make().unwrap();
        assert_eq!(left(), LeftBeside::Nothing);

        let (_socket, record) = place.make_beside().unwrap();
        assert_eq!(left(), LeftBeside::Worker);
        // There is one already.
        place.make_beside().unwrap_err();
        place.remove_beside().unwrap();
        assert_eq!((left(), place.unfinished().folder.exists()), (LeftBeside::Nothing, false));
        drop(record);

        let (_socket, record) = place.make_beside().unwrap();
        xvirt_worker::ExitRecord::new(None, Cause::GuestShutdown).write(&record).unwrap();
        // Half of it was done.
        fs::rename(place.beside().folder.join(EXIT), place.folder.join(EXIT)).unwrap();
        assert_eq!(left(), LeftBeside::Worker);
        place.move_beside().unwrap();
        assert_eq!((left(), place.end()), (LeftBeside::Moved, End::Recorded(Cause::GuestShutdown)));
        std::os::unix::net::UnixStream::connect(place.socket()).unwrap();
        place.move_beside().unwrap();
        assert_eq!(left(), LeftBeside::Moved);
        place.forget_move();
        assert_eq!(left(), LeftBeside::Nothing);
        // What has begun since is not forgotten.
        let _next = place.make_beside().unwrap();
        place.forget_move();
        assert_eq!(left(), LeftBeside::Worker);
    }
}
