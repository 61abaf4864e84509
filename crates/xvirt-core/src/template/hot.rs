//! Templates with the memory of a booted VM, and forks: VMs that go on where another one is.

use super::identity::renew;
use super::seal::{LayerDraft, Seal, describe, take_copy};
use crate::config::DiskSource;
use crate::disk::{self, Access};
use crate::progress::{Progress, step};
use crate::repository::{
    Directory, Repository, StoredVm, Template, UnlistedCheckpoint, VmRecord, check_name, child, disk_name, link_file,
    link_saved_state, protect, saved_state,
};
use crate::vm::Vm;
use crate::{Error, ErrorKind, Result};

/// The most VMs of one fork.
const MAX_FORKS: usize = 10_000;

impl Repository {
    /// Makes a template with memory of a running, paused or suspended VM of the repository, which goes on. Its
    /// [instances](Self::instantiate) are suspended at the moment of the seal, all with one file of memory, and
    /// [resume](crate::vm::Vm::resume) within milliseconds where that file can be mapped: then they share the pages that
    /// they do not write. That needs private memory without huge pages, and a repository on a disk of this host with one
    /// of the file systems that [`MemoryLoading::Lazy`](crate::vm::MemoryLoading::Lazy) names. Otherwise an instance reads
    /// all memory before it runs, or with that choice while it runs, and has it for itself.
    ///
    /// No disk is copied, except read-only ones outside the repository. The guest is stopped as for a
    /// [`checkpoint`](Self::checkpoint); the disks are hashed while it runs again.
    ///
    /// # The file of memory
    ///
    /// Instances that run use the template's file. It is read-only, and does not change. Nobody verifies its checksums at a
    /// resume, so what is damaged in it is damaged in every instance: [`check`](Self::check) finds that. An error of its
    /// storage, or somebody who shortens it, ends the process with SIGBUS; with
    /// [`MemoryLoading::Read`](crate::vm::MemoryLoading), an instance reads and verifies all of it first.
    ///
    /// # What the guest has to do
    ///
    /// Each instance has its own UUID, MAC addresses, generation ID, vsock socket, console and copy-on-write disks. But
    /// what the guest keeps in memory is the same in all of them until it renews that:
    ///
    /// - *MAC addresses:* the card shows its new address, and sends nothing from the old one. A guest that does not read
    ///   it again needs a command, such as `ip link set dev eth0 address MAC` through the [agent](crate::agent), or a card
    ///   that is plugged in after the resume.
    /// - *IP addresses and host name:* an agent or a seed disk that is plugged in after the resume sets them; a DHCP
    ///   client has to ask again.
    /// - *Machine ID and keys:* files such as `/etc/machine-id` and SSH host keys are those of the sealed VM. The kernel
    ///   also keeps the SMBIOS UUID that it read when it booted, from which `systemd-machine-id-setup` would make the same
    ///   ID for all: `systemd-id128 new` makes a random one.
    /// - *Random numbers:* Linux reseeds its generator when the generation ID changes (5.18 and later), if it has the driver
    ///   (`CONFIG_VMGENID`; the cloud kernel of Debian 12 has not). Without it, all instances draw the same numbers until
    ///   random bytes of the host are written to `/dev/urandom` and `RNDRESEEDCRNG` is called there (random(4)). Programs
    ///   that keep their own state, such as keys, tokens and UUIDs in memory, must not have made them before the seal.
    /// - *Clocks:* go on as after a resume; see [`ElapsedTime`](crate::vm::ElapsedTime).
    /// - *Connections* that were open at the seal belong to the sealed VM.
    ///
    /// # Errors
    /// As [`seal`](Self::seal) and [`checkpoint`](Self::checkpoint). Then there is no template, and the VM goes on. Its disks
    /// may be based on one more image, as after a snapshot that was removed.
    pub fn seal_hot(&self, seal: impl Into<Seal>, vm: &Vm, progress: &dyn Progress) -> Result<Template> {
        let seal = seal.into();
        self.require_sealable(&seal)?;
        let checkpoint = self.take_unlisted(vm, format!("template {}", seal.name), progress)?;
        self.seal_checkpoint(&seal, &checkpoint, progress)
    }

