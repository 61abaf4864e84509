//! Copies of VMs, which share the blocks of their disks with the original.
//!
//! Where the file system can share blocks itself (reflink), the copy of an image is an image like any other. Elsewhere both
//! become qcow2 images over the old one, which nobody writes any more: a *base*. Records beside the disks say which images
//! need which bases, and a base is removed with the last of them. As long as nobody has written the image that the original
//! has over its base, further copies are over the same base, so that a template does not get slower with each clone.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use xvirt_core::disk::{self, OverlayKind};
use xvirt_core::net::MacAddress;

use super::in_use::{in_use, require_unused};
use super::pending::{Pending, sync_folders};
use super::vdi::add;
use crate::host::{Inner, put_vm};
use crate::model::{Record, Ref, Vbd, VbdType, Vdi, Vif, Vm, VmOperations};
use crate::objects::{Change, beside_of};
use crate::operation::{Failure, codes, create, power};
use crate::store::MAX_OPERATIONS;
use crate::task::Running;
use crate::worker::config;
use crate::worker::place::failed;

/// An image that others are made over, kept beside its repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Base {
    path: PathBuf,
    /// The base of this one.
    parent: Option<Uuid>,
    /// How many images and bases are over it.
    users: u64,
}

fn base_key(uuid: Uuid) -> String {
    format!("/base/{uuid}")
}

/// What a disk is over, kept beside its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Over {
    base: Uuid,
    /// Whether nobody has written the disk since it got the base.
    unwritten: bool,
}

impl Over {
    fn key(vdi: Ref<Vdi>) -> String {
        beside_of(vdi, "over")
    }
}

/// Says that a disk may have been written from now on.
pub(crate) fn will_write(change: &mut Change<'_>, vdi: Ref<Vdi>) -> Result<(), Failure> {
    match change.beside::<Over>(&Over::key(vdi))? {
        Some(over) if over.unwritten => change.put_beside(&Over::key(vdi), &Over { unwritten: false, ..over }),
        _ => Ok(()),
    }
}

/// What becomes of one disk.
#[derive(Clone, Debug)]
struct Copied {
    /// The original, with the place where its image is from now on.
    original: (Ref<Vdi>, PathBuf),
    /// The copy.
    copy: (Ref<Vdi>, PathBuf),
    /// The image that both are over.
    base: Option<Under>,
}

impl Copied {
    /// How many operations of a transaction record it.
    fn operations(&self) -> usize {
        match &self.base {
            // The copy, what it is over, and that base.
            None | Some(Under::Base(_)) => 3,
            // The original and what it is over besides.
            Some(Under::Old(_)) => 5,
        }
    }
}

/// The image that a disk and its copy are over.
#[derive(Clone, Debug)]
enum Under {
    /// The one that the original had.
    Old(PathBuf),
    /// The base of the original, whose own image nobody has written.
    Base(Uuid),
}

impl Inner {
    /// `VM.clone`: the copy is halted, or a template if the original is one.
    pub(crate) fn clone_vm(&self, running: &Running, vm: Ref<Vm>, name: &str) -> Result<Value, Failure> {
        let record = self.begin(running, vm, VmOperations::Clone, |_, _| Ok(()))?;
        let uuid = Uuid::new_v4();
        let made = self.copied_disks(&record).and_then(|disks| {
            // The first copy of a disk changes the place of its image.
            let _turn = self.turns.take(disks.iter().copied());
            let planned = self.plan_copies(disks)?;
            let pending = self.pending(planned.iter().flat_map(Planned::paths).collect())?;
            let copied = copy_disks(&record, &planned);
            let made = copied.and_then(|copied| self.record_clone(&record, Ref::new(uuid), name, &copied, &pending));
            made.inspect_err(|_| self.abandon(&pending))
        });
        let outcome = made.map(|()| json!(Ref::<Vm>::new(uuid).to_string()));
        let recorded = self.finish(running, vm, &outcome, |_, _, _| Ok(()));
        outcome.and_then(|value| recorded.map(|()| value))
    }

    /// `VM.provision`: a template becomes a VM. XenServer also makes the disks that it describes; ours has its disks.
    pub(crate) fn provision(&self, vm: Ref<Vm>) -> Result<Value, Failure> {
        self.objects.change(|change| {
            let mut record = change.get(vm)?;
            power::require(&record, vm, VmOperations::Provision)?;
            record.is_a_template = false;
            put_vm(change, vm, &mut record)
        })?;
        Ok(Value::Null)
    }

