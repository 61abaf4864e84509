//! A process that is killed while it writes: what it acknowledged is there, and nothing is half there.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use xvirt_pool::store::{Change, Cursor, Event, Outcome, Revision, SqliteOptions, SqliteStore, Store, Transaction};
use xvirt_testing::process::another;
use xvirt_testing::random::Random;

const CHILD: &str = "XVIRT_TEST_WRITER";
const THREADS: u32 = 4;
const ROUNDS: usize = 15;

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    if let Some(folder) = std::env::var_os(CHILD) {
        write_for_ever(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    drop(SqliteStore::create(&path, &SqliteOptions::default()).unwrap());
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut acknowledged = BTreeMap::new();
    for _ in 0..ROUNDS {
        let mut command = another("kill::nothing_acknowledged_is_lost_when_the_process_is_killed");
        let child = command.env(CHILD, folder.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let known = acknowledged.last_key_value().map_or(0, |(revision, _)| *revision);
        for (revision, written) in kill_after(child, random.below(60), random.below(200_000)) {
            assert!(revision > known, "revision {revision} was used twice");
            assert!(acknowledged.insert(revision, written).is_none(), "revision {revision} was used twice");
        }
        let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
        check(&store, &acknowledged);
    }
    println!("{} acknowledged", acknowledged.len());
    assert!(acknowledged.len() > 100, "the test tests too little");
}

/// Threads that put pairs of the same number, and print it once it is committed.
fn write_for_ever(folder: &Path) -> ! {
    let store = SqliteStore::open(folder.join("a.db"), &SqliteOptions::default()).unwrap();
    thread::scope(|scope| {
        for writer in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                let key = |name: &str| format!("/{writer}/{name}");
                let last = store.get(&key("a"), None).unwrap();
                let mut number = last.map_or(0, |pair| u32::from_be_bytes(pair.value.try_into().unwrap()));
                loop {
                    number += 1;
                    // Some take several pages.
                    let size = if number % 10 == 0 { 20_000 } else { 4 };
                    let mut value = number.to_be_bytes().to_vec();
                    let transaction = Transaction::new().put(key("a"), value.clone());
                    value.resize(size, 0);
                    let transaction = transaction.put(key("b"), value);
                    let outcome = store.transaction(&transaction).unwrap();
                    let Outcome::Committed { revision } = outcome else { panic!("{outcome:?}") };
                    let line = format!("acknowledged {revision} {writer} {number}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                    if number % 50 == 0 {
                        // What another thread compacted meanwhile is no error.
                        let _ = store.compact(Revision::new(revision.number().saturating_sub(100)));
                    }
                }
            });
        }
    });
    unreachable!()
}

/// Kills the child after some acknowledgements and a moment. Returns all that it made.
fn kill_after(mut child: Child, lines: usize, moment: usize) -> Vec<(u64, (u32, u32))> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut made = Vec::new();
    for line in output.split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        if let ["acknowledged", revision, writer, number] = words[..] {
            // The last line may be cut off, but not be followed by another.
            made.push((revision.parse().unwrap(), (writer.parse().unwrap(), number.parse().unwrap())));
        }
        if made.len() == lines {
            (0..moment).for_each(|_| std::hint::spin_loop());
            child.kill().unwrap();
        }
    }
    assert_eq!(child.wait().unwrap().signal(), Some(9), "the writer ended by itself");
    made
}

fn check(store: &SqliteStore, acknowledged: &BTreeMap<u64, (u32, u32)>) {
    let position = store.position().unwrap();
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
    for writer in 0..THREADS {
        let value = |name| store.get(&format!("/{writer}/{name}"), None).unwrap().map_or(0, |pair| number(&pair.value));
        let (a, b) = (value("a"), value("b"));
        assert_eq!(a, b, "a transaction is half there");
        let last = acknowledged.values().filter(|(by, _)| *by == writer).map(|(_, number)| *number).max().unwrap_or(0);
        assert!(a >= last, "{last} of writer {writer} was acknowledged and is lost: there is {a}");
    }
    // The past that is kept has what was acknowledged, and no revision is missing.
    let mut expected = position.compacted;
    let mut watch = store.watch("/", Cursor { revision: expected, ..position.cursor }).unwrap();
    while let Some(changes) = watch.next(Duration::ZERO).unwrap() {
        expected = Revision::new(expected.number() + 1);
        assert_eq!(changes.revision, expected);
        let [Event { change: Change::Put(a), .. }, Event { change: Change::Put(b), .. }] = &changes.events[..] else {
            panic!("{changes:?}");
        };
        assert_eq!(number(&a.value), number(&b.value));
        if let Some((writer, written)) = acknowledged.get(&expected.number()) {
            assert_eq!((a.key.as_str(), number(&a.value)), (format!("/{writer}/a").as_str(), *written));
        }
    }
    assert_eq!(expected, position.cursor.revision);
    assert!(acknowledged.last_key_value().is_none_or(|(last, _)| *last <= expected.number()));
}
