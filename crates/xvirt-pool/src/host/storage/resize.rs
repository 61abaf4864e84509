//! Growing disks: the image first, and then what the records say of it.

use serde_json::Value;
use xvirt_core::disk;
use xvirt_worker::protocol::Request;

use super::clone::will_write;
use super::in_use::{in_use, is_used};
use crate::host::Inner;
use crate::model::{Ref, Vdi, Vm};
use crate::objects::{Change, beside_of};
use crate::operation::{Failure, codes};
use crate::sync::lock;
use crate::worker::config;

/// A disk of a VM that runs: the VM, and the position of the disk in it.
type User = (Ref<Vm>, u64);

impl Inner {
    /// `VDI.resize`, of a disk that nobody uses or that running VMs have.
    pub(crate) fn resize_vdi(&self, vdi: Ref<Vdi>, size: i64) -> Result<Value, Failure> {
        let _turn = self.turns.take([vdi]);
        self.require_no_saved_state(vdi, &self.objects.get(vdi)?, "resize")?;
        let key = self.resizing_key(vdi);
        let (record, users) = self.objects.change(|change| {
            let record = change.get(vdi)?;
            let users = self.users(change, vdi, &record)?;
            if users.is_empty() {
                will_write(change, vdi)?;
            }
            // The next service measures it if this one ends before the records say what has come of it.
            change.put_beside(&key, &vdi.to_string())?;
            Ok((record, users))
        })?;
        match self.grow(&record, &users, size) {
            Ok(()) => self.record_size(vdi, size)?,
            // It may have been done, or done in part.
            Err(failure) => {
                self.measure(vdi)?;
                return Err(failure);
            }
        }
        Ok(Value::Null)
    }

    /// The running VMs that have a disk.
    fn users(&self, change: &mut Change<'_>, vdi: Ref<Vdi>, record: &Vdi) -> Result<Vec<User>, Failure> {
        let mut users = Vec::new();
        for reference in &record.vbds {
            let Some(vbd) = change.find(*reference)? else { continue };
            if !is_used(change, &vbd)? {
                continue;
            }
            let worker = vbd.vm.uuid().and_then(|vm| self.worker(vm));
            let position =
                worker.and_then(|worker| lock(&worker.disks).get(&reference.uuid().unwrap_or_default()).copied());
            let position = position.filter(|_| vbd.currently_attached).ok_or_else(|| {
                in_use(vdi, "resize", format!("resume or shut down the VM {}: the disk is part of its state", vbd.vm))
            })?;
            users.push((vbd.vm, position));
        }
        Ok(users)
    }

    fn grow(&self, record: &Vdi, users: &[User], size: i64) -> Result<(), Failure> {
        let bytes = u64::try_from(size).unwrap_or(0);
        if users.is_empty() {
            let format = config::format_of(record.location.as_ref());
            return disk::grow(&record.location, Some(format), bytes).map_err(|error| codes::of_core(&error));
        }
        for (vm, position) in users {
            let gone = || codes::not_allowed(format!("the VM {vm} has just ended"), "resize the disk again");
            let worker = vm.uuid().and_then(|vm| self.worker(vm)).ok_or_else(gone)?;
            let asked = worker.ask(&Request::ResizeDisk { position: *position, size: bytes }, &[]);
            asked.map_err(|error| codes::of_worker(&error))?;
        }
        Ok(())
    }

    /// Records the size that the image of a disk has.
    fn measure(&self, vdi: Ref<Vdi>) -> Result<(), Failure> {
        let record = self.objects.get(vdi)?;
        let format = config::format_of(record.location.as_ref());
        let image = disk::inspect(&record.location, Some(format)).map_err(|error| codes::of_core(&error))?;
        self.record_size(vdi, i64::try_from(image.virtual_size).unwrap_or(i64::MAX))
    }

    fn record_size(&self, vdi: Ref<Vdi>, size: i64) -> Result<(), Failure> {
        let key = self.resizing_key(vdi);
        self.objects.change(|change| {
            change.remove_beside(&key);
            let Some(mut record) = change.find(vdi)? else { return Ok(()) };
            if record.virtual_size == size {
                return Ok(());
            }
            if let Some(mut sr) = change.find(record.sr)? {
                let others = sr.virtual_allocation.saturating_sub(record.virtual_size);
                sr.virtual_allocation = others.saturating_add(size);
                change.put(record.sr, &sr)?;
            }
            record.virtual_size = size;
            change.put(vdi, &record)
        })
    }

    /// Measures the disks that an earlier service was growing.
    pub(crate) fn measure_earlier(&self) -> Result<(), Failure> {
        for (key, vdi) in self.objects.besides::<String>(&self.resizing_folder())? {
            let measured = match vdi.parse::<Ref<Vdi>>() {
                Ok(vdi) => self.measure(vdi),
                Err(_) => self.objects.change(|change| {
                    change.remove_beside(&key);
                    Ok(())
                }),
            };
            if let Err(failure) = measured {
                tracing::warn!(%failure, vdi, "a disk that was being grown cannot be measured; the next service tries again");
            }
        }
        Ok(())
    }

    fn resizing_key(&self, vdi: Ref<Vdi>) -> String {
        format!("{}{}", self.resizing_folder(), vdi.uuid().unwrap_or_default())
    }

    fn resizing_folder(&self) -> String {
        format!("{}/", beside_of(self.host, "resizing"))
    }
}
