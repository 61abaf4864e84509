//! Watches: in order, complete, and without gaps.

use std::thread;
use std::time::Duration;

use xvirt_pool::ErrorKind;
use xvirt_pool::store::{Change, Changes, Cursor, Revision, Transaction, Watch};

use crate::engines::{Engine, LONG, commit, put};

/// What is there, without waiting.
pub fn rest(watch: &mut dyn Watch) -> Vec<Changes> {
    std::iter::from_fn(|| watch.next(Duration::ZERO).unwrap()).collect()
}

/// Changes as text: `revision: +key=value` or `revision: -key`, with the previous revision.
fn text(changes: &[Changes]) -> Vec<String> {
    let event = |event: &xvirt_pool::store::Event| {
        let before = event.previous.map_or("new".to_owned(), |revision| revision.to_string());
        match &event.change {
            Change::Put(pair) => format!("+{}={} ({before})", pair.key, String::from_utf8_lossy(&pair.value)),
            Change::Delete { key } => format!("-{key} ({before})"),
        }
    };
    let line = |changes: &Changes| {
        format!("{}: {}", changes.revision, changes.events.iter().map(event).collect::<Vec<_>>().join(" "))
    };
    changes.iter().map(line).collect()
}

pub fn changes_come_in_order_and_together(engine: &mut impl Engine) {
    let store = engine.store();
    let mut watch = store.watch("/vm/", store.position().unwrap().cursor).unwrap();
    assert_eq!(watch.next(Duration::ZERO).unwrap(), None);
    commit(&*store, &Transaction::new().put("/vm/b", "1").put("/vm/a", "1").put("/other", "1"));
    put(&*store, "/other", "2");
    put(&*store, "/vm/a", "2");
    let seen = rest(&mut *watch);
    assert_eq!(text(&seen), ["1: +/vm/a=1 (new) +/vm/b=1 (new)", "3: +/vm/a=2 (1)"]);
    let Change::Put(pair) = &seen[1].events[0].change else { panic!("{seen:?}") };
    assert_eq!(Some(pair.clone()), store.get("/vm/a", None).unwrap());
    assert_eq!(seen[1].events[0].key(), "/vm/a");
}

pub fn deletions_are_said(engine: &mut impl Engine) {
    let store = engine.store();
    let mut watch = store.watch("/", store.position().unwrap().cursor).unwrap();
    put(&*store, "/a/1", "x");
    put(&*store, "/a/2", "x");
    put(&*store, "/a/1", "y");
    commit(&*store, &Transaction::new().delete_prefix("/a/").delete("/none").put("/b", ""));
    put(&*store, "/a/1", "z");
    let expected = ["4: -/a/1 (3) -/a/2 (2) +/b= (new)", "5: +/a/1=z (new)"];
    assert_eq!(text(&rest(&mut *watch)[3..]), expected);
    // Compaction keeps what happened after it.
    let mut watch = store.watch("/", Cursor { epoch: 1, revision: Revision::new(3) }).unwrap();
    store.compact(Revision::new(3)).unwrap();
    assert_eq!(text(&rest(&mut *watch)), expected);
}

pub fn a_watch_goes_on_from_a_cursor(engine: &mut impl Engine) {
    let cursor = {
        let store = engine.store();
        let mut watch = store.watch("/", store.position().unwrap().cursor).unwrap();
        for number in 0..4 {
            put(&*store, "/a", &number.to_string());
        }
        assert_eq!(watch.next(LONG).unwrap().unwrap().revision, Revision::new(1));
        assert_eq!(watch.next(LONG).unwrap().unwrap().revision, Revision::new(2));
        watch.cursor()
    };
    engine.restart();
    let mut watch = engine.store().watch("/", cursor).unwrap();
    assert_eq!(text(&rest(&mut *watch)), ["3: +/a=2 (2)", "4: +/a=3 (3)"]);
    assert_eq!(watch.cursor(), engine.store().position().unwrap().cursor);
}

