//! A full disk: writes say so, nothing is half there, reads go on, and writes do once there is room.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use xvirt_pool::store::{ManualClock, Outcome, SqliteOptions, SqliteStore, Store, Transaction, Watch};
use xvirt_pool::{Error, ErrorKind};
use xvirt_testing::process::another;

use crate::engines::{Engine, Sqlite, commit, put};

const VALUE: usize = 20_000;

/// Writes until there is no room. Returns the error, and how many were written.
fn fill(store: &dyn Store) -> (Error, u32) {
    for number in 0..100_000_u32 {
        let transaction = Transaction::new().put("/a", number.to_be_bytes()).put("/b", vec![number as u8; VALUE]);
        match store.transaction(&transaction) {
            Ok(outcome) => assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}"),
            Err(error) => return (error, number),
        }
    }
    panic!("the disk is never full");
}

/// Checks that a full store answers, with the last of `written`.
fn check_full(store: &dyn Store, watch: &mut dyn Watch, written: u32) {
    assert_eq!(store.transaction(&large()).unwrap_err().kind(), ErrorKind::StorageFull);
    let last = written - 1;
    assert_eq!(store.get("/a", None).unwrap().unwrap().value, last.to_be_bytes());
    assert_eq!(store.get("/b", None).unwrap().unwrap().value, vec![last as u8; VALUE]);
    assert_eq!(store.position().unwrap().cursor.revision.number(), u64::from(written) + 1);
    while watch.next(Duration::ZERO).unwrap().is_some() {}
    assert_eq!(watch.cursor(), store.position().unwrap().cursor);
}

fn large() -> Transaction {
    Transaction::new().put("/large", vec![0; 900_000])
}

#[test]
fn a_store_at_its_limit_of_size_writes_again_after_compaction() {
    let mut engine = Sqlite::with_max_size(2 << 20);
    let store = engine.store();
    put(&*store, "/first", "");
    let lease = store.grant(Duration::from_secs(10)).unwrap().id;
    let mut watch = store.watch("/", store.position().unwrap().cursor).unwrap();
    let (error, written) = fill(&*store);
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(error.remedy().unwrap().contains("compact the store"), "{error}");
    assert!(written > 50);
    check_full(&*store, &mut *watch, written);
    store.keep_alive(lease).unwrap();
    store.compact(store.position().unwrap().cursor.revision).unwrap();
    commit(&*store, &large());
    drop(store);
    engine.restart();
    assert_eq!(engine.store().get("/large", None).unwrap().unwrap().value.len(), 900_000);
    assert!(engine.path().metadata().unwrap().len() <= 2 << 20);
}

#[test]
fn a_store_on_a_full_file_system_writes_again_once_there_is_room() {
    const CHILD: &str = "XVIRT_TEST_FULL";
    let name = "full::a_store_on_a_full_file_system_writes_again_once_there_is_room";
    if let Some(folder) = std::env::var_os(CHILD) {
        return on_a_small_file_system(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let child = another(name);
    // A mount namespace of its own, in which nothing has to be cleaned up.
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "sh", "-c"]);
    unshare.arg("mount -t tmpfs -o size=4m none \"$0\" || exit 77; exec \"$@\"").arg(folder.path());
    unshare.arg(child.get_program()).args(child.get_args()).env(CHILD, folder.path());
    let output = match unshare.output() {
        Ok(output) => output,
        Err(error) => return println!("SKIPPED {name}: cannot run unshare: {error}"),
    };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !text.contains("running 1 test") {
        return println!("SKIPPED {name}: cannot mount a file system: {}", text.trim());
    }
    assert!(output.status.success(), "{text}");
}

fn on_a_small_file_system(folder: &Path) {
    let clock = Arc::new(ManualClock::default());
    let options = SqliteOptions { clock: clock.clone(), ..SqliteOptions::default() };
    let path = folder.join("a.db");
    let reserve = folder.join("reserve");
    std::fs::write(&reserve, vec![0; 1 << 20]).unwrap();
    let store = SqliteStore::create(&path, &options).unwrap();
    put(&store, "/first", "");
    let lease = store.grant(Duration::from_secs(10)).unwrap().id;
    let mut watch = store.watch("/", store.position().unwrap().cursor).unwrap();
    let (error, written) = fill(&store);
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(error.remedy().unwrap().contains("make room"), "{error}");
    check_full(&store, &mut *watch, written);
    store.keep_alive(lease).unwrap();
    // Even a new lock file must not need room.
    drop((watch, store));
    let store = SqliteStore::open(&path, &options).unwrap();
    assert_eq!(store.get("/a", None).unwrap().unwrap().value, (written - 1).to_be_bytes());
    let mut watch = store.watch("/", store.position().unwrap().cursor).unwrap();

    std::fs::remove_file(&reserve).unwrap();
    put(&store, "/again", "");
    assert!(watch.next(Duration::ZERO).unwrap().is_some());
    drop((watch, store));
    let store = SqliteStore::open(&path, &options).unwrap();
    assert!(store.get("/again", None).unwrap().is_some());
    assert_eq!(store.get("/b", None).unwrap().unwrap().value.len(), VALUE);
}
