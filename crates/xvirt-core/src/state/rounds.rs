//! Saves the memory of a guest in rounds: all its pages while it runs, then those that it has written meanwhile, and the
//! rest once it does not run.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use super::dirty::DirtyPages;
use super::memory::{CHUNK, MemoryMap, PAGE};
use super::pages::{PageFile, pages_of};
use super::parallel::{Work, divide};
use crate::Result;
use crate::memory::GuestRam;
use crate::progress::Progress;

/// Memory that is being saved in rounds.
#[derive(Debug)]
pub(crate) struct Rounds {
    ram: GuestRam,
    pages: PageFile,
    /// How many rounds there were.
    pub(crate) count: u32,
    /// How many bytes were written in all rounds.
    pub(crate) written: u64,
}

impl Rounds {
    /// For the memory of `ram` in `file`, which must be empty.
    pub(crate) fn new(ram: GuestRam, file: File) -> Result<Self> {
        Ok(Self { pages: PageFile::new(super::ranges_of(&ram), file)?, ram, count: 0, written: 0 })
    }

    /// All pages, for the first round.
    pub(crate) fn all(&self) -> DirtyPages {
        DirtyPages::all(self.pages.count())
    }

    /// Makes room for what comes behind memory.
    ///
    /// # Errors
    /// `NoSpace`.
    pub(crate) fn reserve(&self) -> Result<()> {
        self.pages.reserve(&DirtyPages::none(self.pages.count()))
    }

    /// Writes these pages as they are now.
    ///
    /// # Errors
    /// `NoSpace` or another failure of the file, or `Cancelled`.
    pub(crate) fn write(&mut self, dirty: &DirtyPages, progress: &dyn Progress) -> Result<()> {
        let count = self.pages.count();
        let chunks: Vec<_> = (0..)
            .map_while(|number| Some(pages_of(number, count)).filter(|pages| pages.start < count))
            .filter(|pages| dirty.runs(pages.clone(), 1).next().is_some())
            .collect();
        let (name, written) = ("saving the guest's memory", AtomicU64::new(0));
        let work = Work { parts: chunks.len() as u64, bytes: dirty.bytes(), name, progress };
        divide(
            &work,
            || vec![0; CHUNK],
            |number, buffer| {
                let mut done = 0;
                let pages = chunks.get(number as usize).cloned().unwrap_or_default();
                for run in dirty.runs(pages, CHUNK as u64) {
                    let bytes = &mut buffer[..(run.end - run.start) as usize * PAGE];
                    self.pages.read(&self.ram, run.start, bytes)?;
                    written.fetch_add(self.pages.write(run.start, bytes)?, Ordering::Relaxed);
                    done += bytes.len() as u64;
                }
                Ok(done)
            },
        )?;
        self.count += 1;
        self.written += written.into_inner();
        Ok(())
    }

    /// What is in the file.
    pub(crate) fn map(&self) -> MemoryMap {
        self.pages.map()
    }
}
