//! A process that sends and receives a VM, as it is told.

use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use xvirt_core::ErrorKind;
use xvirt_core::config::VmConfig;
use xvirt_core::host::Host;
use xvirt_core::migrate::{Migration, Reception, receive};
use xvirt_core::repository::Repository;
use xvirt_core::vm::{ArrivingVm, PowerState, Vm};

use super::cases::{Case, Decider, Scenario, Side, cases};
use super::channel::{FaultyChannel, Plan};
use super::store::Store;
use crate::victim;
use crate::workload::Workload;

/// The VM that is migrated.
pub fn configuration(folder: &Path) -> VmConfig {
    let repository = Repository::open(folder.join("small/repository")).unwrap();
    repository.vms().unwrap().pop().unwrap().config().clone()
}

/// Tells the judge something.
pub fn report(word: &str) {
    victim::say(word);
}

/// Waits for the judge's next order; `None` if the judge has ended.
pub fn wait_for_order() -> Option<String> {
    let mut order = String::new();
    (io::stdin().read_line(&mut order).unwrap() > 0).then(|| order.trim_end().to_owned())
}

struct Process {
    folder: PathBuf,
    host: Host,
    guest: Option<Workload>,
}

impl Process {
    fn guest(&mut self) -> &mut Workload {
        self.guest.as_mut().unwrap()
    }

    fn start(&mut self, shared: bool) {
        let config = configuration(&self.folder);
        let config = if shared { config.shared_memory() } else { config };
        let mut guest = Workload::new(config.build(&self.host).unwrap());
        guest.vm.start().unwrap();
        guest.goes_on();
        self.guest = Some(guest);
    }

    fn plan(&self, side: Side, case: Option<&Case>) -> (Arc<Plan>, Store) {
        let decider = case.map_or(Decider::Sides, |case| case.decider);
        (Plan::new(side, case.cloned()), Store::new(&self.folder, decider))
    }

    fn send(&mut self, case: Option<Case>, socket: &str) -> String {
        let socket = self.folder.join(socket);
        let (plan, store) = self.plan(Side::Source, case.as_ref());
        let channel = FaultyChannel { inner: &move |_| UnixStream::connect(&socket), plan: plan.clone() };
        let mut settings = Migration::default().connections(2);
        if let Some(case) = &case {
            let (limit, at_limit) = (case.time_limit(Side::Source), settings.at_limit);
            settings = settings.memory(case.memory).connections(case.connections).time_limit(limit, at_limit);
            settings = settings.silence_limit(case.silence()).decision_limit(DECISION);
        }
        let vm = &self.guest().vm;
        match (vm.migrate(&channel, &settings, &store, &*plan), vm.power_state()) {
            (Ok(_), PowerState::Halted) => "Migrated".to_owned(),
            (Err(error), PowerState::Running) => format!("Resumed {error}"),
            (Err(error), PowerState::Paused) if error.kind() == ErrorKind::Indeterminate => {
                format!("Indeterminate {error}")
            }
            (Err(error), PowerState::Paused) => format!("Paused {error}"),
            (result, state) => panic!("{state:?} after {result:?}"),
        }
    }

    fn receive(&mut self, case: Option<Case>, socket: &str) -> String {
        let listener = UnixListener::bind(self.folder.join(socket)).unwrap();
        let (plan, store) = self.plan(Side::Target, case.as_ref());
        let channel = FaultyChannel { inner: &listener, plan: plan.clone() };
        let mut settings = Reception::default();
        if let Some(case) = &case {
            settings = settings.silence_limit(case.silence()).time_limit(case.time_limit(Side::Target));
            settings = settings.decision_limit(DECISION);
        }
        let scenario = case.as_ref().map_or(Scenario::Good, |case| case.scenario);
        report("ready");
        let received = receive(&channel, &self.host, &settings, &store, &*plan, &mut |vm| accept(vm, scenario));
        match received {
            Ok(vm) => {
                // With the output since the boot.
                self.guest = Some(Workload::new(vm));
                "Running".to_owned()
            }
            Err(error) => format!("Aborted {error}"),
        }
    }
}

/// How long a store is asked.
const DECISION: Duration = Duration::from_secs(1);

fn accept(arriving: &ArrivingVm, scenario: Scenario) -> Result<VmConfig, Vec<String>> {
    if scenario == Scenario::Refused {
        return Err(vec!["no room".to_owned()]);
    }
    Ok(arriving.config().unwrap().clone())
}

/// All output of the guest since its boot.
fn output(vm: &Vm) -> Vec<u8> {
    let (mut console, mut all, mut bytes) = (vm.console().reader(), Vec::new(), [0; 4096]);
    while let Some(count @ 1..) = console.try_read(&mut bytes) {
        all.extend(&bytes[..count]);
    }
    all
}

/// Obeys the orders of the judge.
#[test]
fn obeys() {
    let Some((folder, _)) = victim::order() else { return };
    let mut process = Process { folder, host: Host::probe().unwrap(), guest: None };
    let cases = cases();
    let case = |number: &str, slowness: &str| Case {
        slowness: slowness.parse().unwrap(),
        ..cases[number.parse::<usize>().unwrap()].clone()
    };
    while let Some(order) = wait_for_order() {
        match order.split(' ').collect::<Vec<_>>()[..] {
            ["start", memory] => {
                process.start(memory == "shared");
                report("started");
            }
            ["send", socket] => report(&format!("ended {}", process.send(None, socket))),
            ["receive", socket] => report(&format!("ended {}", process.receive(None, socket))),
            ["send", socket, number, slowness] => {
                report(&format!("ended {}", process.send(Some(case(number, slowness)), socket)));
            }
            ["receive", socket, number, slowness] => {
                report(&format!("ended {}", process.receive(Some(case(number, slowness)), socket)));
            }
            ["resolve", ran_there] => {
                process.guest().vm.resolve_migration(ran_there == "true").unwrap();
                report("resolved");
            }
            ["work"] => {
                process.guest().goes_on();
                report(&format!("works {}", process.guest().progress.round()));
            }
            ["end", file] => {
                let output = process.guest.as_ref().map(|guest| output(&guest.vm)).unwrap_or_default();
                fs::write(process.folder.join(file), output).unwrap();
                return;
            }
            _ => panic!("{order}"),
        }
    }
}
