//! The crash actions and limits of an appliance.

use serde::Serialize;

use super::document::Document;
use super::value::{Record, Value};
use crate::Result;

/// The unit of XenServer's limit for network interfaces, which applies to sent data.
const KIB: u64 = 1 << 10;
const ALGORITHM: &str = "ratelimit";
const RATE: &str = "kbps";

/// The action after a guest crash. XenServer may also write a dump, or rename the VM first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AfterCrash {
    /// The VM is halted.
    Destroy,
    /// The VM is started again.
    Restart,
    /// The VM is preserved for inspection.
    Preserve,
}

impl AfterCrash {
    fn text(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Restart => "restart",
            Self::Preserve => "preserve",
        }
    }
}

/// The action after a crash, if the VM object has one.
pub(crate) fn after_crash(vm: &Record) -> Option<AfterCrash> {
    let text = vm.text("actions_after_crash").to_ascii_lowercase();
    match text.trim_start_matches("coredump_and_") {
        "destroy" => Some(AfterCrash::Destroy),
        "restart" | "rename_restart" => Some(AfterCrash::Restart),
        "preserve" => Some(AfterCrash::Preserve),
        _ => None,
    }
}

/// The limit on sent bytes per second of a network interface; `None` if it has another kind of limit, or none.
pub(crate) fn transmit_limit(vif: &Record) -> Option<u64> {
    let rate: Option<u64> = vif.text_in("qos_algorithm_params", RATE).trim().parse().ok();
    let rate = rate.filter(|_| vif.text("qos_algorithm_type") == ALGORITHM);
    rate.and_then(|rate| rate.checked_mul(KIB)).filter(|rate| *rate > 0)
}

/// Whether a device has a limit that [`transmit_limit`] does not return.
pub(crate) fn has_other_limit(device: &Record) -> bool {
    !device.text("qos_algorithm_type").is_empty() && transmit_limit(device).is_none()
}

impl Document {
    /// Sets the action after a guest crash. An equivalent action that also writes a dump is kept.
    ///
    /// # Errors
    /// The document does not describe one VM.
    pub fn set_after_crash(&mut self, action: AfterCrash) -> Result<()> {
        let vm = &mut self.vm_mut()?.fields;
        if after_crash(vm) != Some(action) {
            vm.set("actions_after_crash", Value::text(action.text()));
        }
        Ok(())
    }

    /// Sets the limit on sent bytes per second of a network interface, rounded up to whole KiB. `None` removes it, but
    /// keeps other kinds of limits.
    pub fn set_transmit_limit(&mut self, vif: &str, bytes_per_second: Option<u64>) {
        let Some(vif) = self.object_mut("VIF", vif).map(|vif| &mut vif.fields) else { return };
        if transmit_limit(vif) == bytes_per_second {
            return;
        }
        let (algorithm, parameters) = match bytes_per_second {
            Some(rate) => (ALGORITHM, Value::map([(RATE, &*rate.div_ceil(KIB).to_string())])),
            None => ("", Value::map([])),
        };
        vif.set("qos_algorithm_type", Value::text(algorithm));
        vif.set("qos_algorithm_params", parameters);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Object;
    use super::*;

    fn record(fields: &[(&str, Value)]) -> Record {
        Record(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    #[test]
    fn crashes_end_as_xenserver_would_end_them() {
        for (text, expected) in [
            ("destroy", Some(AfterCrash::Destroy)),
            ("coredump_and_destroy", Some(AfterCrash::Destroy)),
            ("Restart", Some(AfterCrash::Restart)),
            ("coredump_and_restart", Some(AfterCrash::Restart)),
            ("rename_restart", Some(AfterCrash::Restart)),
            ("preserve", Some(AfterCrash::Preserve)),
            ("", None),
            ("explode", None),
        ] {
            assert_eq!(after_crash(&record(&[("actions_after_crash", Value::text(text))])), expected, "{text}");
        }
        for action in [AfterCrash::Destroy, AfterCrash::Restart, AfterCrash::Preserve] {
            let vm = record(&[("actions_after_crash", Value::text(action.text()))]);
            assert_eq!(after_crash(&vm), Some(action));
        }
    }

    #[test]
    fn limits_are_read_as_they_are_written_and_nonsense_is_none() {
        for rate in [None, Some(1), Some(1024), Some(u64::MAX)] {
            let mut document = Document::new_vm("vm");
            document.push(Object::new("VIF", "Ref:1", []));
            document.set_transmit_limit("Ref:1", rate);
            let read = transmit_limit(&document.find("VIF", "Ref:1").unwrap().fields);
            assert_eq!(read, rate.and_then(|rate: u64| rate.div_ceil(1024).checked_mul(1024)));
        }
        for (algorithm, rate) in [("ratelimit", "0"), ("ratelimit", "-5"), ("ratelimit", "fast"), ("other", "5")] {
            let parameters = Value::map([("kbps", rate)]);
            let vif = record(&[("qos_algorithm_type", Value::text(algorithm)), ("qos_algorithm_params", parameters)]);
            assert_eq!((transmit_limit(&vif), has_other_limit(&vif)), (None, true), "{algorithm} {rate}");
        }
    }
}
