//! Other processes: the test program runs itself again with a task in its environment.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};

use xvirt_core::config::Disk;
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::template::Unused;
use xvirt_core::{ErrorKind, Result};
use xvirt_testing::process::another;

use crate::support::*;

const ORDER: &str = "XVIRT_TEST_REPOSITORY_CHILD";

/// Starts a child with a task for a repository.
pub fn start(order: &str, repository: &Path) -> Child {
    another("child::obeys")
        .env(ORDER, format!("{order}:{}", repository.to_str().unwrap()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The output of a child until its end.
pub fn words(mut child: Child) -> Vec<String> {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    text.lines().map(str::to_owned).collect()
}

/// What is known about VMs from the output of children.
#[derive(Default)]
pub struct Told {
    pub made: HashSet<String>,
    pub wrote: HashSet<String>,
    pub removing: HashSet<String>,
    /// Data written before a VM was sealed belongs to its template, and a rebase leaves it there.
    pub rebasing: HashSet<String>,
}

impl Told {
    pub fn hear(&mut self, words: &[String]) {
        for line in words {
            assert!(!line.starts_with("FAILED"), "{line}");
            let Some((verb, uuid)) = line.split_once(' ') else { continue };
            match verb {
                "made" => self.made.insert(uuid.to_owned()),
                "wrote" => self.wrote.insert(uuid.to_owned()),
                "removing" => self.removing.insert(uuid.to_owned()),
                "rebasing" => self.rebasing.insert(uuid.to_owned()),
                _ => continue,
            };
        }
    }
}

/// Changes several properties of a VM at once: notes a number twice, and adds a disk or removes the added one.
fn update(repository: &Repository, vm: &StoredVm, number: u64) -> Result<StoredVm> {
    let path = vm.new_disk_path(ImageFormat::Raw);
    disk::create(&path, ImageFormat::Raw, MIB)?;
    repository.update(vm.uuid(), |config| {
        config.description = number.to_string();
        config.labels.insert("number".to_owned(), number.to_string());
        match config.disks.len() {
            1 => config.disks.push(Disk::raw(&path)),
            _ => config.disks.truncate(1),
        }
        Ok(())
    })
}

/// One random operation. Its VM may be gone or in use, because other processes do the same.
fn step(repository: &Repository, random: &mut Random) -> Result<()> {
    let vms = repository.vms()?;
    let templates = repository.templates()?;
    if vms.is_empty() {
        return Ok(());
    }
    let vm = random.pick(&vms);
    if templates.is_empty() {
        return repository.seal("t", vm, &()).map(drop);
    }
    let template = random.pick(&templates);
    match random.below_u64(if vms.len() > 8 { 24 } else { 18 }) {
        0..=4 => {
            let vm = repository.instantiate(template, "instance")?;
            println!("made {}", vm.uuid());
        }
        5 => {
            let (path, format) = image(&vm.config(), 0);
            try_write(&path, format, MIB, b"data")?;
            println!("wrote {}", vm.uuid());
        }
        6 | 7 => drop(repository.seal(*random.pick(&["t", "u", "v"]), vm, &())?),
        8 | 9 => drop(repository.flatten(vm, &())?),
        10 => {
            println!("rebasing {}", vm.uuid());
            repository.rebase(vm, template, &())?;
        }
        11 => repository.remove_template(template)?,
        12 | 13 => drop(repository.collect(if random.below_u64(2) == 0 { Unused::Superseded } else { Unused::All })?),
        14..=16 => drop(update(repository, vm, random.below_u64(1000))?),
        17 => {
            let vm = repository.clone_vm(vm, "clone", &())?;
            println!("made {}", vm.uuid());
        }
        _ if vm.name() == "root" => {}
        _ => {
            println!("removing {}", vm.uuid());
            repository.remove_vm(vm.uuid())?;
        }
    }
    Ok(())
}

/// Errors that can be caused by concurrent operations.
const EXPECTED: [ErrorKind; 7] = [
    ErrorKind::AlreadyExists,
    ErrorKind::Busy,
    ErrorKind::NotFound,
    ErrorKind::InUse,
    ErrorKind::InvalidState,
    ErrorKind::InvalidConfig,
    ErrorKind::UnsupportedImage,
];

#[test]
fn obeys() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let (order, folder) = order.split_once(':').unwrap();
    let repository = Repository::open(folder).unwrap();
    if let Some(count) = order.strip_prefix("instantiate") {
        let template = repository.template("t").unwrap();
        for number in 0..count.parse().unwrap() {
            repository.instantiate(&template, format!("process {} {number}", std::process::id())).unwrap();
        }
    }
    if order == "shortage" {
        crate::shortage::meet(&repository);
    }
    if let Some(seed) = order.strip_prefix("storm") {
        let mut random = Random::new(seed.parse::<u64>().unwrap() * 7919 + 1);
        loop {
            match step(&repository, &mut random) {
                Err(error) if !EXPECTED.contains(&error.kind()) => println!("FAILED {:?}: {error}", error.kind()),
                _ => {}
            }
        }
    }
}
