//! Disks: creating, growing and destroying their images.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uuid::Uuid;
use xvirt_core::disk::{self, ImageFormat};
use xvirt_worker::protocol::Request;

use super::clone::will_write;
use super::folder_of;
use super::in_use::require_unused;
use crate::host::Inner;
use crate::model::{Ref, Sr, Vbd, Vdi, VdiType};
use crate::objects::Change;
use crate::operation::arguments::Arguments;
use crate::operation::{Failure, codes};
use crate::sync::lock;
use crate::worker::config;
use crate::worker::place::failed;

impl Inner {
    /// The verbs of disks.
    pub(crate) fn own_of_vdi(&self, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        if name == "create" {
            return self.create_vdi(arguments);
        }
        let vdi: Ref<Vdi> = arguments.reference(0)?;
        match name {
            "destroy" => self.destroy_vdi(vdi),
            "resize" | "resize_online" => self.resize_vdi(vdi, arguments.int(1)),
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
        let format = match given.sm_config.get("format").map_or("raw", String::as_str) {
            "raw" => ImageFormat::Raw,
            "qcow2" => ImageFormat::Qcow2,
            other => return Err(codes::not_supported("VDI.sm_config", other, "use the format raw or qcow2")),
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
            pending.done(change);
            let record = Vdi {
                uuid: uuid.to_string(),
                location: path.to_string_lossy().into_owned(),
                virtual_size: given.virtual_size,
                vbds: Vec::new(),
                snapshots: Vec::new(),
                r#type: if given.r#type == VdiType::System { VdiType::System } else { VdiType::User },
                managed: true,
                ..given.clone()
            };
            add(change, reference, &record)
        };
        created.and_then(|()| self.objects.change(record)).inspect_err(|_| self.abandon(&pending))?;
        Ok(json!(reference.to_string()))
    }

    fn destroy_vdi(&self, vdi: Ref<Vdi>) -> Result<Value, Failure> {
        let mut unused = Vec::new();
        self.require_no_saved_state(vdi, &self.objects.get(vdi)?, "destroy")?;
        self.objects.change(|change| {
            let record = change.get(vdi)?;
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
                sr.virtual_allocation -= record.virtual_size;
                change.put(record.sr, &sr)?;
            }
            change.remove(vdi);
            unused = Self::release_base(change, vdi)?;
            unused.insert(0, PathBuf::from(&record.location));
            Ok(())
        })?;
        // They are in no record any more. One that stays takes room, and the next service removes it.
        unused.iter().try_for_each(|path| drop_image(path))?;
        Ok(Value::Null)
    }

    fn resize_vdi(&self, vdi: Ref<Vdi>, size: i64) -> Result<Value, Failure> {
        let record = self.objects.get(vdi)?;
        self.require_no_saved_state(vdi, &record, "resize")?;
        let bytes = u64::try_from(size).unwrap_or(0);
        let mut users = Vec::new();
        for vbd in &record.vbds {
            let user: Vbd = self.objects.get(*vbd)?;
            let worker = user.vm.uuid().and_then(|vm| self.worker(vm));
            let position =
                worker.as_ref().and_then(|worker| lock(&worker.disks).get(&vbd.uuid().unwrap_or_default()).copied());
            users.extend(worker.zip(position));
        }
        if users.is_empty() {
            let format = config::format_of(record.location.as_ref());
            self.objects.change(|change| {
                will_write(change, vdi);
                Ok(())
            })?;
            disk::grow(&record.location, Some(format), bytes).map_err(|error| codes::of_core(&error))?;
        }
        for (worker, position) in users {
            let asked = worker.ask(&Request::ResizeDisk { position, size: bytes }, &[]);
            asked.map_err(|error| codes::of_worker(&error))?;
        }
        self.objects.change(|change| {
            let mut record = change.get(vdi)?;
            if let Some(mut sr) = change.find(record.sr)? {
                sr.virtual_allocation += size - record.virtual_size;
                change.put(record.sr, &sr)?;
            }
            record.virtual_size = size;
            change.put(vdi, &record)
        })?;
        Ok(Value::Null)
    }
}

/// Removes an image.
fn drop_image(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Writes the record of a new disk.
pub(crate) fn add(change: &mut Change<'_>, vdi: Ref<Vdi>, record: &Vdi) -> Result<(), Failure> {
    let mut sr: Sr = change.get(record.sr)?;
    sr.vdis.push(vdi);
    sr.virtual_allocation += record.virtual_size;
    change.put(record.sr, &sr)?;
    change.put(vdi, record)
}
