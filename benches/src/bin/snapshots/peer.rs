//! A VMM that takes part in the comparison.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use xvirt_benches::Result;
use xvirt_benches::guest::Guest;

use crate::dd;

/// Where the files of a saved guest are when it is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// On the storage only.
    Cold,
    /// In memory. Then peers that can load the guest's memory while it runs do so.
    Warm,
}

impl Cache {
    /// Brings the files of a folder there.
    pub(crate) fn prepare(self, folder: &Path) -> Result<()> {
        match self {
            Self::Cold => files(folder)?.iter().try_for_each(|file| dd::evict(file)),
            Self::Warm => files(folder)?
                .iter()
                .try_for_each(|file| Ok(std::io::copy(&mut File::open(file)?, &mut std::io::sink()).map(drop)?)),
        }
    }
}

pub(crate) trait Peer {
    /// The name in the table.
    fn name(&self) -> &str;

    /// Starts the guest, saves it to files, and continues it in another process. Returns the time until the files are
    /// on stable storage, and that from the request to the other process until the guest runs.
    fn suspend_and_resume(&mut self, guest: &Guest, cache: Cache) -> Result<(Duration, Duration)>;
}

/// The time that `work` takes.
pub(crate) fn time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

/// Writes the files of a folder to stable storage.
pub(crate) fn sync(folder: &Path) -> Result<()> {
    files(folder)?.iter().try_for_each(|file| Ok(File::open(file)?.sync_all()?))
}

fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_file()).collect())
}
