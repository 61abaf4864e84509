//! Commits that fail in another way than for lack of room: their outcome is unknown until the next one.

use std::path::Path;
use std::process::Command;

use xvirt_pool::store::{Compare, Decision, Outcome, Revision, SqliteOptions, SqliteStore, Store, Transaction};
use xvirt_testing::process::another;

use crate::engines::{commit, put};

#[test]
fn a_commit_that_cannot_be_written_is_unknown_until_it_is_superseded() {
    const CHILD: &str = "XVIRT_TEST_LIMITED";
    if let Some(folder) = std::env::var_os(CHILD) {
        return with_a_limited_log(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let child = another("failed_commit::a_commit_that_cannot_be_written_is_unknown_until_it_is_superseded");
    // No file can become larger than 1 MiB: the log fails, for a reason that is not a full disk.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]);
    let output = limited.arg(child.get_program()).args(child.get_args()).env(CHILD, folder.path()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    let store = SqliteStore::open(folder.path().join("a.db"), &SqliteOptions::default()).unwrap();
    assert_eq!(store.get("/a", None).unwrap().unwrap().value, b"after");
}

/// Puts a large value in the place of what was put by a revision.
fn large(from: Revision) -> Transaction {
    Transaction::new().compare(Compare::mod_revision("/a", from)).put("/a", vec![1; 50_000])
}

fn with_a_limited_log(folder: &Path) {
    let path = folder.join("a.db");
    let store = SqliteStore::create(&path, &SqliteOptions::default()).unwrap();
    let mut last = put(&store, "/a", "first");
    let unknown = loop {
        match store.transaction(&large(last)).unwrap() {
            Outcome::Committed { revision } => last = revision,
            Outcome::Unknown => break large(last),
            Outcome::Conflict => panic!("nobody else writes"),
        }
    };
    assert!(last > Revision::new(3));
    // Reads go on, and nothing is half there.
    let before = store.get("/a", None).unwrap().unwrap();
    assert_eq!((before.mod_revision, store.position().unwrap().cursor.revision), (last, last));

    let instead = Transaction::new().compare(Compare::mod_revision("/a", last)).put("/a", "instead");
    let Decision::Superseded { revision } = store.supersede(&unknown, &instead).unwrap() else { panic!("undecided") };
    assert_eq!(revision.number(), last.number() + 1);
    assert_eq!(store.transaction(&unknown).unwrap(), Outcome::Conflict);
    drop(store);
    let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
    assert_eq!(store.get("/a", None).unwrap().unwrap().value, b"instead");
    commit(&store, &Transaction::new().put("/a", "after"));
}
