//! A write-ahead log whose end is cut off or damaged: the store has the transactions before the damage, and all of them.

use std::fs;
use std::path::Path;

use xvirt_pool::store::{Revision, SqliteOptions, SqliteStore, Store, Transaction};
use xvirt_testing::random::Random;

use crate::engines::{Engine, Sqlite, commit, put};
use crate::model::Model;

/// The files of a store after some transactions, as a crash leaves them.
struct Crashed {
    database: Vec<u8>,
    log: Vec<u8>,
    /// How long the log was after each transaction.
    ends: Vec<usize>,
    model: Model,
}

fn crashed() -> Crashed {
    let mut random = Random::new(7);
    let engine = Sqlite::new();
    let store = engine.store();
    let log = engine.folder.path().join("0.db-wal");
    let (mut model, mut ends) = (Model::new(), Vec::new());
    for number in 0..60_u8 {
        let mut transaction = Transaction::new();
        for key in 0..1 + random.below(4) {
            let size = if random.below(8) == 0 { 9000 } else { 10 };
            transaction = transaction.put(format!("/{}/{key}", random.below(6)), vec![number; size]);
        }
        if random.below(4) == 0 {
            transaction = Transaction::new().delete_prefix("/0/").put("/1/0", [number]);
        }
        // A key twice is refused, which is another test's.
        if let Ok(outcome) = store.transaction(&transaction) {
            assert_eq!(Some(outcome), model.transaction(&transaction));
            ends.push(log.metadata().unwrap().len() as usize);
        }
    }
    // The store is still open, so the log was not emptied.
    Crashed { database: fs::read(engine.path()).unwrap(), log: fs::read(&log).unwrap(), ends, model }
}

