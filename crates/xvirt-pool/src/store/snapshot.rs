//! The state of a store at one revision, as a stream of bytes that any engine can be restored from.
//!
//! All numbers are little-endian. The parts:
//!
//! | Bytes | Part |
//! |---|---|
//! | 16 | `xvirt-store-snap` |
//! | 4, 8, 8 | version of this format (1), epoch, revision |
//! | for each pair | length of the key (4), key, length of the value (4), value, create revision (8), modification revision (8), version (8) |
//! | 4, 8 | zero, number of pairs |
//! | 32 | SHA-256 of everything before |

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::transaction::MAX_SIZE;
use super::{Cursor, MAX_KEY, Pair, Revision, Store, key};
use crate::{Error, ErrorKind, Result};

const MAGIC: &[u8; 16] = b"xvirt-store-snap";
const FORMAT: u32 = 1;
/// How many pairs are read from the store at once.
const PAGE: usize = 256;
/// How far a restored store's revisions are above those of the snapshot, so that revisions which the lost history had
/// are not used again. As etcd's documentation recommends.
pub(super) const BUMP: u64 = 1_000_000_000;

/// Writes a [snapshot](Store::snapshot) to a file that only this user can read, and syncs it. The file is there completely
/// or not at all; one that exists is replaced.
///
/// # Errors
/// As [`Store::snapshot`], and I/O errors.
pub fn snapshot_to_file(store: &dyn Store, path: &Path) -> Result<Cursor> {
    let part = beside(path, ".part");
    let failed = |error| Error::io(format!("cannot write the snapshot {}", path.display()), error);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(failed)?;
    let mut to = BufWriter::with_capacity(1 << 16, file);
    let done = store.snapshot(&mut to).and_then(|cursor| {
        let file = to.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        fs::rename(&part, path).and_then(|()| sync_folder_of(path)).map_err(failed)?;
        Ok(cursor)
    });
    if done.is_err() {
        // Nothing more can be done about a part that stays.
        let _ = fs::remove_file(&part);
    }
    done
}

/// A path in the same folder, with this ending added.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Makes a new name in a folder permanent.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// See [`Store::snapshot`].
pub(super) fn write<S: Store + ?Sized>(store: &S, to: &mut dyn Write) -> Result<Cursor> {
    let mut page = store.range("/", None, PAGE, None)?;
    let cursor = page.cursor;
    let mut to = Output { to, digest: Sha256::new() };
    to.put(MAGIC)?;
    to.put(&FORMAT.to_le_bytes())?;
    to.put(&cursor.epoch.to_le_bytes())?;
    to.put(&cursor.revision.number().to_le_bytes())?;
    let mut count = 0_u64;
    loop {
        for pair in page.pairs.iter().filter(|pair| pair.lease.is_none()) {
            to.pair(pair)?;
            count += 1;
        }
        let Some(next) = page.next else { break };
        page = store.range("/", Some(&next), PAGE, Some(cursor.revision))?;
    }
    to.put(&0_u32.to_le_bytes())?;
    to.put(&count.to_le_bytes())?;
    let digest = to.digest.clone().finalize();
    to.put(&digest)?;
    to.to.flush().map_err(cannot_write)?;
    Ok(cursor)
}

fn cannot_write(error: io::Error) -> Error {
    Error::io("cannot write a snapshot of the store", error)
}

struct Output<'a> {
    to: &'a mut dyn Write,
    digest: Sha256,
}

impl Output<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.digest.update(bytes);
        self.to.write_all(bytes).map_err(cannot_write)
    }

    fn pair(&mut self, pair: &Pair) -> Result<()> {
        for bytes in [pair.key.as_bytes(), &pair.value] {
            // A transaction cannot write more than 1 MiB.
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.put(&length.to_le_bytes())?;
            self.put(bytes)?;
        }
        for number in [pair.create_revision.number(), pair.mod_revision.number(), pair.version] {
            self.put(&number.to_le_bytes())?;
        }
        Ok(())
    }
}

/// Reads a snapshot, and passes its pairs to `each` in the order of their keys. Returns the cursor with which a store that
/// is restored from it begins: in a later epoch than the snapshot and than `after`.
///
/// The checksum is at the end, so the pairs count only if this succeeds.
pub(super) fn read(from: &mut dyn Read, after: u64, each: &mut dyn FnMut(Pair) -> Result<()>) -> Result<Cursor> {
    let mut input = Input { from, digest: Sha256::new() };
    if &input.array()? != MAGIC {
        return Err(corrupt("it is no snapshot of a store"));
    }
    let format = input.u32()?;
    if format != FORMAT {
        let what = format!("cannot restore a snapshot of format {format}: this version reads format {FORMAT}");
        return Err(Error::new(ErrorKind::Unsupported, what).with_remedy("use the version of xvirt that wrote it"));
    }
    let (epoch, revision) = (input.u64()?, input.u64()?);
    let mut count = 0_u64;
    let mut last: Option<String> = None;
    loop {
        let length = input.u32()? as usize;
        if length == 0 {
            break;
        }
        let pair = input.pair(length)?;
        let follows = last.as_ref().is_none_or(|last| *last < pair.key);
        let counted = 1 <= pair.create_revision.number()
            && pair.create_revision <= pair.mod_revision
            && pair.mod_revision.number() <= revision
            && pair.version >= 1;
        if key::check(&pair.key).is_err() || !follows || !counted {
            return Err(corrupt(&format!("pair {count} is invalid")));
        }
        last = Some(pair.key.clone());
        each(pair)?;
        count += 1;
    }
    if input.u64()? != count {
        return Err(corrupt("pairs are missing"));
    }
    let digest: [u8; 32] = input.digest.clone().finalize().into();
    if input.array()? != digest {
        return Err(corrupt("its checksum is wrong"));
    }
    let next = |number: u64, by: u64| {
        let next = number.checked_add(by).filter(|next| i64::try_from(*next).is_ok());
        next.ok_or_else(|| corrupt("its epoch or revision is too large"))
    };
    Ok(Cursor { epoch: next(epoch.max(after), 1)?, revision: Revision::new(next(revision, BUMP)?) })
}

fn corrupt(why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("cannot restore the store from this snapshot: {why}"))
        .with_remedy("use another snapshot, or that of another member of the pool")
}

struct Input<'a> {
    from: &'a mut dyn Read,
    digest: Sha256,
}

impl Input<'_> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.from.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => corrupt("it ends too early"),
            _ => Error::io("cannot read a snapshot of the store", error),
        })?;
        self.digest.update(bytes);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn bytes(&mut self, length: usize, most: usize) -> Result<Vec<u8>> {
        if length > most {
            return Err(corrupt("a key or a value is too long"));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn pair(&mut self, key: usize) -> Result<Pair> {
        let key = String::from_utf8(self.bytes(key, MAX_KEY)?).map_err(|_| corrupt("a key is no text"))?;
        let length = self.u32()? as usize;
        let value = self.bytes(length, MAX_SIZE)?;
        let (create_revision, mod_revision) = (Revision::new(self.u64()?), Revision::new(self.u64()?));
        Ok(Pair { key, value, create_revision, mod_revision, version: self.u64()?, lease: None })
    }
}
