//! The table of sessions. It only decides: time is given to it, and what it says is to be stored is stored by others.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::model::{Ref, User};

/// How long a session may be idle, in milliseconds: 24 hours, as XenServer has it.
const IDLE: u64 = 24 * 3_600_000;
/// How long passes before the store learns that a session was used, in milliseconds.
const STORE_USE: u64 = 600_000;
/// How many sessions one user may have whose clients have the same name; the one that was idle longest ends then.
const OF_ORIGINATOR: usize = 500;
/// How many sessions there are in all, likewise.
const ALL: usize = 5000;

/// The hash of the reference of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key([u8; 32]);

/// A point in time, by two clocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    /// The run of the host, and the milliseconds since its begin. Nobody can set this clock.
    pub(super) boot: String,
    pub(super) since_boot: u64,
    /// Seconds since 1970, for another run of the host.
    pub(super) unix: i64,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) uuid: Uuid,
    pub(super) owner: Owner,
    pub(super) originator: String,
    /// When it was used last.
    pub(super) used: Moment,
    #[serde(default)]
    pub(super) other_config: BTreeMap<String, String>,
}

/// Who has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Owner {
    /// A program on this host, by its user of the operating system.
    Local(u32),
    User(Ref<User>),
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_key: HashMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    session: Session,
    /// When it was used last, as the store knows it.
    stored: Moment,
}

impl Key {
    pub(super) fn of(reference: &str) -> Self {
        Self(Sha256::digest(reference.as_bytes()).into())
    }

    /// Where it is in the store.
    pub(super) fn path(&self) -> String {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{FOLDER}{digits}/login")
    }

    /// The reverse of [`path`](Self::path).
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let digits = path.strip_prefix(FOLDER)?.strip_suffix("/login")?;
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.is_ascii() {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// Where sessions are in the store.
pub(super) const FOLDER: &str = "/session/";

impl Moment {
    /// The milliseconds from then until now.
    fn until(&self, now: &Self) -> u64 {
        if self.boot == now.boot {
            return now.since_boot.saturating_sub(self.since_boot);
        }
        // If the clock was set back, it was used just now.
        u64::try_from(now.unix.saturating_sub(self.unix)).unwrap_or(0).saturating_mul(1000)
    }
}

impl Sessions {
    /// Adds a session that the store has.
    pub(super) fn remember(&mut self, key: Key, session: Session) {
        let stored = session.used.clone();
        self.by_key.insert(key, Entry { session, stored });
    }

    /// Adds a new session, and returns those that end: the expired ones, and those of which there are too many.
    pub(super) fn add(&mut self, key: Key, session: Session, now: &Moment) -> Vec<Key> {
        let mut ended = self.remove_if(|session| session.used.until(now) >= IDLE);
        let same = |other: &Session| other.owner == session.owner && other.originator == session.originator;
        while self.by_key.values().filter(|entry| same(&entry.session)).count() >= OF_ORIGINATOR
            && let Some(oldest) = self.oldest(now, same)
        {
            self.by_key.remove(&oldest);
            ended.push(oldest);
        }
        while self.by_key.len() >= ALL
            && let Some(oldest) = self.oldest(now, |_| true)
        {
            self.by_key.remove(&oldest);
            ended.push(oldest);
        }
        self.remember(key, session);
        ended
    }

    fn oldest(&self, now: &Moment, of: impl Fn(&Session) -> bool) -> Option<Key> {
        let some = self.by_key.iter().filter(|(_, entry)| of(&entry.session));
        some.max_by_key(|(_, entry)| entry.session.used.until(now)).map(|(key, _)| *key)
    }

    /// Ends sessions, and returns which.
    pub(super) fn remove_if(&mut self, ends: impl Fn(&Session) -> bool) -> Vec<Key> {
        self.by_key.extract_if(|_, entry| ends(&entry.session)).map(|(key, _)| key).collect()
    }

    /// Uses a session now. Returns it, and whether the store should learn of it.
    pub(super) fn use_now(&mut self, key: Key, now: &Moment) -> Option<(Session, bool)> {
        let entry = self.by_key.get_mut(&key)?;
        // It is removed with the others that have expired when somebody logs in.
        if entry.session.used.until(now) >= IDLE {
            return None;
        }
        entry.session.used = now.clone();
        let store = entry.stored.boot != now.boot || entry.stored.until(now) >= STORE_USE;
        if store {
            entry.stored = now.clone();
        }
        Some((entry.session.clone(), store))
    }

    /// The session with this key.
    pub(super) fn get(&self, key: Key) -> Option<&Session> {
        self.by_key.get(&key).map(|entry| &entry.session)
    }

    /// The session with this key, to be changed.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Session> {
        self.by_key.get_mut(&key).map(|entry| &mut entry.session)
    }

    /// All sessions.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_key.values().map(|entry| &entry.session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot: &str, hours: u64) -> Moment {
        Moment { boot: boot.to_owned(), since_boot: hours * 3_600_000, unix: i64::try_from(hours).unwrap() * 3600 }
    }

