//! `appliance export`: exports a VM of a repository as an archive.

use xvirt_core::xva;

use crate::arguments::ExportStored;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::progress::Bar;
use crate::store::open_existing;

pub fn export(arguments: &ExportStored, interrupt: &Interrupt) -> Result<()> {
    let vm = open_existing(&arguments.repository)?
        .vm(&arguments.vm)
        .map_err(|error| Failure::new(arguments.repository.display(), error))?;
    let output = Output::create(&arguments.output, arguments.writing.force, &vm.config())?;
    let bar = Bar::new(None, interrupt);
    let exported = xva::export_stored(&vm, output.file(), &arguments.writing.export(), &bar)
        .map_err(|error| output.failed(error))?;
    drop(bar);
    output.finish(&exported)
}
