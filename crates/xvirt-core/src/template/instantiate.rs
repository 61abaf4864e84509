//! Creates a VM from a template.

use super::identity::renew;
use crate::repository::{Base, Directory, Repository, StoredVm, Template, VmRecord, absent, child};
use crate::{Error, Result};

impl Repository {
    /// Creates a VM from a template: halted, or suspended if the template [has memory](Self::seal_hot), in a time that does
    /// not depend on the size of its disks. One that is suspended uses the template's file of memory until its first run
    /// ends: [`seal_hot`](Self::seal_hot) says what follows from that. It resumes with the devices of the VM that was sealed:
    /// what [`update`](Self::update) changes counts from the first start after a shutdown.
    ///
    /// Its disks are copy-on-write copies of the template's, and it has the template's labels. Its UUID, generation ID
    /// and MAC addresses are new; an interface on a named tap gets a tap of its own on the same bridge, and no host
    /// ports are forwarded to it. Several calls may run concurrently.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the template was removed; or the disks cannot be created.
    pub fn instantiate(&self, template: &Template, name: impl Into<String>) -> Result<StoredVm> {
        let mut stage = self.stage()?;
        let mut config = template.record().config.clone();
        renew(&mut config, name.into());
        let mut record = VmRecord::new(config, Some(template.lineage()))?;
        let explain = |error| if template.folder().exists() { error } else { gone(template) };
        for (index, (name, image, format)) in template.images().iter().enumerate() {
            let base = Base { image, format: *format, directory: Directory::Layers, owner: template.uuid(), name };
            let made = child(&stage, index, &base).map_err(explain)?;
            record.set_disk(index, made.name, made.format);
        }
        if let Some(original) = template.record().memory {
            let lock = self.lock_shared()?;
            record.suspend_as_copy(&lock, &template.folder(), original, stage.folder()).map_err(explain)?;
        }
        stage.commit_record(record, |_| {
            // A template in use is not removed without this lock, so it still exists if its folder does.
            if self.place(Directory::Layers, template.uuid()).exists() { Ok(()) } else { Err(gone(template)) }
        })
    }
}

fn gone(template: &Template) -> Error {
    absent(&format!("{}:{}", template.name(), template.version()))
}
