//! `appliance import`: imports an archive into a repository as a VM.

use std::path::Path;
use std::thread;

use xvirt_core::ErrorKind;
use xvirt_core::host::Host;
use xvirt_core::repository::Repository;
use xvirt_core::xva::{self, StreamingImport};

use crate::arguments::Import;
use crate::failure::{Failure, Result, note};
use crate::input::{Input, Name};
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::run::Running;
use crate::store::Store;
use crate::table::print;

pub fn import(arguments: &Import, interrupt: &Interrupt) -> Result<()> {
    // First, so that a host that cannot run the VM is reported before the long import.
    let host = arguments.start.then(host).transpose()?;
    let input = Input::open(&arguments.file, interrupt)?;
    let repository = Store::open(&arguments.repository)?;
    if let Some(host) = &host
        && let Some(streaming) = streaming(arguments, &repository)?
    {
        return start_at_once(&streaming, host, interrupt);
    }
    let bar = Bar::new(input.size(), interrupt);
    let imported = xva::import(input, &repository, &options(arguments), &bar)
        .map_err(|error| Failure::new(Name(&arguments.file), error))?;
    drop(bar);
    imported.remarks.iter().for_each(note);
    match host {
        // Standard output belongs to the guest.
        Some(host) => {
            note(format!("{} is VM {}", imported.vm.name(), imported.vm.uuid()));
            let typed = arguments.file != Path::new("-");
            let vm = imported.vm.config().build(&host).map_err(Failure::from);
            let started = vm.and_then(|vm| Running::start(vm, typed, interrupt));
            let stored = |failure: Failure| {
                failure.but(format!("VM {} is imported all the same, and stays in the repository", imported.vm.uuid()))
            };
            started.map_err(stored)?.wait(interrupt)
        }
        None => print(&format!("{}  {}\n", imported.vm.uuid(), imported.vm.name())),
    }
}

/// The import of a VM that runs meanwhile; `None` if the archive can only be read from start to end.
fn streaming(arguments: &Import, repository: &Repository) -> Result<Option<StreamingImport>> {
    if arguments.file == Path::new("-") || arguments.accept_unchecked {
        return Ok(None);
    }
    match xva::import_streaming(&arguments.file, repository, &options(arguments)) {
        Ok(streaming) => Ok(Some(streaming)),
        Err(error) if error.kind() == ErrorKind::UnsupportedArchive => Ok(None),
        Err(error) => Err(Failure::new(Name(&arguments.file), error)),
    }
}

/// Runs a VM directly from its archive while importing the rest, which is completed however the VM ends.
fn start_at_once(streaming: &StreamingImport, host: &Host, interrupt: &Interrupt) -> Result<()> {
    streaming.remarks().iter().for_each(note);
    let config = streaming.config();
    note(format!("{} is VM {}, and starts directly from the archive", config.name, config.uuid));
    // Before the import, so that nothing is left of a VM that cannot start.
    let running = Running::start(config.clone().build(host)?, true, interrupt)
        .map_err(|failure| failure.but("nothing was imported"))?;
    thread::scope(|scope| {
        let completed = scope.spawn(|| {
            streaming.complete(&()).inspect_err(|error| {
                note(format!("the import failed, and is retried when the VM is halted: {error}"));
            })
        });
        let ran = running.wait(interrupt);
        match completed.join() {
            Ok(Ok(_)) => ran,
            // Otherwise all data that the guest has written would be lost.
            Ok(Err(_)) => streaming.complete(&()).map(drop).map_err(Failure::from).and(ran),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn host() -> Result<Host> {
    let host = Host::probe()?;
    host.require_kvm()?;
    Ok(host)
}

fn options(arguments: &Import) -> xva::Import {
    let mut options = xva::Import::default().read(arguments.reading.options());
    if let Some(name) = &arguments.name {
        options = options.name(name);
    }
    for (network, bridge) in &arguments.networks {
        options = options.network(network, bridge);
    }
    if arguments.preserve {
        options = options.preserve();
    }
    if arguments.accept_unchecked {
        options = options.accept_unchecked();
    }
    options
}
