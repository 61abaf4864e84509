//! The command line.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use xvirt_core::config::ByteSize;
use xvirt_core::disk::ImageFormat;

use crate::reading::Reading;
use crate::writing::Writing;

/// Works with virtual appliances (.xva), the format of XenServer and XCP-ng
///
/// For an archive, - means standard input or standard output. The exit status is 0 on success, 1 if something failed or
/// an archive or a repository is damaged, 2 for invalid arguments, 130 after Ctrl-C or when the terminal is closed.
///
/// Files appear under their names when they are complete. What a killed run leaves beside them, under hidden names, is
/// removed by the next run that writes into the same folder.
#[derive(Debug, Parser)]
#[command(name = "appliance", version, arg_required_else_help = false)]
pub struct Appliance {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Describe an archive, reading only its beginning
    Inspect(Look),
    /// Check a whole archive, every header, offset and checksum, and whether XenServer and XCP-ng can import it
    Verify(Look),
    /// Extract the disks of an archive
    Extract(Extract),
    /// Make an archive from disk images
    Pack(Pack),
    /// Import an archive into a repository as a VM
    Import(Import),
    /// Export a VM of a repository as an archive
    Export(ExportStored),
    /// List the VMs of a repository
    List(List),
    /// Remove a VM of a repository, with its disks
    Remove(Remove),
    /// Check a repository for damage
    Check(CheckStored),
}

#[derive(Debug, Args)]
pub struct Look {
    /// The archive
    pub file: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub reading: Reading,
}

#[derive(Debug, Args)]
pub struct Extract {
    /// The archive
    pub file: PathBuf,
    /// The folder for the disks, created if missing
    pub folder: PathBuf,
    /// Extract only disk N, counted from 0; damage elsewhere in the archive is then no failure
    #[arg(long, value_name = "N")]
    pub disk: Option<u32>,
    /// Save what is whole of a damaged archive, and say which ranges are not; the exit status is then 1
    #[arg(long)]
    pub keep_going: bool,
    /// The format of the disk images
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    pub format: Format,
    /// Accept contents that have no checksum
    #[arg(long)]
    pub accept_unchecked: bool,
    #[command(flatten)]
    pub reading: Reading,
}

#[derive(Debug, Args)]
pub struct Pack {
    /// The archive to write
    pub output: PathBuf,
    /// The VM's name
    #[arg(long)]
    pub name: String,
    /// The VM's description
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub description: String,
    /// The VM's memory
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    pub memory: ByteSize,
    /// The number of vCPUs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub vcpus: u32,
    /// A disk image; the first is the boot disk. If its name ends in .raw, it is raw; otherwise, its format is detected
    #[arg(long = "disk", value_name = "FILE", required = true)]
    pub disks: Vec<PathBuf>,
    /// A network interface; on import, it is connected to the network of this bridge, whose name follows an equals sign
    #[arg(long = "nic", value_name = "BRIDGE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub nics: Vec<String>,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The archive
    pub file: PathBuf,
    /// The folder of the repository, created if missing
    #[arg(long, value_name = "DIR")]
    pub repository: PathBuf,
    /// Another name for the VM
    #[arg(long)]
    pub name: Option<String>,
    /// Connect interfaces on the network NAME to a bridge of this host; =BRIDGE is for a network without a name
    #[arg(long = "network", value_name = "NAME=BRIDGE", value_parser = pair)]
    pub networks: Vec<(String, String)>,
    /// Keep the UUID and hardware addresses: for a VM that is moved here and will not run at its origin again
    #[arg(long)]
    pub preserve: bool,
    /// Accept contents that have no checksum
    #[arg(long)]
    pub accept_unchecked: bool,
    #[command(flatten)]
    pub reading: Reading,
    /// Start the VM with its serial console on this terminal, until it halts; Ctrl-C presses its power button
    #[arg(long)]
    pub start: bool,
}

#[derive(Debug, Args)]
pub struct ExportStored {
    /// The name or UUID of the VM
    pub vm: String,
    /// The archive to write
    pub output: PathBuf,
    /// The folder of the repository
    #[arg(long, value_name = "DIR")]
    pub repository: PathBuf,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct List {
    /// The folder of the repository
    #[arg(long, value_name = "DIR")]
    pub repository: PathBuf,
    /// Print JSON instead of a line for each VM
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Remove {
    /// The name or UUID of the VM
    pub vm: String,
    /// The folder of the repository
    #[arg(long, value_name = "DIR")]
    pub repository: PathBuf,
}

#[derive(Debug, Args)]
pub struct CheckStored {
    /// The folder of the repository
    #[arg(long, value_name = "DIR")]
    pub repository: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    Raw,
    Qcow2,
}

impl From<Format> for ImageFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Raw => Self::Raw,
            Format::Qcow2 => Self::Qcow2,
        }
    }
}

/// Whether an archive is named right after `--nic`, where its name looks like that of a bridge.
pub fn follows_nic(archive: &Path) -> bool {
    let arguments: Vec<_> = std::env::args_os().collect();
    archive != Path::new("-") && arguments.windows(2).any(|pair| pair[0] == "--nic" && *pair[1] == *archive.as_os_str())
}

/// Parses `NAME=BRIDGE`. Network names may contain an equals sign, bridge names cannot.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((name, bridge)) if !bridge.is_empty() => Ok((name.to_owned(), bridge.to_owned())),
        _ => Err("write the network's name, an equals sign, and the bridge".into()),
    }
}
