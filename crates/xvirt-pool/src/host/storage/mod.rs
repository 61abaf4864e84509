//! Repositories of disks. Each is a folder with one image for each disk, named by the disk's UUID.
//!
//! These are plain images rather than the core's `Repository`, which has records of VMs of its own: here the records are in
//! the store, and a second place that says what a VM has would have to agree with it after every crash.

mod clone;
mod folder;
pub(crate) mod in_use;
mod pending;
mod resize;
mod turn;
mod vdi;

pub(crate) use clone::will_write;
pub(crate) use pending::sync_folders;
pub(crate) use turn::Turns;
pub(crate) use vdi::add;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::host::Inner;
use crate::model::{Host, Pbd, Ref, Sr};
use crate::objects::{Change, beside_of};
use crate::operation::arguments::Arguments;
use crate::operation::{Failure, codes};

/// The key of `device_config` that names the folder.
const LOCATION: &str = "location";

/// Writes the records of a new repository in a folder, and of its connection with the host.
pub(crate) fn put_sr(
    change: &mut Change<'_>,
    sr: Ref<Sr>,
    host: Ref<Host>,
    name: &str,
    folder: &Path,
) -> Result<(), Failure> {
    let (uuid, connection) = (sr.uuid().unwrap_or_default(), Uuid::new_v4());
    let record = Sr {
        uuid: uuid.to_string(),
        name_label: name.to_owned(),
        r#type: "file".to_owned(),
        content_type: "user".to_owned(),
        pbds: vec![Ref::new(connection)],
        ..Sr::default()
    };
    let location = folder.to_string_lossy().into_owned();
    let pbd = Pbd {
        uuid: connection.to_string(),
        host,
        sr,
        device_config: [(LOCATION.to_owned(), location.clone())].into(),
        currently_attached: true,
        ..Pbd::default()
    };
    change.put(sr, &record)?;
    change.put(Ref::new(connection), &pbd)?;
    change.put_beside(&beside_of(sr, "folder"), &location)
}

/// The folder of a repository.
pub(crate) fn folder_of(change: &mut Change<'_>, sr: Ref<Sr>) -> Result<PathBuf, Failure> {
    change.get(sr)?;
    let folder: Option<PathBuf> = change.beside(&beside_of(sr, "folder"))?;
    folder.ok_or_else(|| codes::internal(format!("the folder of the repository {sr} is not known")))
}

impl Inner {
    /// The verbs of repositories.
    pub(crate) fn own_of_sr(&self, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        match name {
            "create" => self.create_sr(arguments),
            "destroy" | "forget" => self.forget_sr(arguments.reference(0)?),
            "get_supported_types" => Ok(json!(["file"])),
            "scan" => self.scan(arguments.reference(0)?),
            "set_name_label" | "set_name_description" => {
                let sr: Ref<Sr> = arguments.reference(0)?;
                self.objects.change(|change| {
                    let mut record = change.get(sr)?;
                    let field =
                        if name == "set_name_label" { &mut record.name_label } else { &mut record.name_description };
                    *field = arguments.text(1);
                    change.put(sr, &record)
                })?;
                Ok(Value::Null)
            }
            _ => Err(codes::not_implemented(&format!("SR.{name}"))),
        }
    }

    /// `SR.create(host, device_config, physical_size, name_label, name_description, type, content_type, shared, sm_config)`.
    fn create_sr(&self, arguments: &Arguments) -> Result<Value, Failure> {
        let host: Ref<Host> = arguments.reference(0)?;
        if host != self.host {
            return Err(codes::handle_invalid("host", host));
        }
        if arguments.text(5) != "file" {
            return Err(Failure::new("SR_UNKNOWN_DRIVER", [arguments.text(5)]).with_remedy("use the type `file`"));
        }
        if arguments.truth(7) {
            return Err(codes::not_supported("SR.shared", true, "a folder belongs to one host"));
        }
        let config = arguments.value(1);
        let folder = config.get(LOCATION).and_then(Value::as_str).filter(|folder| folder.starts_with('/'));
        let folder = Path::new(folder.ok_or_else(|| {
            codes::invalid_value("device_config", &config, "give the absolute path of a folder as `location`")
        })?);
        let folder = folder::make(folder)?;
        let space = folder::measure(&folder)?;
        let sr = Ref::<Sr>::new(Uuid::new_v4());
        self.objects.change(|change| {
            // One repository is made at a time: each writes the pool.
            let pool = change.get(self.pool)?;
            change.put(self.pool, &pool)?;
            for (other, _) in self.objects.all::<Sr>()? {
                let used = folder_of(change, other)?;
                if fs::canonicalize(&used).unwrap_or(used) == folder {
                    return Err(Failure::new("SR_DEVICE_IN_USE", [] as [&str; 0])
                        .with_remedy(format!("use another folder: the repository {other} has this one")));
                }
            }
            put_sr(change, sr, self.host, &arguments.text(3), &folder)?;
            let mut record = change.get(sr)?;
            record.name_description = arguments.text(4);
            (record.physical_size, record.physical_utilisation) = (space.total, space.used);
            change.put(sr, &record)
        })?;
        Ok(json!(sr.to_string()))
    }

    /// Removes a repository that has no disks from the records. Its folder stays.
    fn forget_sr(&self, sr: Ref<Sr>) -> Result<Value, Failure> {
        self.objects.change(|change| {
            let record = change.get(sr)?;
            if !record.vdis.is_empty() {
                return Err(Failure::new("SR_NOT_EMPTY", [] as [&str; 0]).with_remedy("destroy its disks first"));
            }
            let pool = change.get(self.pool)?;
            if pool.default_sr == sr {
                return Err(codes::not_allowed("it is the default repository", "make another one the default first"));
            }
            if pool.suspend_image_sr == sr {
                return Err(codes::not_allowed(
                    "it is the repository for the memory of suspended VMs",
                    "set suspend_image_SR of the pool to another one first",
                ));
            }
            record.pbds.iter().for_each(|pbd| change.remove(*pbd));
            change.remove_beside(&beside_of(sr, "folder"));
            change.remove(sr);
            Ok(())
        })?;
        Ok(Value::Null)
    }

    /// Measures a repository.
    fn scan(&self, sr: Ref<Sr>) -> Result<Value, Failure> {
        let mut folder = PathBuf::new();
        self.objects.change(|change| {
            folder = folder_of(change, sr)?;
            Ok(())
        })?;
        let space = folder::measure(&folder)?;
        self.objects.change(|change| {
            let mut record = change.get(sr)?;
            (record.physical_size, record.physical_utilisation) = (space.total, space.used);
            change.put(sr, &record)
        })?;
        Ok(Value::Null)
    }
}
