//! The files of a SQLite store: who may read them, who uses them, and what is refused.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use xvirt_pool::ErrorKind;
use xvirt_pool::store::{SqliteOptions, SqliteStore, Store, Transaction, snapshot_to_file};

use crate::engines::{Engine, Sqlite, commit, keys, put};

fn open(path: &Path) -> xvirt_pool::Result<SqliteStore> {
    SqliteStore::open(path, &SqliteOptions::default())
}

fn create(path: &Path) -> xvirt_pool::Result<SqliteStore> {
    SqliteStore::create(path, &SqliteOptions::default())
}

fn modes(folder: &Path) -> Vec<(String, u32)> {
    let mode = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().permissions().mode() & 0o777)
    };
    let mut modes: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).map(mode).collect();
    modes.sort();
    modes
}

#[test]
fn only_this_user_can_read_the_files() {
    let mut engine = Sqlite::new();
    put(&*engine.store(), "/secret", "1");
    let expected = ["0.db", "0.db-shm", "0.db-wal", "0.db.lock"].map(|name| (name.to_owned(), 0o600));
    assert_eq!(modes(engine.folder.path()), expected);
    engine.close();
    // Once it is closed, everything is in one file.
    assert_eq!(modes(engine.folder.path()), [expected[0].clone(), expected[3].clone()]);
    fs::set_permissions(engine.path(), Permissions::from_mode(0o644)).unwrap();
    let store = open(&engine.path()).unwrap();
    put(&store, "/secret", "2");
    assert_eq!(modes(engine.folder.path()), expected);
    let snapshot = engine.folder.path().join("snapshot");
    snapshot_to_file(&store, &snapshot).unwrap();
    snapshot_to_file(&store, &snapshot).unwrap();
    let names = modes(engine.folder.path());
    assert!(names.iter().all(|(_, mode)| *mode == 0o600) && names.len() == 5, "{names:?}");
    let restored = engine.folder.path().join("restored.db");
    let restored =
        SqliteStore::restore(restored, &mut File::open(&snapshot).unwrap(), 0, &SqliteOptions::default()).unwrap();
    assert_eq!(restored.get("/secret", None).unwrap().unwrap().value, b"2");
}

#[test]
fn only_one_store_uses_the_files() {
    let mut engine = Sqlite::new();
    let error = open(&engine.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    let holder = format!("is in use by process {}; stop that process", std::process::id());
    assert!(error.to_string().contains(&holder), "{error}");
    let mut watch = engine.store().watch("/", engine.store().position().unwrap().cursor).unwrap();
    // A watch that is forgotten does not keep the store.
    engine.restart();
    assert_eq!(watch.next(crate::engines::LONG).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(open(&engine.path()).unwrap_err().kind(), ErrorKind::Busy);
}

#[test]
fn a_store_is_neither_replaced_nor_made_by_accident() {
    let mut engine = Sqlite::new();
    put(&*engine.store(), "/a", "1");
    engine.close();
    assert_eq!(create(&engine.path()).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let absent = engine.folder.path().join("absent.db");
    let error = open(&absent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.remedy().unwrap().contains("restore"), "{error}");
    // The log of a store that was removed would be taken for the new one's.
    let log = engine.folder.path().join("absent.db-wal");
    fs::write(&log, "old").unwrap();
    let error = create(&absent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("absent.db-wal exists; it belongs to a store that was removed"), "{error}");
    fs::remove_file(log).unwrap();
    // A creation that was cut off.
    fs::write(engine.folder.path().join("absent.db.part"), vec![1; 5000]).unwrap();
    fs::write(engine.folder.path().join("absent.db.part-journal"), vec![1; 5000]).unwrap();
    put(&create(&absent).unwrap(), "/b", "1");
    assert_eq!(keys(&open(&absent).unwrap(), "/"), ["/b"]);
    assert_eq!(keys(&open(&engine.path()).unwrap(), "/"), ["/a"]);
    let missing = create(Path::new("/nonexistent/folder/a.db")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_no_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    for bytes in [vec![], b"short".to_vec(), vec![0; 8192], vec![b'x'; 8192]] {
        fs::write(&path, &bytes).unwrap();
        let error = open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("a.db") && error.remedy().is_some(), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_newer_store_is_refused_unchanged() {
    let mut engine = Sqlite::new();
    put(&*engine.store(), "/a", "1");
    engine.close();
    // `user_version` of the file format of SQLite.
    let mut file = OpenOptions::new().write(true).open(engine.path()).unwrap();
    file.seek(SeekFrom::Start(60)).unwrap();
    file.write_all(&9_u32.to_be_bytes()).unwrap();
    let before = fs::read(engine.path()).unwrap();
    let error = open(&engine.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("has version 9 of the tables"), "{error}");
    assert_eq!(fs::read(engine.path()).unwrap(), before);
}

#[test]
fn a_damaged_page_is_found_when_the_store_is_opened() {
    let mut engine = Sqlite::new();
    let store = engine.store();
    for number in 0..20 {
        let many = (0..50).fold(Transaction::new(), |all, key| all.put(format!("/k/{number}/{key}"), [7; 100]));
        commit(&*store, &many);
    }
    drop(store);
    engine.close();
    let whole = fs::read(engine.path()).unwrap();
    let pages = whole.len() / 4096;
    assert!(pages > 50);
    for page in (0..pages).step_by(5) {
        let mut damaged = whole.clone();
        damaged[page * 4096..][..4096].fill(0x55);
        fs::write(engine.path(), &damaged).unwrap();
        let error = open(&engine.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "page {page}: {error}");
    }
    for pages in [1, 2, pages / 2, pages - 1] {
        fs::write(engine.path(), &whole[..pages * 4096]).unwrap();
        assert_eq!(open(&engine.path()).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    fs::write(engine.path(), &whole).unwrap();
    assert_eq!(keys(&open(&engine.path()).unwrap(), "/").len(), 1000);
}

#[test]
fn a_lock_file_tells_which_process_it_was() {
    let mut engine = Sqlite::new();
    engine.restart();
    let mut number = String::new();
    File::open(engine.folder.path().join("0.db.lock")).unwrap().read_to_string(&mut number).unwrap();
    assert_eq!(number, std::process::id().to_string());
}