pub fn gaps_are_said_and_never_skipped(engine: &mut impl Engine) {
    let store = engine.store();
    let start = store.position().unwrap().cursor;
    for number in 0..5 {
        put(&*store, "/a", &number.to_string());
    }
    let mut behind = store.watch("/", start).unwrap();
    assert_eq!(behind.next(Duration::ZERO).unwrap().unwrap().revision, Revision::new(1));
    store.compact(Revision::new(3)).unwrap();
    assert_eq!(behind.next(Duration::ZERO).unwrap_err().kind(), ErrorKind::Compacted);
    // An error ends it.
    assert_eq!(behind.next(Duration::ZERO).unwrap_err().kind(), ErrorKind::Closed);

    let kind = |epoch, revision| {
        let cursor = Cursor { epoch, revision: Revision::new(revision) };
        store.watch("/", cursor).map(drop).map_err(|error| error.kind())
    };
    assert_eq!(kind(1, 2), Err(ErrorKind::Compacted));
    assert_eq!(kind(1, 3), Ok(()));
    assert_eq!(kind(1, 5), Ok(()));
    assert_eq!(kind(1, 6), Err(ErrorKind::FutureRevision));
    assert_eq!(kind(0, 5), Err(ErrorKind::EpochChanged));
    assert_eq!(kind(2, 5), Err(ErrorKind::EpochChanged));
}

pub fn the_cursor_moves_over_other_folders(engine: &mut impl Engine) {
    let store = engine.store();
    let mut watch = store.watch("/quiet/", store.position().unwrap().cursor).unwrap();
    for number in 0..5 {
        put(&*store, "/busy", &number.to_string());
    }
    assert_eq!(watch.next(Duration::ZERO).unwrap(), None);
    assert_eq!(watch.cursor().revision, Revision::new(5));
    // So compaction does not hurt it.
    store.compact(Revision::new(5)).unwrap();
    put(&*store, "/quiet/a", "");
    assert_eq!(watch.next(Duration::ZERO).unwrap().unwrap().revision, Revision::new(6));
}

pub fn a_waiting_watch_is_woken(engine: &mut impl Engine) {
    let store = engine.store();
    let mut watch = store.watch("/vm/", store.position().unwrap().cursor).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || watch.next(LONG).unwrap().unwrap().revision);
        put(&*store, "/other", "");
        put(&*store, "/vm/a", "");
        assert_eq!(waiting.join().unwrap(), Revision::new(2));
    });
}

pub fn a_watch_can_be_closed_by_another_thread(engine: &mut impl Engine) {
    let store = engine.store();
    let start = store.position().unwrap().cursor;
    let (mut watch, mut other) = (store.watch("/", start).unwrap(), store.watch("/", start).unwrap());
    let closer = watch.closer();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || watch.next(Duration::MAX).unwrap_err().kind());
        closer.close();
        assert_eq!(waiting.join().unwrap(), ErrorKind::Closed);
    });
    put(&*store, "/a", "");
    assert!(other.next(LONG).unwrap().is_some());
}

pub fn a_store_that_is_closed_ends_its_watches(engine: &mut impl Engine) {
    let store = engine.store();
    let mut watch = store.watch("/", store.position().unwrap().cursor).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || watch.next(Duration::MAX).unwrap_err().kind());
        drop(store);
        engine.close();
        assert_eq!(waiting.join().unwrap(), ErrorKind::Closed);
    });
}

pub fn a_slow_watch_misses_nothing(engine: &mut impl Engine) {
    let store = engine.store();
    let mut watch = store.watch("/", store.position().unwrap().cursor).unwrap();
    for number in 0..300 {
        put(&*store, &format!("/{}", number % 7), &number.to_string());
    }
    let seen: Vec<u64> = rest(&mut *watch).iter().map(|changes| changes.revision.number()).collect();
    assert_eq!(seen, (1..=300).collect::<Vec<_>>());
}