    /// The disks of a VM that its clone gets copies of.
    fn copied_disks(&self, record: &Vm) -> Result<BTreeSet<Ref<Vdi>>, Failure> {
        let mut disks = BTreeSet::new();
        for reference in &record.vbds {
            let vbd: Vbd = self.objects.get(*reference)?;
            // As XenServer has it, the discs in drives are shared.
            if !vbd.empty && vbd.r#type != VbdType::Cd {
                disks.insert(vbd.vdi);
            }
        }
        Ok(disks)
    }

    fn plan_copies(&self, disks: BTreeSet<Ref<Vdi>>) -> Result<Vec<Planned>, Failure> {
        let plan = |vdi| Ok(Planned::new(vdi, &self.objects.get(vdi)?, self.unwritten_base(vdi)?));
        disks.into_iter().map(plan).collect()
    }

    /// The base of a disk that nobody has written since it got it.
    fn unwritten_base(&self, vdi: Ref<Vdi>) -> Result<Option<(Uuid, PathBuf)>, Failure> {
        let Some(over) = self.objects.beside::<Over>(&Over::key(vdi))?.filter(|over| over.unwritten) else {
            return Ok(None);
        };
        let base: Option<Base> = self.objects.beside(&base_key(over.base))?;
        Ok(base.map(|base| (over.base, base.path)))
    }

    fn record_clone(
        &self,
        original: &Vm,
        clone: Ref<Vm>,
        name: &str,
        copied: &[Copied],
        pending: &Pending,
    ) -> Result<(), Failure> {
        let uuid = clone.uuid().unwrap_or_default();
        let record = original.to_value()?.as_object().cloned().unwrap_or_default();
        let given = Vm { name_label: name.to_owned(), ..create::given(record)? };
        let new = create::vm(given, uuid, Uuid::new_v4())?;
        self.objects.change(|change| {
            let mut record = new.clone();
            pending.done(change)?;
            for one in copied {
                record_copy(change, one)?;
            }
            for reference in &original.vbds {
                let vbd: Vbd = change.get(*reference)?;
                let vdi = copied.iter().find(|one| one.original.0 == vbd.vdi).map_or(vbd.vdi, |one| one.copy.0);
                let device = Ref::<Vbd>::new(Uuid::new_v4());
                if let Some(mut disk) = change.find(vdi)? {
                    disk.vbds.push(device);
                    change.put(vdi, &disk)?;
                }
                let text = device.uuid().unwrap_or_default().to_string();
                change.put(device, &Vbd { uuid: text, vm: clone, vdi, currently_attached: false, ..vbd })?;
                record.vbds.push(device);
            }
            for reference in &original.vifs {
                let vif: Vif = change.get(*reference)?;
                let device = Ref::<Vif>::new(Uuid::new_v4());
                if let Some(mut network) = change.find(vif.network)? {
                    network.vifs.push(device);
                    change.put(vif.network, &network)?;
                }
                let (text, mac) = (device.uuid().unwrap_or_default().to_string(), MacAddress::random().to_string());
                let new = Vif { uuid: text, vm: clone, mac, mac_autogenerated: true, currently_attached: false, ..vif };
                change.put(device, &new)?;
                record.vifs.push(device);
            }
            put_vm(change, clone, &mut record)
        })
    }

    /// Forgets that a disk needs its base, and returns the bases that nobody needs any more.
    pub(crate) fn release_base(change: &mut Change<'_>, vdi: Ref<Vdi>) -> Result<Vec<PathBuf>, Failure> {
        let Some(over) = change.beside::<Over>(&Over::key(vdi))? else { return Ok(Vec::new()) };
        change.remove_beside(&Over::key(vdi));
        let (mut next, mut unused) = (Some(over.base), Vec::new());
        while let Some(uuid) = next {
            let Some(mut base) = change.beside::<Base>(&base_key(uuid))? else { break };
            base.users = base.users.saturating_sub(1);
            if base.users > 0 {
                change.put_beside(&base_key(uuid), &base)?;
                break;
            }
            change.remove_beside(&base_key(uuid));
            next = base.parent;
            unused.push(base.path);
        }
        Ok(unused)
    }
}

/// Where the copy of a disk will be.
#[derive(Clone, Debug)]
struct Planned {
    original: Ref<Vdi>,
    image: PathBuf,
    base: Option<(Uuid, PathBuf)>,
    copy: Ref<Vdi>,
    partial: PathBuf,
    cloned: PathBuf,
    over: PathBuf,
    moved: PathBuf,
}

impl Planned {
    fn new(original: Ref<Vdi>, record: &Vdi, base: Option<(Uuid, PathBuf)>) -> Self {
        let under = base.as_ref().map_or(record.location.as_ref(), |(_, path)| path.as_path());
        let format = config::format_of(under);
        let image = PathBuf::from(&record.location);
        let (uuid, moved) = (Uuid::new_v4(), Uuid::new_v4());
        let named = |name: String| image.with_file_name(name);
        Self {
            original,
            base,
            copy: Ref::new(uuid),
            partial: named(format!("{uuid}.partial")),
            cloned: named(format!("{uuid}.{format}")),
            over: named(format!("{uuid}.qcow2")),
            moved: named(format!("{moved}.qcow2")),
            image,
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.partial.clone(), self.cloned.clone(), self.over.clone(), self.moved.clone()]
    }
}

/// Copies the images of a VM's disks, if all can be recorded at once.
fn copy_disks(vm: &Vm, planned: &[Planned]) -> Result<Vec<Copied>, Failure> {
    let mut copied = Vec::new();
    for one in planned {
        let disk = copy_disk(one)?;
        // The others are most likely copied in the same way.
        require_room(vm, planned.len(), disk.operations())?;
        copied.push(disk);
    }
    Ok(copied)
}

