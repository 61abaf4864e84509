//! The command line.

use std::path::PathBuf;

use xvirt_benches::Result;
use xvirt_core::config::ByteSize;

pub(crate) const USAGE: &str = "\
usage: archives [OPTION]...

Exports, imports and verifies a disk, half random and half holes, in turn with the programs people use for the same.

  --size SIZE     size of the disk (4GiB)
  --runs N        how often each is run (5)
  --folder DIR    where the files are made, half of the size three times (the system's folder for temporary files)
  --help          this text

Needs cp, tar and zstd.
";

pub(crate) struct Options {
    pub(crate) size: ByteSize,
    pub(crate) runs: usize,
    pub(crate) folder: PathBuf,
}

impl Options {
    /// Parses the arguments; `None` if help is requested.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self { size: ByteSize::gib(4), runs: 5, folder: std::env::temp_dir() };
        while let Some(name) = arguments.next() {
            if name == "--help" || name == "-h" {
                return Ok(None);
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--size" => options.size = value.parse()?,
                "--runs" => {
                    options.runs = value.parse().map_err(|_| format!("--runs needs a number, not '{value}'"))?
                }
                "--folder" => options.folder = value.into(),
                _ => return Err(format!("there is no option {name}").into()),
            }
        }
        Ok(Some(options))
    }
}
