//! The files of a store: created completely or not at all, locked, and checked when they are opened.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::failure::{damaged, failed};
use super::write::Head;
use super::{SqliteOptions, apply, log, schema};
use crate::store::snapshot::{beside, sync_folder_of};
use crate::store::{Cursor, Pair};
use crate::{Error, ErrorKind, Result};

/// The mode of all files of a store: it has secrets.
const MODE: u32 = 0o600;
const PAGE: u64 = 4096;
/// How long SQLite waits for a lock that another connection holds, as while the log is recovered.
const PATIENCE: Duration = Duration::from_secs(10);
/// To how many bytes the log is cut when it begins again.
const LOG: i64 = 16 << 20;

/// The path from the root, which stays the same if the process changes its folder, and is no URI for SQLite.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| cannot("find", path, error))
}

fn cannot(verb: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot {verb} the store {}", path.display()), error)
}

/// What keeps other processes from the files of a store. It ends with the process.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it to a child that was forked and has not called exec(2) yet. It cannot fail.
        let _ = self.0.unlock();
    }
}

/// Locks the store against other processes.
pub(super) fn lock(path: &Path) -> Result<Lock> {
    let failed = |error| cannot("lock", path, error);
    let name = beside(path, ".lock");
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message; the holder may just be writing it.
            let _ = file.take(20).read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "another process".to_owned(),
                number => format!("process {number}"),
            };
            return Err(Error::new(ErrorKind::Busy, format!("the store {} is in use by {holder}", path.display()))
                .with_remedy("stop that process, or wait for its end"));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let number = std::process::id().to_string();
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(number.as_bytes()));
    match written {
        // The number is only for messages, and a full disk must not prevent reading.
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(failed(error)),
        _ => Ok(Lock(file)),
    }
}

/// Checks that there is no store, and nothing left of one.
pub(super) fn check_absent(path: &Path) -> Result<()> {
    let log = beside(path, "-wal");
    for (file, remedy) in
        [(path, "open it, or choose another place"), (&log, "it belongs to a store that was removed: remove it, too")]
    {
        if file.symlink_metadata().is_ok() {
            let what = format!("cannot create the store {}: {} exists", path.display(), file.display());
            return Err(Error::new(ErrorKind::AlreadyExists, what).with_remedy(remedy));
        }
    }
    Ok(())
}

/// Creates a store that begins at the cursor which `fill` returns, under another name until it is complete.
pub(super) fn create(path: &Path, max_size: u64, fill: impl FnOnce(&mut Contents<'_>) -> Result<Cursor>) -> Result<()> {
    let part = beside(path, ".part");
    let done = build(&part, max_size, fill).and_then(|()| {
        let named = fs::rename(&part, path).and_then(|()| sync_folder_of(path));
        named.map_err(|error| cannot("create", path, error))
    });
    if done.is_err() {
        // Nothing more can be done about a part that stays; the next attempt removes it.
        let _ = remove_part(&part);
    }
    done
}

fn remove_part(part: &Path) -> io::Result<()> {
    for file in [part, &beside(part, "-journal")] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn build(part: &Path, max_size: u64, fill: impl FnOnce(&mut Contents<'_>) -> Result<Cursor>) -> Result<()> {
    let what = format!("cannot create the store {}", part.display());
    let failed = |error| failed(&what, error);
    remove_part(part).map_err(|error| cannot("remove what is left of", part, error))?;
    let made = OpenOptions::new().write(true).create_new(true).mode(MODE).open(part);
    made.map_err(|error| cannot("create", part, error))?;
    let mut connection = connect(part).map_err(failed)?;
    limit(&connection, max_size).map_err(failed)?;
    schema::create(&mut connection, part)?;
    let transaction = connection.transaction().map_err(failed)?;
    let cursor = fill(&mut Contents { transaction: &transaction })?;
    Head::begin(&transaction, cursor).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(Error::new(ErrorKind::Io, what)
            .because("the file system has no shared memory for a write-ahead log")
            .with_remedy("put the store on a local file system"));
    }
    connection.close().map_err(|(_, error)| failed(error))?;
    File::open(part).and_then(|file| file.sync_all()).map_err(|error| cannot("sync", part, error))
}

/// What a new store has from the beginning.
pub(super) struct Contents<'a> {
    transaction: &'a rusqlite::Transaction<'a>,
}

impl Contents<'_> {
    pub(super) fn add(&mut self, pair: &Pair) -> Result<()> {
        apply::insert(self.transaction, pair, None).map_err(|error| failed("cannot restore the store", error))
    }
}