/// Requires that a transaction can record a clone with so many copied disks, of which each takes some operations.
fn require_room(vm: &Vm, copied: usize, operations: usize) -> Result<(), Failure> {
    let discs = vm.vbds.len().saturating_sub(copied);
    // The VBD of each disk; that of a disc, and the disc; each VIF and its network; the clone itself, its pending images, the
    // guard of the service, and a repository.
    let needed = copied * (operations + 1) + 2 * discs + 2 * vm.vifs.len() + 4;
    if needed <= MAX_OPERATIONS {
        return Ok(());
    }
    let what = format!(
        "the clone takes {needed} changes of the state store, and {MAX_OPERATIONS} at most are made at once: the VM has {} \
         disks and {} network interfaces",
        vm.vbds.len(),
        vm.vifs.len()
    );
    Err(codes::not_allowed(what, "clone a VM with fewer of them, and add the others to the clone"))
}

/// Copies an image. Nothing that existed is changed, but new images may be over it.
fn copy_disk(planned: &Planned) -> Result<Copied, Failure> {
    let Planned { original, image, base, copy, partial, cloned, over, moved } = planned;
    let under = base.as_ref().map_or(image, |(_, path)| path);
    let format = config::format_of(under);
    let overlay = |place: &PathBuf| disk::overlay(under, Some(format), place).map_err(|error| codes::of_core(&error));
    // The record of the copy must not outlive its name.
    let rename = |place: &PathBuf| {
        fs::rename(partial, place).map_err(|error| failed("rename", partial, &error))?;
        sync_folders([place.as_path()])
    };
    if overlay(partial)? == OverlayKind::Reflink {
        rename(cloned)?;
        return Ok(Copied { original: (*original, image.clone()), copy: (*copy, cloned.clone()), base: None });
    }
    rename(over)?;
    if let Some((base, _)) = base {
        let base = Some(Under::Base(*base));
        return Ok(Copied { original: (*original, image.clone()), copy: (*copy, over.clone()), base });
    }
    // The image stays where it is, since images that are over it name it; the original moves to one over it.
    overlay(moved)?;
    let base = Some(Under::Old(image.clone()));
    Ok(Copied { original: (*original, moved.clone()), copy: (*copy, over.clone()), base })
}

fn record_copy(change: &mut Change<'_>, copied: &Copied) -> Result<(), Failure> {
    let (original, place) = &copied.original;
    let mut record: Vdi = change.get(*original)?;
    require_unused(change, *original, &record, "clone")?;
    let (copy, location) = &copied.copy;
    let new = Vdi {
        uuid: copy.uuid().unwrap_or_default().to_string(),
        location: location.to_string_lossy().into_owned(),
        vbds: Vec::new(),
        snapshots: Vec::new(),
        ..record.clone()
    };
    add(change, *copy, &new)?;
    let over: Option<Over> = change.beside(&Over::key(*original))?;
    let base = match &copied.base {
        // The copy shares blocks, and what the original is over.
        None => {
            let Some(over) = over else { return Ok(()) };
            use_base(change, *original, over.base)?;
            return change.put_beside(&Over::key(*copy), &Over { unwritten: false, ..over });
        }
        Some(Under::Old(path)) => {
            let base = Uuid::new_v4();
            record.location = place.to_string_lossy().into_owned();
            change.put(*original, &record)?;
            let parent = over.map(|over| over.base);
            change.put_beside(&base_key(base), &Base { path: path.clone(), parent, users: 2 })?;
            change.put_beside(&Over::key(*original), &Over { base, unwritten: true })?;
            base
        }
        Some(Under::Base(base)) => {
            if over != Some(Over { base: *base, unwritten: true }) {
                return Err(changed(*original));
            }
            use_base(change, *original, *base)?;
            *base
        }
    };
    change.put_beside(&Over::key(*copy), &Over { base, unwritten: true })
}

/// Counts one more image over a base, which a copy of `original` is.
fn use_base(change: &mut Change<'_>, original: Ref<Vdi>, uuid: Uuid) -> Result<(), Failure> {
    let base: Option<Base> = change.beside(&base_key(uuid))?;
    let mut base = base.ok_or_else(|| changed(original))?;
    base.users += 1;
    change.put_beside(&base_key(uuid), &base)
}

/// The failure of a copy of a disk that somebody has begun to use.
fn changed(vdi: Ref<Vdi>) -> Failure {
    in_use(vdi, "clone", "shut down the VM that uses the disk")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_that_no_transaction_can_record_is_refused_with_the_limit() {
        let vm = |disks, nics| Vm { vbds: vec![Ref::NULL; disks], vifs: vec![Ref::NULL; nics], ..Vm::default() };
        require_room(&vm(15, 3), 15, 5).unwrap();
        require_room(&vm(20, 2), 20, 3).unwrap();
        let failure = require_room(&vm(16, 1), 16, 5).unwrap_err();
        assert_eq!(failure.code, "OPERATION_NOT_ALLOWED");
        assert!(failure.to_string().contains("takes 102 changes") && failure.to_string().contains("100"), "{failure}");
    }
}
