//! Disks: creating and destroying their images.

use std::path::PathBuf;

use serde_json::{Value, json};
use uuid::Uuid;
use xvirt_core::disk::{self, ImageFormat};

use super::folder_of;
use super::in_use::require_unused;
use crate::host::Inner;
use crate::model::{Ref, Sr, Vdi, VdiOperations, VdiType};
use crate::objects::Change;
use crate::operation::arguments::Arguments;
use crate::operation::{Failure, codes};
use crate::task::Running;

/// The key of `sm_config` that names the format of an image.
const IMAGE_FORMAT: &str = "image-format";
/// How many VBDs are removed with their disk: each takes three of the pairs that a transaction can compare.
const MOST_USERS: usize = 25;

impl Inner {
    /// The verbs of disks.
    pub(crate) fn own_of_vdi(&self, running: &Running, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        if name == "create" {
            return self.create_vdi(arguments);
        }
        let vdi: Ref<Vdi> = arguments.reference(0)?;
        match name {
            "destroy" => self.destroy_vdi(vdi),
            "resize" | "resize_online" => {
                self.occupy(running, vdi, VdiOperations::Resize, || self.resize_vdi(vdi, arguments.int(1)))
            }
            "set_name_label" | "set_name_description" | "set_read_only" | "set_sharable" => {
                self.objects.change(|change| {
                    let mut record = change.get(vdi)?;
                    match name {
                        "set_name_label" => record.name_label = arguments.text(1),
                        "set_name_description" => record.name_description = arguments.text(1),
                        "set_read_only" => record.read_only = arguments.truth(1),
                        _ => record.sharable = arguments.truth(1),
                    }
                    change.put(vdi, &record)
                })?;
                Ok(Value::Null)
            }
            _ => Err(codes::not_implemented(&format!("VDI.{name}"))),
        }
    }

    fn create_vdi(&self, arguments: &Arguments) -> Result<Value, Failure> {
        let given: Vdi = arguments.record(0)?;
        let format = match given.sm_config.get(IMAGE_FORMAT).map_or("raw", String::as_str) {
            "raw" => ImageFormat::Raw,
            "qcow2" => ImageFormat::Qcow2,
            other => return Err(codes::not_supported("VDI.sm_config", other, "use raw or qcow2 as image-format")),
        };
        let size = u64::try_from(given.virtual_size).unwrap_or(0);
        let uuid = Uuid::new_v4();
        let mut path = PathBuf::new();
        self.objects.change(|change| {
            path = folder_of(change, given.sr)?.join(format!("{uuid}.{format}"));
            Ok(())
        })?;
        let reference = Ref::<Vdi>::new(uuid);
        let pending = self.pending(vec![path.clone()])?;
        let created = disk::create(&path, format, size).map_err(|error| codes::of_core(&error));
        let record = |change: &mut Change<'_>| {
            pending.done(change)?;
            let record = Vdi {
                uuid: uuid.to_string(),
                location: path.to_string_lossy().into_owned(),
                virtual_size: given.virtual_size,
                r#type: if given.r#type == VdiType::System { VdiType::System } else { VdiType::User },
                ..given.clone()
            };
            add(change, reference, &record)
        };
        created.and_then(|()| self.objects.change(record)).inspect_err(|_| self.abandon(&pending))?;
        Ok(json!(reference.to_string()))
    }

    fn destroy_vdi(&self, vdi: Ref<Vdi>) -> Result<Value, Failure> {
        let _turn = self.turns.take([vdi]);
        self.require_no_saved_state(vdi, &self.objects.get(vdi)?, "destroy")?;
        let doomed = self.objects.change(|change| {
            let record = change.get(vdi)?;
            if record.vbds.len() > MOST_USERS {
                let what = format!("{} VBDs have the disk, more than are removed with it at once", record.vbds.len());
                return Err(codes::not_allowed(what, format!("destroy all but {MOST_USERS} of them first")));
            }
            require_unused(change, vdi, &record, "destroy")?;
            for vbd in &record.vbds {
                if let Some(user) = change.find(*vbd)? {
                    if let Some(mut vm) = change.find(user.vm)? {
                        vm.vbds.retain(|one| one != vbd);
                        crate::host::put_vm(change, user.vm, &mut vm)?;
                    }
                    change.remove(*vbd);
                }
            }
            if let Some(mut sr) = change.find(record.sr)? {
                sr.vdis.retain(|one| *one != vdi);
                sr.virtual_allocation = sr.virtual_allocation.saturating_sub(record.virtual_size);
                change.put(record.sr, &sr)?;
            }
            change.remove(vdi);
            let mut images = vec![PathBuf::from(&record.location)];
            images.extend(Self::release_base(change, vdi)?);
            let doomed = self.doomed(images);
            doomed.record(change)?;
            Ok(doomed)
        })?;
        self.remove(&doomed);
        Ok(Value::Null)
    }
}

/// Writes the record of a new disk.
pub(crate) fn add(change: &mut Change<'_>, vdi: Ref<Vdi>, record: &Vdi) -> Result<(), Failure> {
    let mut sr: Sr = change.get(record.sr)?;
    sr.vdis.push(vdi);
    sr.virtual_allocation = sr.virtual_allocation.saturating_add(record.virtual_size);
    change.put(record.sr, &sr)?;
    change.put(vdi, record)
}
