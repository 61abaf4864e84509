//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::account::Account;
use crate::disk::DiskVerb;
use crate::message::MessageVerb;
use crate::network::NetworkVerb;
use crate::nic::NicVerb;
use crate::port::Port;
use crate::settings::Changes;
use crate::size::Size;
use crate::sr::SrVerb;
use crate::user::UserVerb;

/// Runs and manages virtual machines on this host
///
/// `xvirt host run` is the host service; usually, systemd starts it. Every other command asks that service to do
/// something, through its socket. VMs run in processes of their own: stopping the service stops no VM.
///
/// A first VM, from a kernel in /var/lib/xvirt/kernels:
///
///   xvirt vm create web --memory 512M --kernel vmlinuz --initrd initrd.img --disk 8G
///   xvirt vm start web
///   xvirt vm console web
#[derive(Debug, Parser)]
#[command(name = "xvirt", version, verbatim_doc_comment, after_help = AFTER, max_term_width = 100)]
pub struct Arguments {
    /// The socket of the host service [default: /run/xvirt/xvirt.sock]
    #[arg(long, global = true, value_name = "PATH", env = "XVIRT_SOCKET")]
    pub socket: Option<PathBuf>,
    /// Print JSON instead of text; errors are then JSON on standard error
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub noun: Noun,
}

const AFTER: &str = "A VM is given by its name or its UUID. Ctrl-C cancels what a command waits for.

Exit status: 0 done; 1 the service refused it or it failed; 2 invalid arguments; 3 the service cannot be reached;
4 there is no such VM, task or user, or several have the name; 130 cancelled by Ctrl-C.";

