//! `appliance import`: a VM of a repository out of an archive.

use std::path::Path;

use xvirt_core::host::Host;
use xvirt_core::repository::Repository;
use xvirt_core::xva;

use crate::arguments::Import;
use crate::failure::{Failure, Result, note};
use crate::input::{Input, Name};
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::run::run;
use crate::table::print;

pub fn import(arguments: &Import, interrupt: &Interrupt) -> Result<()> {
    // Before the long work: a VM that cannot be started need not be waited for.
    let host = arguments.start.then(host).transpose()?;
    let input = Input::open(&arguments.file, interrupt)?;
    let repository = Repository::open(&arguments.repository)?;
    let bar = Bar::new(input.size(), interrupt);
    let imported = xva::import(input, &repository, &options(arguments), &bar)
        .map_err(|error| Failure::new(Name(&arguments.file), error))?;
    drop(bar);
    imported.remarks.iter().for_each(note);
    match host {
        // Standard output is the guest's.
        Some(host) => {
            note(format!("{} is VM {}", imported.vm.name(), imported.vm.uuid()));
            let typed = arguments.file != Path::new("-");
            run(imported.vm.config().build(&host)?, typed, interrupt)
        }
        None => print(&format!("{}  {}\n", imported.vm.uuid(), imported.vm.name())),
    }
}

fn host() -> Result<Host> {
    let host = Host::probe()?;
    host.require_kvm()?;
    Ok(host)
}

fn options(arguments: &Import) -> xva::Import {
    let mut options = xva::Import::default();
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
