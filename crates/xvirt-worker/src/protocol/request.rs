//! What a service asks of a worker.

use serde::{Deserialize, Serialize};

use super::{Json, Versions};

/// A request with its number, which the reply repeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberedRequest {
    /// The number, which the sender chooses.
    pub id: u64,
    /// The request.
    pub request: Request,
}

/// A descriptor that was sent with the request: its index among them. Each may be used once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u32);

/// A request. Sizes are in bytes, times in milliseconds. The verbs are those of `xvirt_core::vm::Vm`, with their rules
/// and errors.
///
/// One that waits for the guest, a suspend and a resume are cancelled when the service hangs up. If it only ends its side
/// of the connection (shutdown(2), `SHUT_WR`), the answer still says what came of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// Agrees on a version: the first request of each connection. Its form is the same in all versions.
    Hello {
        /// The versions that the service speaks.
        versions: Versions,
        /// The features that it knows.
        #[serde(default)]
        features: Vec<String>,
    },
    /// Builds the VM, halted or suspended. A worker builds one VM; if that fails, it ends.
    Build(Box<Build>),
    /// Starts the VM.
    Start,
    /// Resumes the VM from the saved state that it was built with.
    Resume {
        /// How (`xvirt_core::vm::Resume`); the default if absent.
        #[serde(default)]
        how: Option<Json>,
    },
    /// Asks the guest to shut down, and waits for that. The worker ends with its guest.
    CleanShutdown {
        /// How long to wait for the guest.
        timeout: u64,
    },
    /// Powers the VM off.
    HardShutdown,
    /// Asks the guest to shut down, waits for that, and starts it again.
    CleanReboot {
        /// How long to wait for the guest.
        timeout: u64,
    },
    /// Resets the VM.
    HardReboot,
    /// Pauses the VM.
    Pause,
    /// Unpauses the VM.
    Unpause,
    /// Suspends the VM. The worker ends afterwards.
    Suspend {
        /// An empty file that is open for reading and writing.
        file: Slot,
    },
    /// Hands the running VM over to another worker of this host, which was asked to [take over](Self::TakeOver). Their
    /// guest is stopped for a few milliseconds, because both share its memory, which must be in a file. This worker ends
    /// afterwards; after an error the guest runs on here.
    HandOver {
        /// One end of a pair of connected unix stream sockets.
        channel: Slot,
    },
    /// Takes over the VM of another worker of this host, instead of a build. When this is answered, the guest runs here;
    /// if it fails, this worker ends.
    TakeOver(Box<TakeOver>),
    /// Decides a hand-over whose other worker was lost, after which the VM stays paused here: the guest may have run there.
    /// Waits for a hand-over that still goes on. If there is nothing to decide, it fails with
    /// [`kind::INVALID_STATE`](crate::kind::INVALID_STATE).
    ResolveHandOver {
        /// Whether the guest has run there: then it must not go on here, and this worker ends. If it has not and never
        /// will, it goes on here.
        moved: bool,
    },
    /// Plugs a disk in.
    PlugDisk(NewDisk),
    /// Unplugs the disk at a position.
    UnplugDisk {
        /// Its position.
        position: u64,
        /// How long to wait for the guest.
        timeout: u64,
    },
    /// Grows the disk at a position.
    ResizeDisk {
        /// Its position.
        position: u64,
        /// The new size.
        size: u64,
    },
    /// Plugs a network interface in.
    PlugNic(NewNic),
    /// Unplugs the network interface at a position.
    UnplugNic {
        /// Its position.
        position: u64,
        /// How long to wait for the guest.
        timeout: u64,
    },
    /// Limits the rate of a disk.
    SetDiskLimit {
        /// Its position.
        position: u64,
        /// The limit (`xvirt_core::config::RateLimit`).
        limit: Json,
    },
    /// Limits the rates of a network interface.
    SetNicLimit {
        /// Its position.
        position: u64,
        /// The limit (`xvirt_core::config::NicLimit`).
        limit: Json,
    },
    /// Sets how much memory the guest should have.
    SetMemoryTarget {
        /// The target.
        target: u64,
    },
    /// Returns the counters of the VM (`xvirt_core::vm::Statistics`).
    Statistics,
    /// Says what the worker is and holds.
    Describe,
    /// Turns the connection into a stream of events.
    Events {
        /// The sequence number after which they begin; 0 for all that are still kept.
        #[serde(default)]
        after: u64,
    },
    /// Turns the connection into a console of the VM: output from the oldest byte kept, and input.
    Console {
        /// Which one.
        #[serde(default)]
        console: ConsoleKind,
    },
    /// Ends the worker. A VM that is in memory is powered off; a saved state is left as it is, so that another worker can
    /// resume from it.
    End,
}

/// A console of a VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConsoleKind {
    /// The first serial port.
    #[default]
    Serial,
    /// The virtio console.
    Virtio,
}

/// What a VM is built from: its configuration as data, and everything that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The epoch of the VM's owner, which [`Describe`](Request::Describe) tells later services.
    #[serde(default)]
    pub owner_epoch: u64,
    /// The configuration (`xvirt_core::config::VmConfig`). Its paths and names are only told by
    /// [`Describe`](Request::Describe); the descriptors are used instead.
    pub config: Json,
    /// The report of the host (`xvirt_core::host::Host`).
    pub host: Json,
    /// `/dev/kvm`.
    pub kvm: Option<Slot>,
    /// The kernel, if the configuration gives one.
    #[serde(default)]
    pub kernel: Option<Slot>,
    /// The initial RAM disk, if the configuration gives one.
    #[serde(default)]
    pub initrd: Option<Slot>,
    /// The images of each disk, in the order of the configuration.
    #[serde(default)]
    pub disks: Vec<Vec<Layer>>,
    /// The connection of each network interface, in the order of the configuration.
    #[serde(default)]
    pub nics: Vec<NicBackend>,
    /// The file that holds the memory, if another process is to share it.
    #[serde(default)]
    pub memory: Option<Slot>,
    /// The listening socket of the vsock device, if the configuration has one.
    #[serde(default)]
    pub vsock: Option<Slot>,
    /// The saved state to resume from, open for reading and writing.
    #[serde(default)]
    pub saved_state: Option<Slot>,
}

/// What a worker needs to take over a VM. All else comes from the other worker: the configuration, and the descriptors of
/// taps and of what the guest was booted from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeOver {
    /// The report of the host (`xvirt_core::host::Host`).
    pub host: Json,
    /// `/dev/kvm`.
    pub kvm: Option<Slot>,
    /// The images of each disk, in the order of the [description](super::Description) of the other worker. They must
    /// have been opened anew: a descriptor that the other worker has shares its locks.
    #[serde(default)]
    pub disks: Vec<Vec<Layer>>,
    /// The other end of the pair of sockets.
    pub channel: Slot,
}

/// An image of a disk. The image itself comes first, then its backing files from the nearest to the deepest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The open file.
    pub file: Slot,
    /// Its format, as in a configuration: `raw` or `qcow2`.
    pub format: String,
}

/// The connection of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NicBackend {
    /// An open tap interface. The configuration must have its MTU, because a worker cannot ask the host for it.
    Tap(Slot),
    /// A connected unix stream socket that carries frames.
    Stream(Slot),
}

/// A disk to plug in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDisk {
    /// Its configuration (`xvirt_core::config::Disk`).
    pub config: Json,
    /// Its images.
    pub layers: Vec<Layer>,
}

/// A network interface to plug in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNic {
    /// Its configuration (`xvirt_core::config::Nic`).
    pub config: Json,
    /// Its connection.
    pub backend: NicBackend,
}
