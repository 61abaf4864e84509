//! The log of what was changed: a line of JSON for each change, of which nothing is a password or a session.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::model::{Call, ClassTable, DateTime, RoleName};
use crate::operation::{Caller, Failure};
use crate::sync::lock;

/// The result of a change that was made.
pub(crate) const SUCCESS: &str = "SUCCESS";
const NAME: &str = "audit.log";
/// How large a file grows, in bytes, and how many older ones are kept.
const LARGEST: u64 = 4 << 20;
const KEPT: u32 = 8;
/// What anybody may do and changes something nevertheless.
const CHANGES: [&str; 4] = ["task.cancel", "task.destroy", "session.logout", "session.local_logout"];
/// How many bytes of a text that a client chooses are written.
const SHOWN: usize = 256;

/// The log, in files that are named after each other: `audit.log`, `audit.log.1`, and so on, at most 36 MiB.
#[derive(Debug)]
pub(crate) struct Audit {
    path: PathBuf,
    file: Mutex<Option<(File, u64)>>,
    /// Whether it is said already that it cannot be written.
    failed: std::sync::atomic::AtomicBool,
}

/// What is written of a change once it is known what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    who: String,
    from: Option<IpAddr>,
    verb: String,
    object: Option<String>,
}

impl Entry {
    /// What is to be written of a call; `None` if it changes nothing.
    pub(crate) fn of(
        caller: &Caller,
        table: &ClassTable,
        name: &str,
        call: Call,
        object: Option<&str>,
    ) -> Option<Self> {
        let verb = format!("{}.{name}", table.name);
        let reads = match call {
            Call::Own(_) => name.starts_with("get_") || name.starts_with("xvirt_get_"),
            Call::Set(_) | Call::Add(_) | Call::Remove(_) | Call::AddTo(_) | Call::RemoveFrom(_) => false,
            _ => true,
        };
        let changes = !reads && !call.roles(table).contains(RoleName::ReadOnly) || CHANGES.contains(&verb.as_str());
        // The reference of a session is a secret.
        let object = object.filter(|_| table.name != "session").map(str::to_owned);
        changes.then(|| Self { who: caller.to_string(), from: caller.from(), verb, object })
    }
}

impl Audit {
    pub(super) fn new(folder: &Path) -> Self {
        Self { path: folder.join(NAME), file: Mutex::default(), failed: false.into() }
    }

    /// Writes what came of a change.
    pub(crate) fn end(&self, entry: Option<&Entry>, outcome: &Result<Value, Failure>, now: DateTime) {
        let Some(Entry { who, from, verb, object }) = entry else { return };
        let made = outcome.as_ref().ok().and_then(Value::as_str).filter(|text| text.starts_with("OpaqueRef:"));
        let code = outcome.as_ref().map_or_else(|failure| failure.code.as_str(), |_| SUCCESS);
        self.write(now, who, *from, verb, object.as_deref().or(made), code);
    }

    /// Writes a line. A log that cannot be written keeps nobody from what he does; the service's own log says so once.
    pub(crate) fn write(
        &self,
        now: DateTime,
        who: &str,
        from: Option<IpAddr>,
        verb: &str,
        object: Option<&str>,
        code: &str,
    ) {
        use std::sync::atomic::Ordering::Relaxed;
        let from = from.map_or_else(|| "this host".to_owned(), |address| address.to_string());
        let line = json!({
            "time": now.to_string(), "who": shortened(who), "from": from, "verb": verb,
            "object": object.map(shortened), "result": code,
        });
        match self.append(format!("{line}\n").as_bytes()) {
            Ok(()) => self.failed.store(false, Relaxed),
            Err(error) if !self.failed.swap(true, Relaxed) => {
                tracing::warn!(%error, path = %self.path.display(), "changes cannot be written to the audit log");
            }
            Err(_) => {}
        }
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut open = lock(&self.file);
        let (mut file, mut length) = match open.take() {
            Some(open) => open,
            None => {
                let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
                let length = file.metadata()?.len();
                (file, length)
            }
        };
        if length >= LARGEST {
            self.rotate()?;
            file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
            length = 0;
        }
        file.write_all(line)?;
        *open = Some((file, length + u64::try_from(line.len()).unwrap_or(0)));
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        let numbered = |number: u32| self.path.with_file_name(format!("{NAME}.{number}"));
        for number in (1..KEPT).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))
    }
}

fn shortened(text: &str) -> &str {
    let end = (0..=SHOWN.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::model::class;

    fn entry(name: &str, object: &str) -> Option<Entry> {
        let (table, verb) = name.split_once('.').unwrap();
        let table = class(table).unwrap();
        Entry::of(&Caller::Local { uid: 7 }, table, verb, table.call(verb).unwrap(), Some(object))
    }

    #[test]
    fn changes_are_written_and_nothing_else() {
        for verb in
            ["VM.start", "VM.set_name_label", "VM.add_tags", "task.cancel", "session.logout", "user.xvirt_create"]
        {
            assert!(entry(verb, "OpaqueRef:1").is_some(), "{verb}");
        }
        for verb in
            ["VM.get_record", "VM.get_all_records", "event.from", "user.xvirt_get_all_records", "session.get_uuid"]
        {
            assert!(entry(verb, "OpaqueRef:1").is_none(), "{verb}");
        }
        assert_eq!(entry("session.set_other_config", "OpaqueRef:secret").unwrap().object, None);
    }

    #[test]
    fn a_line_says_who_from_where_what_and_what_came_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::new(folder.path());
        let now = DateTime::from_unix(1_706_702_401).unwrap();
        audit.end(entry("VM.start", "OpaqueRef:1").as_ref(), &Ok(Value::Null), now);
        audit.end(entry("VM.start", "a\n\"b").as_ref(), &Err(Failure::new("VM_BAD_POWER_STATE", ["x"])), now);
        audit.write(now, &"x".repeat(1000), Some([10, 0, 0, 1].into()), "session.login_with_password", None, "X");
        let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines[0],
            json!({ "time": "20240131T12:00:01Z", "who": "uid 7", "from": "this host", "verb": "VM.start",
                    "object": "OpaqueRef:1", "result": "SUCCESS" })
        );
        assert_eq!((&lines[1]["object"], &lines[1]["result"]), (&json!("a\n\"b"), &json!("VM_BAD_POWER_STATE")));
        assert_eq!((lines[2]["who"].as_str().unwrap().len(), &lines[2]["from"]), (SHOWN, &json!("10.0.0.1")));
        assert_eq!(fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn files_are_replaced_when_they_are_large_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::new(folder.path());
        for number in 0..KEPT + 3 {
            let large = File::options().create(true).append(true).open(folder.path().join(NAME)).unwrap();
            large.set_len(LARGEST).unwrap();
            *lock(&audit.file) = None;
            audit.write(DateTime::EPOCH, &number.to_string(), None, "VM.start", None, SUCCESS);
        }
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names.len(), usize::try_from(KEPT).unwrap() + 1, "{names:?}");
        assert_eq!(fs::read_to_string(folder.path().join(NAME)).unwrap().lines().count(), 1);
    }
}