#[derive(Debug, Subcommand)]
pub enum Noun {
    /// The host service, and this host
    #[command(subcommand)]
    Host(HostVerb),
    /// Virtual machines
    #[command(subcommand)]
    Vm(VmVerb),
    /// Disks of VMs
    #[command(subcommand)]
    Disk(DiskVerb),
    /// Network interfaces of VMs
    #[command(subcommand)]
    Nic(NicVerb),
    /// Networks
    #[command(subcommand)]
    Network(NetworkVerb),
    /// Repositories of disks
    #[command(subcommand)]
    Sr(SrVerb),
    /// The users of XenAPI, who log in from elsewhere with a password
    #[command(subcommand)]
    User(UserVerb),
    /// What the service does and has done
    #[command(subcommand)]
    Task(TaskVerb),
    /// What happened that nobody asked for
    #[command(subcommand)]
    Message(MessageVerb),
    /// Print the completions for a shell, to be sourced by it
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Manual {
        /// The folder
        folder: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum HostVerb {
    /// Run the host service in the foreground, until SIGTERM or Ctrl-C
    ///
    /// VMs outlive it: whoever starts it again with the same folders finds them running. It logs to standard error, and
    /// tells systemd when it is ready.
    Run(HostRun),
    /// Show this host: its version, processors, memory and VMs
    Show,
}

#[derive(Debug, Args)]
pub struct HostRun {
    /// The folder for everything that is kept: the state, disks, kernels, logs
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/xvirt")]
    pub root: PathBuf,
    /// The folder for sockets, emptied by a reboot of the host; that of the service is xvirt.sock in it
    #[arg(long, value_name = "FOLDER", default_value = "/run/xvirt")]
    pub run: PathBuf,
    /// The program of VMs' processes; by default, xvirt-worker beside this program
    #[arg(long, value_name = "PROGRAM")]
    pub worker: Option<PathBuf>,
    /// The user of VMs' processes: a name in /etc/passwd, or UID:GID; by default that of the service
    #[arg(long, value_name = "USER")]
    pub worker_user: Option<Account>,
    /// Memory of the host that no VM gets
    #[arg(long, value_name = "SIZE")]
    pub memory_reserve: Option<Size>,
    /// Serve XenAPI with TLS on this port, of one address or of all; may be given several times
    ///
    /// The private key and the certificate are in ROOT/certificate.pem, which is made if it is not there, and may be
    /// replaced at any time.
    #[arg(long, value_name = "[ADDRESS:]PORT")]
    pub https: Vec<Port>,
    /// Serve XenAPI on this port without TLS, so that passwords can be read on the way; may be given several times
    #[arg(long, value_name = "[ADDRESS:]PORT")]
    pub http: Vec<Port>,
    /// What is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "XVIRT_LOG")]
    pub log: tracing::Level,
}

#[derive(Debug, Subcommand)]
pub enum VmVerb {
    /// List the VMs
    List,
    /// Show a VM
    Show(OneVm),
    /// Create a VM, which is then halted
    Create(Create),
    /// Change a VM
    Set {
        #[command(flatten)]
        vm: OneVm,
        #[command(flatten)]
        changes: Changes,
    },
    /// Copy a halted VM with its disks, which share what neither changes
    Clone {
        #[command(flatten)]
        vm: OneVm,
        /// The name of the copy
        name: String,
    },
    /// Start a VM
    Start {
        #[command(flatten)]
        vm: OneVm,
        /// Leave it paused before its first instruction
        #[arg(long)]
        paused: bool,
        /// Connect this terminal to its console afterwards
        #[arg(long)]
        console: bool,
    },
    /// Connect this terminal to the console of a running VM; Ctrl-] leaves
    Console(OneVm),
    /// Ask the guest to shut down, and wait until it has
    Shutdown {
        /// The name or the UUID of the VM
        #[arg(value_name = "VM", required_unless_present = "all")]
        vm: Option<String>,
        /// All that run, as when the host goes down; guests that take too long are stopped
        #[arg(long, conflicts_with = "vm")]
        all: bool,
        /// How long all guests together may take, in seconds [default: 60]
        #[arg(long, value_name = "SECONDS", requires = "all")]
        patience: Option<u64>,
    },
    /// Stop a VM at once, as if its power failed
    Stop(OneVm),
    /// Ask the guest to start again
    Reboot {
        #[command(flatten)]
        vm: OneVm,
        /// Reset it at once instead of asking
        #[arg(long)]
        hard: bool,
    },
    /// Hold a VM where it is, in memory
    Pause(OneVm),
    /// Let a paused VM run on
    Unpause(OneVm),
    /// Save a VM's memory to disk, and halt it
    Suspend(OneVm),
    /// Let a suspended VM run on
    Resume(OneVm),
    /// Move a running VM to the installed version of the program that runs it
    ///
    /// Its guest is stopped for some milliseconds. An upgrade of the package leaves running VMs in processes of the old
    /// version; `xvirt vm list` shows the version of each. If it fails, the VM runs on where it is.
    UpgradeWorker {
        /// The name or the UUID of the VM
        #[arg(value_name = "VM", required_unless_present = "all")]
        vm: Option<String>,
        /// All that run another version than that of their host's service, one after another
        #[arg(long, conflicts_with = "vm")]
        all: bool,
    },
    /// Destroy a halted VM, with its disks unless they are kept
    Destroy {
        #[command(flatten)]
        vm: OneVm,
        /// Keep its disks
        #[arg(long)]
        keep_disks: bool,
    },
}

#[derive(Debug, Args)]
pub struct OneVm {
    /// The name or the UUID of the VM
    #[arg(value_name = "VM")]
    pub vm: String,
}

#[derive(Debug, Args)]
pub struct Create {
    /// Its name
    pub name: String,
    /// Its description
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub description: String,
    /// Its memory, such as 512M or 4G
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    pub memory: Size,
    /// The number of its vCPUs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=254))]
    pub vcpus: u32,
    /// A kernel in the host's folder of kernels (ROOT/kernels); without one, it boots from its first disk
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<String>,
    /// The initial RAM disk of the kernel, in the same folder
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub initrd: Option<String>,
    /// The command line of the kernel; without --kernel, what is added to the one on the disk
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub command_line: String,
    /// An empty disk of this size; may be given several times
    #[arg(long = "disk", value_name = "SIZE")]
    pub disks: Vec<Size>,
    /// The name or UUID of the repository for the disks; by default that of the pool
    #[arg(long, value_name = "SR", requires = "disks")]
    pub repository: Option<String>,
    /// A network interface on the network of this name or UUID; may be given several times
    #[arg(long = "network", value_name = "NETWORK")]
    pub networks: Vec<String>,
    /// Start it whenever the host has started
    #[arg(long)]
    pub autostart: bool,
}

#[derive(Debug, Subcommand)]
pub enum TaskVerb {
    /// List the tasks, those that go on and those that have ended lately
    List,
    /// Show a task
    Show {
        /// The UUID of the task
        task: String,
    },
    /// Cancel a task
    Cancel {
        /// The UUID of the task
        task: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
