//! Failures by XenAPI's codes, and those that other errors become.

use std::fmt::Display;

use super::Failure;
use crate::model::ValueError;
use crate::{Error, ErrorKind};

/// There is no such object.
pub(crate) fn handle_invalid(class: &str, reference: impl Display) -> Failure {
    Failure::new("HANDLE_INVALID", [class.to_owned(), reference.to_string()])
        .with_remedy("list the objects of the class again: it may have been destroyed")
}

/// A value is not one of its type, or not a possible one.
pub(crate) fn invalid_value(field: &str, value: impl Display, remedy: impl Into<String>) -> Failure {
    Failure::new("INVALID_VALUE", [field.to_owned(), value.to_string()]).with_remedy(remedy)
}

/// xvirt does not do this.
pub(crate) fn not_supported(field: &str, value: impl Display, reason: &str) -> Failure {
    Failure::new("VALUE_NOT_SUPPORTED", [field.to_owned(), value.to_string(), reason.to_owned()])
}

/// The verb exists, but not here.
pub(crate) fn not_implemented(verb: &str) -> Failure {
    Failure::new("NOT_IMPLEMENTED", [verb]).with_remedy("use another verb: xvirt does not have this one")
}

/// The host failed at something.
pub(crate) fn internal(what: impl Display) -> Failure {
    Failure::new("INTERNAL_ERROR", [what.to_string()])
}

/// The verb cannot be carried out on this object now.
pub(crate) fn not_allowed(reason: impl Display, remedy: impl Into<String>) -> Failure {
    Failure::new("OPERATION_NOT_ALLOWED", [reason.to_string()]).with_remedy(remedy)
}

/// Something else is being done with the object, by this task.
pub(crate) fn other_operation(class: &str, of: impl Display, operation: impl Display, task: &str) -> Failure {
    let parameters = [class.to_owned(), of.to_string(), operation.to_string(), task.to_owned()];
    Failure::new("OTHER_OPERATION_IN_PROGRESS", parameters).with_remedy("wait for that task to end")
}

/// The VM has ended before a verb could ask its worker.
pub(crate) fn just_ended() -> Failure {
    not_allowed("the VM has just ended", "start it again")
}

impl From<ValueError> for Failure {
    fn from(error: ValueError) -> Self {
        Self::new(error.code(), error.parameters()).with_remedy(error.remedy())
    }
}

/// An error of the state store.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull => Self::new("OUT_OF_SPACE", [format!("the state store: {error}")])
                .with_remedy("make room on its file system; running VMs are not affected"),
            _ => internal(format!("the state store failed: {error}"))
                .with_remedy("see the log of the service; running VMs are not affected"),
        }
    }
}

/// An error of the core.
pub(crate) fn of_core(error: &xvirt_core::Error) -> Failure {
    of_kind(error.kind().name(), error.message(), error.cause().map(ToString::to_string), error.remedy())
}

/// An error of a worker, or in talking to it.
pub(crate) fn of_worker(error: &xvirt_worker::Error) -> Failure {
    of_kind(error.kind(), error.message(), None, error.remedy())
}

fn of_kind(kind: &str, message: &str, cause: Option<String>, remedy: Option<&str>) -> Failure {
    let what = cause.map_or_else(|| message.to_owned(), |cause| format!("{message}: {cause}"));
    let failure = match kind {
        "no_space" => Failure::new("OUT_OF_SPACE", [what]),
        "invalid_config" | "invalid_state" => Failure::new("OPERATION_NOT_ALLOWED", [what]),
        "cancelled" => Failure::new("TASK_CANCELLED", [what]),
        _ => Failure::new("INTERNAL_ERROR", [what]),
    };
    match remedy {
        Some(remedy) => failure.with_remedy(remedy),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use xvirt_core::ErrorKind;

    use super::of_kind;

    #[test]
    fn kinds_of_the_core_have_their_codes() {
        for (kind, code) in [
            (ErrorKind::NoSpace, "OUT_OF_SPACE"),
            (ErrorKind::InvalidConfig, "OPERATION_NOT_ALLOWED"),
            (ErrorKind::InvalidState, "OPERATION_NOT_ALLOWED"),
            (ErrorKind::Cancelled, "TASK_CANCELLED"),
            (ErrorKind::Io, "INTERNAL_ERROR"),
        ] {
            let failure = of_kind(kind.name(), "cannot write", Some("cause".to_owned()), Some("make room"));
            assert_eq!(failure.code, code);
            assert_eq!(failure.parameters, ["cannot write: cause", "make room"]);
        }
    }
}
