//! The objects of an appliance.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;

use super::value::{Record, Value};
use super::{parse, write};
use crate::Result;
use crate::error::{corrupt, unsupported};

/// A complete `ova.xml`.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Everything except the objects.
    top: Record,
    pub(super) objects: Vec<Object>,
}

/// One object of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object {
    /// Its class in XenServer's API, such as `VM` or `VDI`.
    pub class: String,
    /// The id by which references name it, unique in its class.
    pub id: String,
    /// Its fields.
    pub fields: Record,
}

/// A disk whose contents should be in the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpectedDisk {
    /// The id of its VDI object, which is the name of its folder in the archive.
    pub id: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether the archive must contain it; a disk that no device uses may be missing.
    pub required: bool,
}

impl Document {
    /// Parses a document.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if it is not a valid `ova.xml`;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if it is from before 2008.
    pub fn parse(xml: &[u8]) -> Result<Self> {
        let Value::Struct(Record(members)) = parse::value(xml)? else {
            return Err(corrupt("ova.xml", "it does not contain a structure"));
        };
        let mut document = Self { top: Record::default(), objects: Vec::new() };
        for (name, value) in members {
            match (name.as_str(), value) {
                ("objects", Value::Array(objects)) => {
                    document.objects = objects.into_iter().map(Object::read).collect::<Result<_>>()?;
                }
                (_, value) => document.top.0.push((name, value)),
            }
        }
        document.check()?;
        Ok(document)
    }

    /// Formats the document like XenServer.
    pub fn to_xml(&self) -> String {
        let mut top = self.top.clone();
        top.0.push(("objects".to_owned(), Value::Array(self.objects.iter().map(Object::value).collect())));
        write::document(&Value::Struct(top))
    }

    /// The producer of the appliance.
    pub fn version(&self) -> &Record {
        static NOTHING: Record = Record(Vec::new());
        match self.top.get("version") {
            Some(Value::Struct(version)) => version,
            _ => &NOTHING,
        }
    }

    pub(super) fn set_version(&mut self, version: Record) {
        self.top.set("version", Value::Struct(version));
    }

    /// The version of the archive layout: 2 since 2008.
    pub fn export_version(&self) -> u64 {
        self.version().number("export_vsn").unwrap_or(0)
    }