    /// Makes `count` VMs of a running, paused or suspended VM of the repository, which goes on. They are called `name`
    /// with a dash and a number from 1, and are suspended at the same moment, as instances of a template
    /// [with memory](Self::seal_hot), and share a file of memory as those do, under the same conditions
    /// ([`MemoryLoading`](crate::vm::MemoryLoading)). Their configuration is that of the VM, with an identity of their own.
    ///
    /// `progress` is asked before each VM whether to cancel.
    ///
    /// Its memory is copied once, to a file in the repository that all of them share. That is so for
    /// [shared memory](crate::config::VmConfig::shared_memory) as well, whose pages they could share with the VM without a
    /// copy: they would be lost with this process, while VMs of a repository outlive it; and the VM would have to leave
    /// the memory that others, such as a local hand-over, are told is its own.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint), and [`InvalidConfig`](ErrorKind::InvalidConfig) for an invalid name or more
    /// than 10,000 VMs. Then none of the new VMs is left, except those that the error names, because somebody uses them
    /// already or they cannot be removed, and the VM goes on. Its disks may be based on one more image. VMs that were
    /// complete when the process died stay.
    pub fn fork(
        &self,
        vm: &Vm,
        count: usize,
        name: impl Into<String>,
        progress: &dyn Progress,
    ) -> Result<Vec<StoredVm>> {
        let name = name.into();
        if count > MAX_FORKS {
            let what = format!("cannot fork VM '{}' {count} times at once", vm.name());
            return Err(
                Error::new(ErrorKind::InvalidConfig, what).with_remedy(format!("fork it {MAX_FORKS} times at most"))
            );
        }
        check_name("VM", &format!("{name}-{count}"))?;
        let checkpoint = self.take_unlisted(vm, format!("fork {name}"), progress)?;
        let mut made = Vec::new();
        let outcome = (1..=count).try_for_each(|number| {
            step(progress, 0, None, "the fork")?;
            made.push(self.fork_checkpoint(&checkpoint, format!("{name}-{number}"))?);
            Ok(())
        });
        if let Err(error) = outcome {
            let left = self.discard_new(&made);
            if left.is_empty() {
                return Err(error);
            }
            let what = format!("the fork of VM '{}' failed, and these new VMs stay: {}", vm.name(), left.join(", "));
            return Err(Error::new(error.kind(), what)
                .because(error)
                .with_remedy("correct the cause, and remove them with remove_vm"));
        }
        Ok(made)
    }

    /// Makes a VM that is suspended at a checkpoint.
    fn fork_checkpoint(&self, checkpoint: &UnlistedCheckpoint, name: String) -> Result<StoredVm> {
        let mut stage = self.stage()?;
        let taken = checkpoint.read(&self.lock_shared()?)?;
        let mut config = taken.record().config.clone();
        renew(&mut config, name);
        let mut record = VmRecord::new(config, taken.record().layer.clone())?;
        for own in taken.images() {
            let made = child(&stage, own.index, &own.as_base(&taken))?;
            record.set_disk(own.index, made.name, made.format);
        }
        record.suspend_as_copy(&self.lock_shared()?, &taken.folder(), taken.original(), stage.folder())?;
        loop {
            // The images of the checkpoint stay as long as any is based on them, but not its record.
            record.snapshot = checkpoint.read(&self.lock_shared()?)?.record().parent;
            let mut changed = false;
            let made = stage.commit_record(record.clone(), |lock| {
                changed = checkpoint.read(lock)?.record().parent != record.snapshot;
                match changed {
                    false => Ok(()),
                    true => Err(Error::new(ErrorKind::Busy, "a snapshot was removed meanwhile")),
                }
            });
            if !changed {
                return made;
            }
        }
    }

    /// Makes a template of a checkpoint, whose files get another name.
    fn seal_checkpoint(
        &self,
        seal: &Seal,
        checkpoint: &UnlistedCheckpoint,
        progress: &dyn Progress,
    ) -> Result<Template> {
        let mut stage = self.stage()?;
        let taken = checkpoint.read(&self.lock_shared()?)?;
        let record = taken.record();
        let below = record.layer.as_ref().map(|layer| self.template(&layer.template.to_string())).transpose()?;
        let mut draft = LayerDraft::new(record.config.clone());
        (draft.parent, draft.memory) = (record.layer.clone(), Some(taken.original()));
        let (mut own, mut images) = (taken.images().into_iter().peekable(), Vec::new());
        for (index, disk) in draft.config.disks.iter_mut().enumerate() {
            let Some(own) = own.next_if(|own| own.index == index) else {
                let opened = disk.open_backend(Access::ReadOnly)?;
                draft.disks.push(take_copy(&stage, index, disk, &*opened, progress)?);
                continue;
            };
            let opened = disk::open(&own.path, Some(own.format), Access::ReadOnly)?;
            draft.disks.push(describe(&own, &*opened, below.as_ref(), progress)?);
            let path = disk_name(index, own.format).into();
            disk.source = DiskSource::Image { path, format: own.format };
            images.push((stage.disk_path(index, own.format), own.path));
        }
        let lock = self.lock_exclusive()?;
        // Not earlier: a merge may have replaced an image meanwhile with another that has the same contents, and deleted
        // what the former one was based on.
        images.iter().try_for_each(|(to, from)| link_file(from, to))?;
        link_saved_state(&lock, &taken.folder(), stage.folder())?;
        // Whoever changes it changes the memory of all instances that run.
        protect(&saved_state(stage.folder()))?;
        let template = self.finish(seal, draft, &stage)?;
        stage.put(&lock, Directory::Layers, template.uuid())?;
        Ok(template)
    }
}
