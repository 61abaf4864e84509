//! The templates of a repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::hash::hash_template;
use super::name::shown;
use super::record::corrupt;
use super::vm::{check_disks, is_labelled, readable, with_full_paths};
use super::{Directory, Record, Repository};
use crate::config::{Disk, DiskSource, VmConfig};
use crate::disk::ImageFormat;
use crate::{Error, ErrorKind, Result};

/// The template from which an object was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lineage {
    /// The UUID of the template.
    pub template: Uuid,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A disk of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TemplateDisk {
    /// The size in bytes, as a guest sees it.
    pub size: u64,
    /// The hash of its contents: see [`Template::hash`].
    pub hash: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TemplateRecord {
    pub(crate) format: u32,
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) description: String,
    /// Numbers the templates of one name.
    pub(crate) number: u64,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The template on which the disks of the sealed VM were based.
    #[serde(default)]
    pub(crate) parent: Option<Lineage>,
    /// One entry for each disk of the configuration.
    pub(crate) disks: Vec<TemplateDisk>,
    /// The VM whose memory it has, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Uuid>,
    /// The initial configuration of instances. The paths of disks are names beside the record.
    pub(crate) config: VmConfig,
}

impl Record for TemplateRecord {
    const FILE: &str = "template.json";
}

/// An immutable template in a repository.
#[derive(Clone, Debug)]
pub struct Template {
    repository: Repository,
    record: TemplateRecord,
}

impl Template {
    pub(crate) fn new(repository: Repository, record: TemplateRecord) -> Self {
        Self { repository, record }
    }

    /// The UUID.
    pub fn uuid(&self) -> Uuid {
        self.record.uuid
    }

    /// The name, which all its versions share.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The version, unique among the templates of its name.
    pub fn version(&self) -> &str {
        &self.record.version
    }

    /// The description for users.
    pub fn description(&self) -> &str {
        &self.record.description
    }

    /// The labels, which instances inherit.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.record.config.labels
    }

    /// The time at which it was sealed.
    pub fn created(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.record.created)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Its disks, in the order of its configuration.
    pub fn disks(&self) -> &[TemplateDisk] {
        &self.record.disks
    }

    /// Whether it has the memory of a VM: its instances are suspended, and go on where that VM was.
    pub fn has_memory(&self) -> bool {
        self.record.memory.is_some()
    }

    /// The initial configuration of instances, with the absolute paths of the template's disks.
    pub fn config(&self) -> VmConfig {
        with_full_paths(&self.record.config, &self.folder())
    }

    /// The template on which it is based, if any.
    pub fn parent(&self) -> Option<&Lineage> {
        self.record.parent.as_ref()
    }

    /// The hash of the contents of all disks, as `sha256:` and hexadecimal digits.
    ///
    /// The hash of a disk is the SHA-256 of: the 16 bytes `xvirt disk\0\0\0\0\0\1`; its size in bytes; and, in
    /// ascending order, the offset in bytes and the contents of each 64 KiB block that is not all zeroes (the last
    /// block ends with the disk). Numbers are 64 bits, little-endian. The hash of a template is the SHA-256 of the 16
    /// bytes `xvirt template\0\1` and the hashes of its disks as text. So equal contents have equal hashes, independent
    /// of image format, holes and layers.
    pub fn hash(&self) -> String {
        hash_template(self.record.disks.iter().map(|disk| disk.hash.as_str()))
    }

    /// The template and those below it, the deepest last.
    ///
    /// # Errors
    /// [`CorruptRepository`](ErrorKind::CorruptRepository) if one is missing, damaged or unreadable.
    pub fn chain(&self) -> Result<Vec<Self>> {
        let _lock = self.repository.lock_shared()?;
        self.repository.read_chain(self.clone())
    }

    /// The reference to it that VMs and templates based on it store.
    pub fn lineage(&self) -> Lineage {
        Lineage { template: self.uuid(), name: self.name().to_owned(), version: self.version().to_owned() }
    }

    /// The images of its disks, in order: name, absolute path, format.
    pub(crate) fn images(&self) -> Vec<(String, PathBuf, ImageFormat)> {
        let folder = self.folder();
        let image = |disk: &Disk| match &disk.source {
            DiskSource::Image { path, format } => Some((path.to_str()?.to_owned(), folder.join(path), *format)),
            DiskSource::Descriptors(_) | DiskSource::Backend(_) => None,
        };
        self.record.config.disks.iter().filter_map(image).collect()
    }

    /// The name for messages.
    pub(crate) fn title(&self) -> String {
        format!("template '{}:{}'", self.name(), self.version())
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.repository.place(Directory::Layers, self.uuid())
    }

    pub(crate) fn record(&self) -> &TemplateRecord {
        &self.record
    }
}

