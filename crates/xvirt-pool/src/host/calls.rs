//! Takes verbs apart, and carries them out.

use std::sync::Arc;

use serde_json::{Map, Value};
use xvirt_worker::protocol::Request;

use super::Inner;
use super::access::audit::Entry;
use super::start::Start;
use crate::model::{Call, ClassTable, Ref, VmOperations, class};
use crate::operation::arguments::Arguments;
use crate::operation::query::Query;
use crate::operation::{Caller, Failure, accessor, answered, codes};
use crate::task::Running;

/// The verbs of VMs that take as long as a guest does.
const WAIT_FOR_GUESTS: [&str; 2] = ["clean_shutdown", "clean_reboot"];

impl Inner {
    /// Calls a verb: see [`Verbs::call`](crate::operation::Verbs::call).
    pub(crate) fn call(self: &Arc<Self>, caller: &Caller, verb: &str, given: Vec<Value>) -> Result<Value, Failure> {
        let (asynchronous, plain) = match verb.strip_prefix("Async.") {
            Some(plain) => (true, plain),
            None => (false, verb),
        };
        if verb == "system.listMethods" {
            return Ok(answered::all().into());
        }
        let unknown = || Failure::new("MESSAGE_METHOD_UNKNOWN", [verb]).with_remedy("look at the name of the verb");
        let (table, name) =
            plain.split_once('.').and_then(|(table, name)| Some((class(table)?, name))).ok_or_else(unknown)?;
        let call = table.call(name).ok_or_else(unknown)?;
        let of_access = table.name == "session" || table.name == "user" && matches!(call, Call::Own(_));
        if asynchronous && (of_access || table.name == "event" || !matches!(call, Call::Own(_))) {
            return Err(unknown());
        }
        answered::require(table, name, call)?;
        let arguments = Arguments::read(plain, table, call, given)?;
        let object = Some(arguments.text(0)).filter(|text| text.starts_with("OpaqueRef:"));
        let audited = Entry::of(caller, table, name, call, object.as_deref());
        let permitted = self.permit(caller, table, name, call, &arguments);
        if of_access || !matches!(call, Call::Own(_)) {
            let result = permitted.and_then(|()| match of_access {
                true => self.call_access(caller, table, name, call, &arguments),
                false => self.access(table, call, &arguments),
            });
            self.access.audit.end(audited.as_ref(), &result, self.now());
            return result;
        }
        if table.name == "event" && matches!(call, Call::Own(_)) {
            // Nothing is done, so it is no task and in no log.
            return permitted.and_then(|()| self.own_of_event(caller, name, &arguments));
        }
        let running = self.tasks.begin(caller, plain, object, self.host, self.now());
        if !asynchronous {
            let result = permitted.and_then(|()| self.own(caller, &running, table, name, &arguments));
            self.close(&running, &result);
            self.access.audit.end(audited.as_ref(), &result, self.now());
            return result;
        }
        self.objects.change(|change| running.record(change)).inspect_err(|_| self.forget(&running))?;
        running.set_recorded();
        let task = running.reference();
        let (inner, owned, ended) = (Arc::clone(self), name.to_owned(), Arc::clone(&running));
        let waits = table.name == "VM" && WAIT_FOR_GUESTS.contains(&name)
            || name == "unplug" && matches!(table.name, "VBD" | "VIF");
        let caller = caller.clone();
        let submitted = self.jobs.submit(waits, move || {
            let allowed = permitted.and_then(|()| running.check());
            let result = allowed.and_then(|()| inner.own(&caller, &running, table, &owned, &arguments));
            inner.close(&running, &result);
            inner.access.audit.end(audited.as_ref(), &result, inner.now());
        });
        if let Err(failure) = submitted {
            self.close(&ended, &Err(failure));
        }
        Ok(Value::from(task.to_string()))
    }

    /// Records the end of a task, unless its verb has done so.
    fn close(&self, running: &Running, result: &Result<Value, Failure>) {
        running.log(result);
        if running.is_open() {
            let (end, result, now) = (running.end(), result.clone(), self.now());
            let _ = self.later.make(&self.objects, move |change| end.record(change, &result, now));
        }
        self.forget(running);
    }

    /// Forgets a task that has ended.
    pub(crate) fn forget(&self, running: &Running) {
        if self.tasks.forget(running) {
            self.collect_tasks();
        }
    }