/// A connection for reading. The file must exist.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // A full disk must not prevent reading.
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

fn limit(connection: &Connection, max_size: u64) -> rusqlite::Result<()> {
    let pages = i64::try_from((max_size / PAGE).clamp(1, u64::from(u32::MAX) - 1)).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG, |_| Ok(()))
}

/// The connection that writes, after the store was checked and brought to this version.
pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Connection> {
    let metadata = path.metadata().map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let error = cannot("open", path, error);
        if missing { error.with_remedy("create a store, or restore it from a snapshot") } else { error }
    })?;
    if !metadata.is_file() {
        return Err(damaged(path, "it is not a file"));
    }
    if metadata.len() < PAGE {
        // SQLite would take an empty file for a new database.
        return Err(damaged(path, format!("it has only {} bytes", metadata.len())));
    }
    if metadata.permissions().mode() & 0o777 != MODE {
        fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(|error| cannot("protect", path, error))?;
    }
    let loss = log::damage(&beside(path, "-wal")).map_err(|error| cannot("read the log of", path, error))?;
    if let Some(loss) = loss.filter(|_| !options.accept_loss) {
        return Err(lost(path, loss));
    }
    let what = format!("cannot open the store {}", path.display());
    let failed = |error| failed(&what, error);
    let mut connection = connect(path).map_err(failed)?;
    limit(&connection, options.max_size).map_err(failed)?;
    schema::upgrade(&mut connection, path)?;
    check(&connection, path)?;
    if loss.is_some() {
        Head::begin_epoch(&connection).map_err(failed)?;
    }
    // What is left in the log of commits that were cut off must not be taken for damage later. On a full disk it stays.
    let _ = empty_log(&connection);
    Ok(connection)
}

/// Brings everything from the log into the database. Returns whether the log is empty now: readers may prevent it.
pub(super) fn empty_log(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

fn lost(path: &Path, loss: log::Damage) -> Error {
    let why =
        format!("its log is damaged at byte {}, and {} commits after that cannot be read", loss.offset, loss.commits);
    damaged(path, why).with_remedy(
        "restore it from a snapshot, or from another member of the pool; or open it with `accept_loss`, without what was \
         committed after the damage",
    )
}

/// Checks the structure of the file, and that its contents do not contradict each other.
fn check(connection: &Connection, path: &Path) -> Result<()> {
    let what = format!("cannot check the store {}", path.display());
    let failed = |error| failed(&what, error);
    let mut found = connection.prepare("PRAGMA integrity_check(3)").map_err(failed)?;
    let found = found.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
    let found: Vec<String> = found.collect::<rusqlite::Result<_>>().map_err(failed)?;
    if found != ["ok"] {
        return Err(damaged(path, found.join(", ")));
    }
    // Each finds what must not be.
    for (query, why) in [
        ("SELECT count(*) <> 1 FROM store", "it has no revision"),
        ("SELECT count(*) FROM store WHERE epoch < 1 OR compacted NOT BETWEEN 0 AND revision", "its revision is wrong"),
        (
            "SELECT count(*) FROM pair, store WHERE max(mod_revision, ifnull(ended, 0)) > revision
             OR create_revision > mod_revision OR ended <= mod_revision",
            "pairs have wrong revisions",
        ),
        (
            "SELECT count(*) FROM pair WHERE ended IS NULL AND lease IS NOT NULL AND lease NOT IN (SELECT id FROM lease)",
            "the leases of pairs are missing",
        ),
        ("SELECT count(*) FROM lease, store WHERE lease.id > last_lease", "leases have wrong numbers"),
    ] {
        if connection.query_row(query, [], |row| row.get::<_, i64>(0)).map_err(failed)? != 0 {
            return Err(damaged(path, why));
        }
    }
    Ok(())
}
