//! The source of an archive: a file, or standard input.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;

/// An archive to read. Ctrl-C ends waiting for more of it.
#[derive(Debug)]
pub struct Input<'a> {
    file: File,
    interrupt: &'a Interrupt,
}

impl<'a> Input<'a> {
    /// Opens an archive; `-` is standard input.
    pub fn open(path: &Path, interrupt: &'a Interrupt) -> Result<Self> {
        let file = if path == Path::new("-") { standard_input() } else { File::open(path) };
        let file = file.map_err(|error| Failure::new(Name(path), error))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(Failure::new(Name(path), "is a folder; name an archive"));
        }
        if file.is_terminal() {
            return Err(Failure::new(Name(path), "cannot read an archive from a terminal; name a file, or use a pipe"));
        }
        Ok(Self { file, interrupt })
    }

    /// Its size in bytes, if known.
    pub fn size(&self) -> Option<u64> {
        self.file.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len())
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupt.wait_readable(self.file.as_fd())?;
        self.file.read(buffer)
    }
}

fn standard_input() -> io::Result<File> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// The name of the archive in messages.
#[derive(Debug)]
pub struct Name<'a>(pub &'a Path);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Path::new("-") { f.write_str("standard input") } else { self.0.display().fmt(f) }
    }
}