    /// A verb that a class has because of its fields, or a query.
    pub(crate) fn access(
        &self,
        table: &'static ClassTable,
        call: Call,
        arguments: &Arguments,
    ) -> Result<Value, Failure> {
        let all = || self.objects.values(table);
        let reference = |uuid| Value::from(Ref::<()>::new(uuid).to_string());
        let records = |records: Vec<(uuid::Uuid, Value)>| {
            Value::Object(
                records
                    .into_iter()
                    .map(|(uuid, record)| (Ref::<()>::new(uuid).to_string(), record))
                    .collect::<Map<_, _>>(),
            )
        };
        Ok(match call {
            Call::GetAll => all()?.into_iter().map(|(uuid, _)| reference(uuid)).collect(),
            Call::GetAllRecords => records(all()?),
            Call::GetAllWhere => {
                let meant = meant(table, &arguments.text(0))?;
                all()?.into_iter().filter(meant).map(|(uuid, _)| reference(uuid)).collect()
            }
            Call::GetAllRecordsWhere => {
                let meant = meant(table, &arguments.text(0))?;
                records(all()?.into_iter().filter(meant).collect())
            }
            Call::GetByNameLabel => {
                let label = arguments.text(0);
                let named = all()?.into_iter().filter(|(_, record)| accessor::named(record, &label));
                named.map(|(uuid, _)| reference(uuid)).collect()
            }
            Call::GetByUuid => {
                let text = arguments.text(0);
                let invalid = || {
                    Failure::new("UUID_INVALID", [table.name.to_owned(), text.clone()])
                        .with_remedy("list the objects of the class: there is none with this UUID")
                };
                let uuid = uuid::Uuid::try_parse(&text).map_err(|_| invalid())?;
                self.objects.value(table, uuid)?.ok_or_else(invalid)?;
                reference(uuid)
            }
            Call::GetRecord => self.record(table, arguments)?,
            Call::Get(field) => accessor::get(&self.record(table, arguments)?, field),
            _ => self.set_field(table, call, arguments)?,
        })
    }

    fn record(&self, table: &'static ClassTable, arguments: &Arguments) -> Result<Value, Failure> {
        let uuid = uuid_of(table, arguments)?;
        self.objects.value(table, uuid)?.ok_or_else(|| codes::handle_invalid(table.name, arguments.text(0)))
    }

    /// A verb of one object's own.
    fn own(
        self: &Arc<Self>,
        caller: &Caller,
        running: &Running,
        table: &'static ClassTable,
        name: &str,
        arguments: &Arguments,
    ) -> Result<Value, Failure> {
        match table.name {
            "VM" => self.own_of_vm(running, name, arguments),
            "VBD" => self.own_of_vbd(running, name, arguments),
            "VIF" => self.own_of_vif(running, name, arguments),
            "VDI" => self.own_of_vdi(running, name, arguments),
            "SR" => self.own_of_sr(name, arguments),
            "network" => self.own_of_network(name, arguments),
            "host" => self.own_of_host(name, arguments),
            "task" => self.own_of_task(caller, name, arguments),
            "message" => self.own_of_message(table, name, arguments),
            _ => Err(codes::not_implemented(&format!("{}.{name}", table.name))),
        }
    }

    fn own_of_vm(self: &Arc<Self>, running: &Running, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        if name == "create" {
            return self.create_vm(arguments);
        }
        let vm = arguments.reference(0)?;
        if let Some(advice) = self.advise(vm, name, arguments) {
            return advice;
        }
        match name {
            "start" => self.start(running, vm, Start { paused: arguments.truth(1), resumes: false }),
            "start_on" => {
                self.require_here(arguments, 1)?;
                self.start(running, vm, Start { paused: arguments.truth(2), resumes: false })
            }
            "resume" => self.start(running, vm, Start { paused: arguments.truth(1), resumes: true }),
            "resume_on" => {
                self.require_here(arguments, 1)?;
                self.start(running, vm, Start { paused: arguments.truth(2), resumes: true })
            }
            "suspend" => self.suspend(running, vm),
            "clean_shutdown" => self.clean_shutdown(running, vm),
            "hard_shutdown" => self.hard_shutdown(running, vm),
            "clean_reboot" => self.clean_reboot(running, vm),
            "hard_reboot" => self.at_once(running, vm, VmOperations::HardReboot, &Request::HardReboot),
            "pause" => self.at_once(running, vm, VmOperations::Pause, &Request::Pause),
            "unpause" => self.at_once(running, vm, VmOperations::Unpause, &Request::Unpause),
            "xvirt_upgrade_worker" => self.upgrade_worker(running, vm),
            "clone" => self.clone_vm(running, vm, &arguments.text(1)),
            "provision" => self.provision(vm),
            "destroy" => self.destroy_vm(running, vm),
            "set_is_default_template" => self.set_is_default_template(vm, arguments.truth(1)),
            _ => self.set_of_vm(vm, name, arguments),
        }
    }

    fn require_here(&self, arguments: &Arguments, index: usize) -> Result<(), Failure> {
        let host: Ref<crate::model::Host> = arguments.reference(index)?;
        if host == self.host { Ok(()) } else { Err(codes::handle_invalid("host", host)) }
    }
}

/// Which objects an expression means.
#[allow(clippy::type_complexity, reason = "what a filter of a list of records is")]
fn meant(
    table: &'static ClassTable,
    expression: &str,
) -> Result<impl Fn(&(uuid::Uuid, Value)) -> bool + use<>, Failure> {
    let query = Query::parse(table, expression).map_err(|what| {
        let parameters = [expression.to_owned(), what];
        Failure::new("INVALID_VALUE", parameters).with_remedy("write it as `field \"NAME\" = \"VALUE\"`, or `true`")
    })?;
    Ok(move |(uuid, record): &(uuid::Uuid, Value)| query.matches(&Ref::<()>::new(*uuid).to_string(), record))
}

/// The UUID of the object that a verb is about.
pub(crate) fn uuid_of(table: &ClassTable, arguments: &Arguments) -> Result<uuid::Uuid, Failure> {
    let text = arguments.text(0);
    let uuid = text.parse::<Ref<()>>().ok().and_then(|reference| reference.uuid());
    uuid.ok_or_else(|| codes::handle_invalid(table.name, text))
}
