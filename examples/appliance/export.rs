//! `appliance export`: exports a VM of a repository as an archive.

use xvirt_core::repository::Repository;
use xvirt_core::xva;

use crate::arguments::ExportStored;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::progress::Bar;

pub fn export(arguments: &ExportStored, interrupt: &Interrupt) -> Result<()> {
    // An empty folder would become a repository.
    if arguments.repository.read_dir().is_ok_and(|mut entries| entries.next().is_none()) {
        return Err(Failure::new(arguments.repository.display(), "there is no repository; the folder is empty"));
    }
    if !arguments.repository.is_dir() {
        return Err(Failure::new(arguments.repository.display(), "there is no such folder"));
    }
    let vm = Repository::open(&arguments.repository)?
        .vm(&arguments.vm)
        .map_err(|error| Failure::new(arguments.repository.display(), error))?;
    let output = Output::create(&arguments.output, arguments.writing.force, &vm.config())?;
    let bar = Bar::new(None, interrupt);
    let exported = xva::export_stored(&vm, output.file(), &arguments.writing.export(), &bar)
        .map_err(|error| output.failed(error))?;
    drop(bar);
    output.finish(&exported)
}
