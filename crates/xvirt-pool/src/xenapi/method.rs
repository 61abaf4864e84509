//! What a name of a verb means to the server.

use std::borrow::Cow;

use crate::model::{CLASSES, Call, Type, class};

/// How a verb is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It reads records.
    Query,
    /// It changes something, and is over soon.
    Change,
    /// It may take long.
    Wait,
}

/// A verb that a client calls.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Method<'a> {
    /// Its name, such as `VM.start` or `Async.VM.start`.
    pub(crate) verb: Cow<'a, str>,
    /// Whether its first parameter is a session.
    pub(crate) session: bool,
    pub(crate) kind: Kind,
}

const ASYNC: &str = "Async.";
/// How verbs begin that set one field.
const SETTERS: [&str; 3] = ["set_", "add_", "remove_"];

/// Finds out what a name means. `Class_verb` is another way to write `Class.verb`.
pub(crate) fn method(name: &str) -> Method<'_> {
    let (is_async, plain) = name.strip_prefix(ASYNC).map_or((false, name), |rest| (true, rest));
    let Some((class_name, verb, call)) = find(plain) else {
        // Whoever answers verbs knows more of them than the model: `system.listMethods`.
        let session = !plain.starts_with("system.");
        return Method { verb: Cow::Borrowed(name), session, kind: Kind::Change };
    };
    let verb = match plain.contains('.') {
        true => Cow::Borrowed(name),
        false => Cow::Owned(format!("{}{class_name}.{verb}", if is_async { ASYNC } else { "" })),
    };
    let session = !matches!(call, Call::Own(own) if !own.session);
    let kind = match call {
        _ if is_async => Kind::Change,
        Call::Own(_) if matches!(class_name, "task" | "session") => Kind::Change,
        Call::Own(own) if SETTERS.iter().any(|prefix| own.name.starts_with(prefix)) => Kind::Change,
        Call::Own(_) => Kind::Wait,
        // Limits of devices are put into force by the worker of the VM, which may hang.
        Call::Set(_) | Call::Add(_) | Call::Remove(_) | Call::AddTo(_) | Call::RemoveFrom(_)
            if matches!(class_name, "VBD" | "VIF") =>
        {
            Kind::Wait
        }
        Call::Set(_) | Call::Add(_) | Call::Remove(_) | Call::AddTo(_) | Call::RemoveFrom(_) => Kind::Change,
        _ => Kind::Query,
    };
    Method { verb, session, kind }
}

/// Whether a verb is a login, which has no session yet.
pub(crate) fn is_login(verb: &str) -> bool {
    matches!(verb, "session.login_with_password" | "session.slave_local_login_with_password")
}

/// The type of the result of a verb, if it is known.
pub(crate) fn result(verb: &str) -> Option<Type> {
    if verb.starts_with(ASYNC) {
        return Some(Type::Ref("task"));
    }
    let (class_name, verb) = verb.split_once('.')?;
    let class = class(class_name)?;
    Some(class.call(verb)?.result(class))
}

fn find(name: &str) -> Option<(&'static str, &str, Call)> {
    if let Some((class_name, verb)) = name.split_once('.') {
        let class = class(class_name)?;
        return Some((class.name, verb, class.call(verb)?));
    }
    let of_class = |class: &&'static crate::model::ClassTable| {
        let verb = name.strip_prefix(class.name)?.strip_prefix('_')?;
        Some((class.name, verb, class.call(verb)?))
    };
    // Of `VM` and `VM_metrics`, the longer one is meant.
    CLASSES.iter().filter_map(of_class).max_by_key(|(class_name, ..)| class_name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whether_a_session_precedes_the_parameters_and_how_long_it_may_take() {
        for (name, verb, session, kind) in [
            ("VM.get_record", "VM.get_record", true, Kind::Query),
            ("VM.get_all_records_where", "VM.get_all_records_where", true, Kind::Query),
            ("VM.set_name_label", "VM.set_name_label", true, Kind::Change),
            ("VM.add_to_other_config", "VM.add_to_other_config", true, Kind::Change),
            ("VBD.set_qos_algorithm_type", "VBD.set_qos_algorithm_type", true, Kind::Wait),
            ("VM.start", "VM.start", true, Kind::Wait),
            ("Async.VM.start", "Async.VM.start", true, Kind::Change),
            ("event.from", "event.from", true, Kind::Wait),
            ("task.cancel", "task.cancel", true, Kind::Change),
            ("session.login_with_password", "session.login_with_password", false, Kind::Change),
            ("session.logout", "session.logout", true, Kind::Change),
            ("system.listMethods", "system.listMethods", false, Kind::Change),
            ("VM.fly", "VM.fly", true, Kind::Change),
        ] {
            assert_eq!(method(name), Method { verb: verb.into(), session, kind }, "{name}");
        }
    }

    #[test]
    fn an_underscore_between_class_and_verb_is_understood() {
        for (name, verb) in [
            ("task_create", "task.create"),
            ("VM_metrics_get_record", "VM_metrics.get_record"),
            ("VM_get_record", "VM.get_record"),
            ("Async.VM_start", "Async.VM.start"),
            ("nothing_like_it", "nothing_like_it"),
            ("", ""),
        ] {
            assert_eq!(method(name).verb, verb);
        }
    }
}