impl Repository {
    /// All templates, by name and in the order of sealing. Templates with a damaged record or a newer format are
    /// skipped; [`check`](Self::check) finds them.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn templates(&self) -> Result<Vec<Template>> {
        let _lock = self.lock_shared()?;
        self.readable_templates()
    }

    /// The templates with a label of this key and, if given, this value, in the order of
    /// [`templates`](Self::templates), which also skips damaged ones.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn templates_labelled(&self, key: &str, value: Option<&str>) -> Result<Vec<Template>> {
        let mut templates = self.templates()?;
        templates.retain(|template| is_labelled(template.labels(), key, value));
        Ok(templates)
    }

    /// The template `name:version`, the newest one called `name`, or the one with this UUID.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`CorruptRepository`](ErrorKind::CorruptRepository) if `which` is a UUID and
    /// the record is damaged.
    pub fn template(&self, which: &str) -> Result<Template> {
        if let Ok(id) = Uuid::try_parse(which) {
            let _lock = self.lock_shared()?;
            return self.read_template(id);
        }
        let (name, version) = match which.split_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (which, None),
        };
        let mut templates = self.templates()?.into_iter();
        let found = templates
            .rfind(|template| template.name() == name && version.is_none_or(|version| template.version() == version));
        found.ok_or_else(|| absent(which))
    }

    /// Like [`templates`](Self::templates), for callers that hold a lock.
    pub(crate) fn readable_templates(&self) -> Result<Vec<Template>> {
        let ids = self.ids(Directory::Layers)?.into_iter();
        let read = ids.filter_map(|id| readable("a template", self.read_template(id)));
        Ok(sorted(read.collect::<Result<_>>()?))
    }

    /// Like [`templates`](Self::templates), but fails if one cannot be read, for callers that hold a lock.
    pub(crate) fn read_templates(&self) -> Result<Vec<Template>> {
        let ids = self.ids(Directory::Layers)?.into_iter();
        Ok(sorted(ids.map(|id| self.read_template(id)).collect::<Result<_>>()?))
    }

    /// The template with this UUID, for callers that hold a lock.
    pub(crate) fn read_template(&self, id: Uuid) -> Result<Template> {
        let folder = self.place(Directory::Layers, id);
        let record = TemplateRecord::read(&folder).map_err(|error| match fs::symlink_metadata(&folder) {
            Ok(_) if error.kind() == ErrorKind::NotFound => corrupt(&folder, "its record is missing"),
            Err(_) if error.kind() == ErrorKind::NotFound => absent(&id.to_string()),
            _ => error,
        })?;
        if record.uuid != id {
            return Err(corrupt(&folder, "its record belongs to another template"));
        }
        check_disks(&record.config, &folder)?;
        let beside = record.config.disks.iter().all(|disk| match &disk.source {
            DiskSource::Image { path, .. } => path.is_relative(),
            DiskSource::Descriptors(_) | DiskSource::Backend(_) => false,
        });
        if !beside || record.config.disks.len() != record.disks.len() {
            return Err(corrupt(&folder, "its record does not match its disks"));
        }
        Ok(Template { repository: self.clone(), record })
    }

    /// A template and those below it, the deepest last, for callers that hold a lock.
    pub(crate) fn read_chain(&self, top: Template) -> Result<Vec<Template>> {
        let mut chain = vec![top];
        while let Some(parent) = chain.last().and_then(Template::parent) {
            if chain.iter().any(|template| template.uuid() == parent.template) {
                return Err(corrupt(&self.place(Directory::Layers, parent.template), "it is based on itself"));
            }
            let missing = |error: Error| match error.kind() {
                ErrorKind::NotFound => corrupt(&self.place(Directory::Layers, parent.template), "it is missing"),
                _ => error,
            };
            chain.push(self.read_template(parent.template).map_err(missing)?);
        }
        Ok(chain)
    }
}

fn sorted(mut templates: Vec<Template>) -> Vec<Template> {
    templates.sort_by(|a, b| (a.name(), a.record.number).cmp(&(b.name(), b.record.number)));
    templates
}

pub(crate) fn absent(which: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no template '{}'", shown(which)))
        .with_remedy("list the templates with Repository::templates")
}
