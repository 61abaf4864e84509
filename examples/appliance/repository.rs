//! `appliance list`, `remove` and `check`: looks after a repository.

use serde::Serialize;
use xvirt_core::config::ByteSize;
use xvirt_core::repository::{Check, StoredVm};

use crate::arguments::{CheckStored, List, Remove};
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::store::open_existing;
use crate::table::{Plain, Table, print, print_json};
use crate::words::Words;

pub fn list(arguments: &List) -> Result<()> {
    let vms = open_existing(&arguments.repository)?.vms()?;
    if arguments.json {
        return print_json(&vms.iter().map(Listed::from).collect::<Vec<_>>());
    }
    print(&vms.iter().map(line).collect::<String>())
}

fn line(vm: &StoredVm) -> String {
    let suspended = if vm.is_suspended() { "  (suspended)" } else { "" };
    format!("{}  {}{suspended}\n", vm.uuid(), Plain(vm.name()))
}

/// What programs are told of a VM.
#[derive(Serialize)]
struct Listed {
    uuid: String,
    name: String,
    description: String,
    vcpus: u32,
    memory: ByteSize,
    disks: usize,
    suspended: bool,
}

impl From<&StoredVm> for Listed {
    fn from(vm: &StoredVm) -> Self {
        let config = vm.config();
        Self {
            uuid: config.uuid.to_string(),
            vcpus: config.cpus.count,
            memory: config.memory,
            disks: config.disks.len(),
            suspended: vm.is_suspended(),
            name: config.name,
            description: config.description,
        }
    }
}

pub fn remove(arguments: &Remove) -> Result<()> {
    let repository = open_existing(&arguments.repository)?;
    // By its UUID, a VM can be removed whose record is damaged.
    let uuid = arguments.vm.parse().or_else(|_| repository.vm(&arguments.vm).map(|vm| vm.uuid()));
    let removed = uuid.and_then(|uuid| repository.remove_vm(uuid));
    removed.map_err(|error| Failure::new(arguments.repository.display(), error))
}

pub fn check(arguments: &CheckStored, interrupt: &Interrupt) -> Result<()> {
    let repository = open_existing(&arguments.repository)?;
    let bar = Bar::new(None, interrupt);
    let check = repository.check(&bar)?;
    drop(bar);
    if arguments.json {
        print_json(&check)?;
    } else {
        table(&check).print()?;
    }
    match check.problems.len() {
        0 => Ok(()),
        1 => Err(Failure::new(arguments.repository.display(), "there is 1 problem")),
        count => Err(Failure::new(arguments.repository.display(), format!("there are {count} problems"))),
    }
}

fn table(check: &Check) -> Table {
    let mut table = Table::default();
    table.line("VMs", check.vms);
    table.line("templates", check.templates);
    table.line("snapshots", check.snapshots);
    for problem in &check.problems {
        table.line("damage", Words(format!("{}; {}", problem.what, problem.remedy)));
    }
    table.line("verdict", if check.problems.is_empty() { "good" } else { "DAMAGED" });
    table
}