    fn session(owner: Owner, originator: &str, used: Moment) -> Session {
        let (uuid, originator) = (Uuid::new_v4(), originator.to_owned());
        Session { uuid, owner, originator, used, other_config: BTreeMap::new() }
    }

    fn key(number: usize) -> Key {
        Key::of(&number.to_string())
    }

    #[test]
    fn a_session_ends_after_a_day_without_use() {
        let mut sessions = Sessions::default();
        sessions.add(key(1), session(Owner::Local(0), "", at("a", 0)), &at("a", 0));
        for hours in [23, 46, 46, 60] {
            assert!(sessions.use_now(key(1), &at("a", hours)).is_some(), "{hours}");
        }
        assert!(sessions.use_now(key(1), &at("a", 84)).is_none());
        assert_eq!(sessions.add(key(3), session(Owner::Local(0), "", at("a", 84)), &at("a", 84)), [key(1)]);
        assert!(sessions.use_now(key(2), &at("a", 0)).is_none());
    }

    #[test]
    fn after_a_reboot_the_clock_that_people_read_counts() {
        for (unix, lives) in [(10, true), (34, false), (33, true), (2, true)] {
            let mut sessions = Sessions::default();
            sessions.add(key(1), session(Owner::Local(0), "", at("a", 10)), &at("a", 10));
            let now = Moment { since_boot: 0, ..at("b", unix) };
            assert_eq!(sessions.use_now(key(1), &now).is_some(), lives, "{unix}");
        }
    }

    #[test]
    fn the_store_learns_of_use_from_time_to_time() {
        let mut sessions = Sessions::default();
        sessions.add(key(1), session(Owner::Local(0), "", at("a", 0)), &at("a", 0));
        let minutes = |minutes: u64| Moment { since_boot: minutes * 60_000, ..at("a", 0) };
        let stores = [1, 9, 10, 11, 19, 20].map(|now| sessions.use_now(key(1), &minutes(now)).unwrap().1);
        assert_eq!(stores, [false, false, true, false, false, true]);
    }

    #[test]
    fn the_one_that_was_idle_longest_makes_room() {
        let (mut sessions, user) = (Sessions::default(), Owner::User(Ref::new(Uuid::new_v4())));
        sessions.add(key(9999), session(user, "other", at("a", 0)), &at("a", 0));
        let now = |number: usize| Moment { since_boot: number as u64, ..at("a", 1) };
        for number in 0..OF_ORIGINATOR {
            assert_eq!(sessions.add(key(number), session(user, "same", now(number)), &now(number)), []);
        }
        sessions.use_now(key(0), &now(OF_ORIGINATOR));
        assert_eq!(sessions.add(key(5000), session(user, "same", now(600)), &now(600)), [key(1)]);
        for number in 6000..6000 + ALL {
            sessions.add(key(number), session(user, &number.to_string(), now(number)), &now(number));
        }
        assert_eq!(sessions.by_key.len(), ALL);
    }

    #[test]
    fn the_path_in_the_store_says_the_key_and_not_the_reference() {
        let key = Key::of("OpaqueRef:secret");
        assert!(!key.path().contains("secret"));
        assert_eq!(Key::of_path(&key.path()), Some(key));
        for wrong in
            ["/session/1/login", "/session/x", "/user/1/login", "/session/6d3ab9ad-4b8f-4d77-8cf0-0b3b1f1dd6a1/record"]
        {
            assert_eq!(Key::of_path(wrong), None);
        }
    }
}
