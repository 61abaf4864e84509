//! Deletes unused templates.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::repository::{Directory, ExclusiveLock, Owner, Repository, Template, absent};
use crate::{Error, ErrorKind, Result};

/// Which unused templates to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unused {
    /// Only those with a newer version.
    Superseded,
    /// All of them.
    All,
}

impl Repository {
    /// Deletes a template with its disks.
    ///
    /// # Errors
    /// [`InUse`](ErrorKind::InUse) if VMs, snapshots or other templates are based on it, which the error names;
    /// [`NotFound`](ErrorKind::NotFound) if it was removed already.
    pub fn remove_template(&self, template: &Template) -> Result<()> {
        let referring = self.referring(Owner { directory: Directory::Layers, id: template.uuid() })?;
        let lock = self.lock_exclusive()?;
        if !self.place(Directory::Layers, template.uuid()).exists() {
            return Err(absent(&template.uuid().to_string()));
        }
        let mut users = self.users(&lock, template.uuid())?;
        let more: Vec<_> = referring.into_iter().filter(|user| !users.contains(user)).collect();
        users.extend(more);
        if !users.is_empty() {
            let what = format!("{} is in use by {}", template.title(), users.join(", "));
            return Err(Error::new(ErrorKind::InUse, what).with_remedy("remove them, or flatten the VMs"));
        }
        let trash = self.discard(&lock, Directory::Layers, template.uuid())?;
        drop(lock);
        self.empty(trash);
        self.sweep_removed();
        Ok(())
    }

    /// Deletes templates on which nothing is based, and those below them that become unused. Returns the deleted
    /// templates.
    ///
    /// # Errors
    /// A record is damaged, or a template cannot be removed.
    pub fn collect(&self, which: Unused) -> Result<Vec<Template>> {
        let mut removed = Vec::new();
        loop {
            let unused = self.collect_unused(which)?;
            if unused.is_empty() {
                return Ok(removed);
            }
            removed.extend(unused);
            // A removed snapshot may have stayed for one of them, and be based on the next.
            self.sweep_removed();
        }
    }

    fn collect_unused(&self, which: Unused) -> Result<Vec<Template>> {
        let references = self.all_references(None)?;
        let referenced = references.iter().flat_map(|(_, found)| found).map(|reference| reference.owner);
        let referenced: HashSet<_> =
            referenced.filter(|owner| owner.directory == Directory::Layers).map(|owner| owner.id).collect();
        let lock = self.lock_exclusive()?;
        let (vms, snapshots) = (self.read_vms()?, self.read_snapshots()?);
        let mut left = self.read_templates()?;
        let newest = newest(&left);
        let (mut removed, mut trash) = (Vec::new(), Vec::new());
        loop {
            let parents = left.iter().filter_map(Template::parent);
            let of_vms = vms.iter().filter_map(|vm| vm.layer());
            let of_snapshots = snapshots.iter().filter_map(|snapshot| snapshot.record().layer.as_ref());
            let used: HashSet<_> = parents.chain(of_vms).chain(of_snapshots).map(|lineage| lineage.template).collect();
            let needless = |template: &Template| {
                let id = template.uuid();
                !used.contains(&id)
                    && !referenced.contains(&id)
                    && (which == Unused::All || !newest.contains(&template.uuid()))
            };
            let Some(at) = left.iter().position(needless) else { break };
            let template = left.remove(at);
            trash.push(self.discard(&lock, Directory::Layers, template.uuid())?);
            removed.push(template);
        }
        drop(lock);
        trash.into_iter().for_each(|id| self.empty(id));
        Ok(removed)
    }

    /// The VMs, snapshots and templates based on a template, as text.
    fn users(&self, _: &ExclusiveLock, template: Uuid) -> Result<Vec<String>> {
        let mut users = Vec::new();
        for vm in self.read_vms()? {
            if vm.layer().is_some_and(|layer| layer.template == template) {
                users.push(vm.title());
            }
        }
        for snapshot in self.read_snapshots()? {
            if snapshot.record().layer.as_ref().is_some_and(|layer| layer.template == template) {
                users.push(snapshot.title());
            }
        }
        for above in self.read_templates()? {
            if above.parent().is_some_and(|parent| parent.template == template) {
                users.push(above.title());
            }
        }
        Ok(users)
    }
}

/// The newest template of each name; the input must be sorted by name and age.
fn newest(sorted: &[Template]) -> HashSet<Uuid> {
    let next = sorted.iter().skip(1).map(Some).chain([None]);
    let last = sorted.iter().zip(next).filter(|(this, next)| next.is_none_or(|next| next.name() != this.name()));
    last.map(|(this, _)| this.uuid()).collect()
}
