//! Hands the VM over to another worker of this host, or takes one over: the upgrade of a worker under a running guest.
//!
//! The service gives each of the two one end of a pair of sockets. The old worker sends a [`Build`] over it, with the
//! descriptors of all that both use: what the guest was booted from, its taps and its vsock listener. The local hand-over
//! of `xvirt_core` follows. Neither needs the service from there on.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use xvirt_core::config::{Boot, BootFile, NicBackendConfig, VmConfig};
use xvirt_core::migrate::{self, MemoryTransfer, Migration, Reception, Sockets};

use super::build::{self, Guest};
use super::sources::{Received, Sources};
use super::{Worker, lock};
use crate::protocol::{Answer, Build, Json, NicBackend, Slot, TakeOver, decode, encode, receive, send};
use crate::{Error, Result, kind};

/// How long the other worker may take to say what it hands over.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hands the VM over to the worker at the other end of `channel`, with which this one ends.
pub(super) fn hand_over(guest: &Guest, channel: OwnedFd) -> Result<Answer> {
    let channel = UnixStream::from(channel);
    channel.set_write_timeout(Some(PATIENCE)).map_err(|e| Error::io("cannot use the channel", &e))?;
    let shared = Shared::of(guest)?;
    let descriptors: Vec<_> = shared.descriptors.iter().map(AsFd::as_fd).collect();
    send(&channel, &encode(&shared.build)?, &descriptors)?;
    let sockets = Sockets::new([channel]).map_err(|e| Error::io("cannot use the channel", &e))?;
    let settings = Migration::default().memory(MemoryTransfer::LocalHandOver);
    let summary = guest.vm.migrate(&sockets, &settings, &(), &())?;
    Ok(Answer::Report(Json::of(&summary)?))
}

/// Takes over the VM of the worker at the other end of the channel. If that fails, this worker ends.
pub(super) fn take_over(worker: &Worker, request: &TakeOver, descriptors: Vec<OwnedFd>) -> Result<()> {
    build::occupy(worker, || arrive(request, Received::new(descriptors)))
}

fn arrive(request: &TakeOver, mut own: Received) -> Result<Guest> {
    let host = own.host(&request.host, request.kvm)?;
    let channel = UnixStream::from(own.take(request.channel, "the channel")?);
    channel.set_read_timeout(Some(PATIENCE)).map_err(|e| Error::io("cannot use the channel", &e))?;
    let frame = receive(&channel, PATIENCE)?
        .ok_or_else(|| Error::new(kind::GONE, "the worker of the VM hung up before it said what it hands over"))?;
    let mut build: Build = decode(&frame.bytes)?;
    let mut received = Received::new(frame.descriptors);
    build.disks = received.append(own, &request.disks);
    let mut config: VmConfig = build.config.read("the configuration of the VM")?;
    let sources = Sources::replace(&mut config, &build, &mut received)?;
    let config = config.shared_memory();
    let sockets = Sockets::new([channel]).map_err(|e| Error::io("cannot use the channel", &e))?;
    let vm = migrate::receive(&sockets, &host, &Reception::default(), &(), &(), &mut |_| Ok(config.clone()))?;
    Ok(Guest::new(vm, build.owner_epoch, sources))
}

/// What both workers use.
#[derive(Default)]
struct Shared {
    build: Build,
    descriptors: Vec<File>,
}

impl Shared {
    fn of(guest: &Guest) -> Result<Self> {
        let (mut config, disks, nics) = guest.config()?;
        let mut shared = Self::default();
        if let Boot::Kernel { kernel, initrd, .. } = &config.boot {
            shared.build.kernel = shared.boot_file(kernel)?;
            shared.build.initrd = initrd.as_ref().map(|file| shared.boot_file(file)).transpose()?.flatten();
        }
        for nic in &config.nics {
            let NicBackendConfig::TapDescriptor(tap) = &nic.backend else {
                let what = "a network interface is a stream of frames, which cannot be handed over between two of them";
                return Err(Error::new(kind::INVALID_CONFIG, what)
                    .with_remedy("unplug it first, or shut the VM down and start it in another worker"));
            };
            let slot = shared.add(tap)?;
            shared.build.nics.push(NicBackend::Tap(slot));
        }
        if let Some(listener) = config.vsock.as_ref().and_then(|vsock| vsock.listener.as_ref()) {
            shared.build.vsock = Some(shared.add(listener)?);
        }
        lock(&guest.sources).restore(&mut config, &disks, &nics);
        shared.build.config = Json::of(&config)?;
        shared.build.owner_epoch = guest.owner_epoch;
        Ok(shared)
    }

    fn boot_file(&mut self, file: &BootFile) -> Result<Option<Slot>> {
        match file {
            BootFile::Descriptor(descriptor) => self.add(descriptor).map(Some),
            _ => Ok(None),
        }
    }

    fn add(&mut self, descriptor: &impl AsFd) -> Result<Slot> {
        let copy = descriptor.as_fd().try_clone_to_owned();
        self.descriptors.push(copy.map_err(|e| Error::io("cannot duplicate a descriptor", &e))?.into());
        Ok(Slot(self.descriptors.len() as u32 - 1))
    }
}