    /// All objects of a class, in the order of the document.
    pub fn of_class<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects.iter().filter(move |object| object.class == class)
    }

    /// The object to which a reference points; `None` for a null reference, which is any text that matches no object.
    pub fn find(&self, class: &str, id: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.class == class && object.id == id)
    }

    /// The object of this class and id.
    pub fn object_mut(&mut self, class: &str, id: &str) -> Option<&mut Object> {
        self.objects.iter_mut().find(|object| object.class == class && object.id == id)
    }

    /// Adds an object. Its id must be [free](Self::free_id) in its class.
    pub fn push(&mut self, object: Object) {
        self.objects.push(object);
    }

    /// Removes an object. References to it become null references.
    pub fn remove(&mut self, class: &str, id: &str) {
        self.objects.retain(|object| object.class != class || object.id != id);
    }

    /// The VM, for changes.
    ///
    /// # Errors
    /// The document does not describe one VM.
    pub fn vm_mut(&mut self) -> Result<&mut Object> {
        let id = self.vm()?.id.clone();
        self.object_mut("VM", &id).ok_or_else(|| corrupt("ova.xml", "it does not contain a VM"))
    }

    /// The VM.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if there is none; [`Unsupported`](crate::ErrorKind::Unsupported) if there
    /// are several.
    pub fn vm(&self) -> Result<&Object> {
        let mut vms = self.of_class("VM").filter(|vm| !vm.fields.flag("is_a_snapshot"));
        match (vms.next(), vms.next()) {
            (Some(vm), None) => Ok(vm),
            (Some(_), Some(_)) => Err(unsupported(
                "the archive describes several VMs: it is an export of metadata",
                "export each VM with its disks",
            )),
            (None, _) => Err(corrupt("ova.xml", "it does not contain a VM")),
        }
    }

    /// The disks whose contents should be in the archive, in XenServer's order.
    ///
    /// # Errors
    /// The document does not describe exactly one VM; or it has an invalid disk size.
    pub fn expected(&self) -> Result<Vec<ExpectedDisk>> {
        let mut used: HashSet<&str> = HashSet::new();
        for vbd in self.block_devices()? {
            if !vbd.fields.text("type").eq_ignore_ascii_case("CD") {
                used.insert(vbd.fields.reference("VDI"));
            }
        }
        used.insert(self.vm()?.fields.reference("suspend_VDI"));
        let holds_discs = |sr: &&Object| sr.fields.text("content_type").eq_ignore_ascii_case("iso");
        let discs: HashSet<&str> = self.of_class("SR").filter(holds_discs).map(|sr| sr.id.as_str()).collect();
        let mut disks = BTreeMap::new();
        for vdi in self.of_class("VDI").filter(|vdi| !discs.contains(vdi.fields.reference("SR"))) {
            let size = vdi.fields.number("virtual_size");
            // Images have whole sectors, and file offsets are signed.
            let size = size.filter(|size| *size <= i64::MAX.cast_unsigned() - 511).ok_or_else(|| {
                let size = vdi.fields.text("virtual_size");
                corrupt("ova.xml", format!("disk {} cannot have a size of '{size}' bytes", vdi.id))
            })?;
            let expected = ExpectedDisk { id: vdi.id.clone(), size, required: used.contains(vdi.id.as_str()) };
            disks.insert(vdi.id.as_bytes(), expected);
        }
        Ok(disks.into_values().collect())
    }

    /// An id that neither an object nor a null reference has, because XenServer numbers both alike.
    pub fn free_id(&self) -> String {
        let mut used = BTreeSet::new();
        let mut note = |text: &str| {
            let number = text.trim().strip_prefix("Ref:").and_then(|digits| digits.parse::<u64>().ok());
            used.extend(number);
        };
        for object in &self.objects {
            note(&object.id);
            object.fields.0.iter().for_each(|(_, value)| value.each_text(&mut note));
        }
        let next = used.last().map_or(0, |highest| highest.wrapping_add(1));
        let free = (0..).map(|step| next.wrapping_add(step)).find(|number| !used.contains(number));
        format!("Ref:{}", free.unwrap_or(next))
    }

    /// Checks the invariants of the document.
    fn check(&self) -> Result<()> {
        let mut ids = HashSet::new();
        for Object { class, id, .. } in &self.objects {
            if !ids.insert((class, id)) {
                return Err(corrupt("ova.xml", format!("two objects of class {class} have the id {id}")));
            }
        }
        for disk in self.expected()? {
            if disk.id.is_empty() || disk.id.contains(['/', '\0']) {
                return Err(corrupt("ova.xml", format!("a disk cannot have the id '{}'", disk.id)));
            }
        }
        Ok(())
    }
}

impl Object {
    /// An object with these fields.
    pub fn new<const N: usize>(class: &str, id: impl Into<String>, fields: [(&str, Value); N]) -> Self {
        let fields = Record(fields.map(|(name, value)| (name.to_owned(), value)).into());
        Self { class: class.to_owned(), id: id.into(), fields }
    }

    fn read(value: Value) -> Result<Self> {
        let Value::Struct(mut record) = value else {
            return Err(corrupt("ova.xml", "an object is not a structure"));
        };
        match record.take("snapshot") {
            Some(Value::Struct(fields)) => {
                Ok(Self { class: record.text("class").to_owned(), id: record.reference("id").to_owned(), fields })
            }
            _ => Err(corrupt("ova.xml", format!("object {} has no fields", record.text("id")))),
        }
    }

    fn value(&self) -> Value {
        Value::Struct(Record(vec![
            ("class".to_owned(), Value::text(&self.class)),
            ("id".to_owned(), Value::text(&self.id)),
            ("snapshot".to_owned(), Value::Struct(self.fields.clone())),
        ]))
    }
}