impl Crashed {
    /// Opens the store with this log, and checks that it has exactly the transactions before `intact`.
    fn check(&self, folder: &Path, log: &[u8], intact: usize) {
        let path = folder.join("a.db");
        fs::write(&path, &self.database).unwrap();
        fs::write(folder.join("a.db-wal"), log).unwrap();
        let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
        let expected = Revision::new(self.ends.iter().filter(|end| **end <= intact).count() as u64);
        assert_eq!(store.position().unwrap().cursor.revision, expected, "intact up to {intact}");
        for (revision, state) in self.model.states.range(..=expected) {
            let pairs = store.range("/", None, usize::MAX, Some(*revision)).unwrap().pairs;
            assert_eq!(pairs, state.values().cloned().collect::<Vec<_>>());
        }
        // It writes again, and what it then has stays.
        put(&store, "/after", "x");
        drop(store);
        let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
        assert_eq!(store.get("/after", None).unwrap().unwrap().mod_revision.number(), expected.number() + 1);
        drop(store);
        for entry in fs::read_dir(folder).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

#[test]
fn a_log_that_is_cut_off_has_the_transactions_before_its_end() {
    let (crashed, folder) = (crashed(), tempfile::tempdir().unwrap());
    let length = crashed.log.len();
    assert!(length > 100_000 && crashed.ends.last() == Some(&length));
    crashed.check(folder.path(), &crashed.log, length);
    let near_ends = crashed.ends.iter().flat_map(|end| [end - 1, *end, (end + 1).min(length)]);
    let mut random = Random::new(1);
    let anywhere = (0..60).map(|_| random.below(length));
    for cut in near_ends.step_by(2).chain(anywhere).chain([0, 1, 31, 32, 33]) {
        crashed.check(folder.path(), &crashed.log[..cut], cut);
    }
}

#[test]
fn a_log_whose_end_is_garbled_has_the_transactions_before_the_damage() {
    let (crashed, folder) = (crashed(), tempfile::tempdir().unwrap());
    let mut random = Random::new(2);
    for _ in 0..80 {
        let from = random.below(crashed.log.len());
        let mut log = crashed.log.clone();
        match random.below(3) {
            // Zeroes, as blocks that were allocated and not written.
            0 => log[from..].fill(0),
            1 => log[from..].iter_mut().for_each(|byte| *byte = random.byte()),
            _ => log[from..].reverse(),
        }
        // Bytes that stayed the same are not damaged.
        let intact = log.iter().zip(&crashed.log).take_while(|(now, before)| now == before).count();
        crashed.check(folder.path(), &log, intact);
    }
}

#[test]
fn damage_before_the_end_of_a_log_is_said() {
    let (crashed, folder) = (crashed(), tempfile::tempdir().unwrap());
    let path = folder.path().join("a.db");
    let mut random = Random::new(3);
    let (mut refused, mut torn) = (0, 0);
    let near_end = crashed.log.len() - 20_000;
    for number in 0..60 {
        let at = if number % 2 == 0 { random.below(crashed.log.len()) } else { near_end + random.below(20_000) };
        let mut log = crashed.log.clone();
        log[at] ^= 1 << random.below(8);
        let intact = crashed.ends.iter().filter(|end| **end <= at).count();
        // The last one that was committed may as well be cut off.
        if crashed.ends.len() - intact < 2 {
            crashed.check(folder.path(), &log, at);
            torn += 1;
            continue;
        }
        fs::write(&path, &crashed.database).unwrap();
        fs::write(folder.path().join("a.db-wal"), &log).unwrap();
        let Err(error) = SqliteStore::open(&path, &SqliteOptions::default()) else {
            // The damaged byte says that a frame commits.
            assert!(crashed.ends.len() - intact == 2 && (at - 32) % 4120 < 8, "{at} of {}", log.len());
            continue;
        };
        assert_eq!(error.kind(), xvirt_pool::ErrorKind::Corrupt);
        assert!(error.to_string().contains("its log is damaged at byte"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), crashed.database);
        assert_eq!(fs::read(folder.path().join("a.db-wal")).unwrap(), log);
        refused += 1;

        // Revisions that were lost are not used again, and every watch learns of it.
        let options = SqliteOptions { accept_loss: true, ..SqliteOptions::default() };
        for _ in 0..2 {
            let store = SqliteStore::open(&path, &options).unwrap();
            let position = store.position().unwrap();
            assert_eq!(position.cursor.epoch, 2);
            assert_eq!(position.cursor.revision.number(), intact as u64 + 1_000_000_000);
            assert_eq!(position.compacted, position.cursor.revision);
            let pairs = store.range("/", None, usize::MAX, None).unwrap().pairs;
            let expected = &crashed.model.states[&Revision::new(intact as u64)];
            assert_eq!(pairs, expected.values().cloned().collect::<Vec<_>>());
        }
        fs::remove_file(&path).unwrap();
    }
    println!("{refused} refused, {torn} torn");
    assert!(refused > 20 && torn > 2, "the test tests too little");
}

#[test]
fn a_commit_after_a_torn_one_is_not_mixed_with_it() {
    let (crashed, folder) = (crashed(), tempfile::tempdir().unwrap());
    let path = folder.path().join("a.db");
    // The last transaction lacks its end, and another one takes its place in the log.
    let cut = crashed.log.len() - 100;
    fs::write(&path, &crashed.database).unwrap();
    fs::write(folder.path().join("a.db-wal"), &crashed.log[..cut]).unwrap();
    let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
    let before = store.position().unwrap().cursor.revision;
    let revision = commit(&store, &Transaction::new().put("/other", "x"));
    assert_eq!(revision.number(), before.number() + 1);
    let log = fs::read(folder.path().join("a.db-wal")).unwrap();
    let database = fs::read(&path).unwrap();
    drop(store);
    let copy = folder.path().join("copy.db");
    fs::write(&copy, database).unwrap();
    fs::write(folder.path().join("copy.db-wal"), log).unwrap();
    let store = SqliteStore::open(&copy, &SqliteOptions::default()).unwrap();
    assert_eq!(store.position().unwrap().cursor.revision, revision);
    assert_eq!(store.get("/other", None).unwrap().unwrap().mod_revision, revision);
}
