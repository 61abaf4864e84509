//! Boot menus.

use std::sync::Arc;

use pyo3::prelude::*;
use xvirt_core::boot::{self, BootEntry, EntryChoice, Limits};
use xvirt_core::disk;

use crate::data::loaded;
use crate::disk::BlockBackend;
use crate::slot::Slot;
use crate::work::Work;

/// The boot menu of a disk image, and what is needed to load files from there.
#[pyclass(frozen, module = "xvirt._xvirt")]
pub struct BootMenu {
    slot: Slot<Read>,
}

/// A menu refers to its disk, so it is read again when files are loaded.
struct Read {
    disk: Arc<dyn disk::BlockBackend>,
    entries: Vec<BootEntry>,
    default: Option<BootEntry>,
}

crate::handle_output!(BootMenu);

#[pymethods]
impl BootMenu {
    #[staticmethod]
    fn read(image: &Bound<'_, BlockBackend>) -> PyResult<Work> {
        let disk = Arc::clone(&*image.get().slot.get()?);
        Ok(Work::free(move |_| {
            let menu = boot::BootMenu::read(&*disk)?;
            let (entries, default) = (menu.entries().to_vec(), menu.default_entry().cloned());
            drop(menu);
            Ok(Self { slot: Slot::new("BootMenu", Read { disk, entries, default }) })
        }))
    }

    fn entries<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        crate::data::dumped(py, &self.slot.get()?.entries)
    }

    fn default_entry<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        crate::data::dumped(py, &self.slot.get()?.default)
    }

    /// The entry that a choice means.
    fn entry(&self, choice: &Bound<'_, PyAny>) -> PyResult<Work> {
        let (read, choice) = (self.slot.get()?, loaded::<EntryChoice>(choice)?);
        Ok(Work::new(self.slot.closing(), move |_| boot::BootMenu::read(&*read.disk)?.entry(&choice).cloned()))
    }

    /// The files of an entry; `limits` are the sizes that the kernel and the initrd may have.
    fn load(&self, choice: &Bound<'_, PyAny>, limits: Option<&Bound<'_, PyAny>>) -> PyResult<Work> {
        let (read, choice) = (self.slot.get()?, loaded::<EntryChoice>(choice)?);
        let limits = limits.map(loaded::<Limits>).transpose()?.unwrap_or_default();
        Ok(Work::new(self.slot.closing(), move |_| {
            let menu = boot::BootMenu::read(&*read.disk)?;
            menu.load_within(menu.entry(&choice)?, &limits)
        }))
    }

    fn dispose(&self) -> Work {
        self.slot.close()
    }

    fn is_closed(&self) -> bool {
        self.slot.is_closed()
    }
}
