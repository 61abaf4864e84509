//! What an appliance and a configuration both say of crashes and of limits.

use super::ova::{Record, Value};
use crate::config::{ByteSize, CrashAction, RateLimit};

/// The unit of XenServer's limits of network interfaces, which hold for what the guest sends.
const KIB: u64 = 1 << 10;
const ALGORITHM: &str = "ratelimit";
const RATE: &str = "kbps";

/// What is done after a crash, if the appliance says so. XenServer may also write a dump, or give another name first.
pub(super) fn crash_action(vm: &Record) -> Option<CrashAction> {
    let text = vm.text("actions_after_crash").to_ascii_lowercase();
    match text.trim_start_matches("coredump_and_") {
        "destroy" => Some(CrashAction::Halt),
        "restart" | "rename_restart" => Some(CrashAction::Restart),
        "preserve" => Some(CrashAction::Preserve),
        _ => None,
    }
}

/// As [`crash_action`] reads it.
pub(super) fn crash_text(action: CrashAction) -> &'static str {
    match action {
        CrashAction::Halt => "destroy",
        CrashAction::Restart => "restart",
        CrashAction::Preserve => "preserve",
    }
}

/// The limit of what a guest sends through this network interface; none where it has another one, or none.
pub(super) fn transmit_limit(vif: &Record) -> RateLimit {
    let rate = vif.text_in("qos_algorithm_params", RATE).trim().parse().ok();
    let rate = rate.filter(|_| vif.text("qos_algorithm_type") == ALGORITHM);
    match rate.and_then(|rate: u64| rate.checked_mul(KIB)).filter(|rate| *rate > 0) {
        Some(rate) => RateLimit::none().bytes_per_second(ByteSize::new(rate)),
        None => RateLimit::none(),
    }
}

/// As [`transmit_limit`] reads them; what else a limit says has no place there.
pub(super) fn transmit_fields(limit: &RateLimit) -> [(&'static str, Value); 2] {
    let (algorithm, parameters) = match limit.bytes_per_second {
        Some(rate) => (ALGORITHM, Value::map([(RATE, &*rate.bytes().div_ceil(KIB).to_string())])),
        None => ("", Value::map([])),
    };
    [("qos_algorithm_type", Value::text(algorithm)), ("qos_algorithm_params", parameters)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[(&str, Value)]) -> Record {
        Record(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    #[test]
    fn crashes_end_as_xenserver_would_end_them() {
        for (text, expected) in [
            ("destroy", Some(CrashAction::Halt)),
            ("coredump_and_destroy", Some(CrashAction::Halt)),
            ("Restart", Some(CrashAction::Restart)),
            ("coredump_and_restart", Some(CrashAction::Restart)),
            ("rename_restart", Some(CrashAction::Restart)),
            ("preserve", Some(CrashAction::Preserve)),
            ("", None),
            ("explode", None),
        ] {
            assert_eq!(crash_action(&record(&[("actions_after_crash", Value::text(text))])), expected, "{text}");
        }
        for action in [CrashAction::Halt, CrashAction::Restart, CrashAction::Preserve] {
            let vm = record(&[("actions_after_crash", Value::text(crash_text(action)))]);
            assert_eq!(crash_action(&vm), Some(action));
        }
    }

    #[test]
    fn limits_are_read_as_they_are_written_and_nonsense_is_none() {
        for rate in [None, Some(1), Some(1024), Some(u64::MAX)] {
            let limit = RateLimit { bytes_per_second: rate.map(ByteSize::new), ..RateLimit::none() };
            let read = transmit_limit(&record(&transmit_fields(&limit))).bytes_per_second;
            assert_eq!(read.map(ByteSize::bytes), rate.and_then(|rate| rate.div_ceil(1024).checked_mul(1024)));
        }
        for (algorithm, rate) in [("ratelimit", "0"), ("ratelimit", "-5"), ("ratelimit", "fast"), ("other", "5")] {
            let parameters = Value::map([("kbps", rate)]);
            let vif = [("qos_algorithm_type", Value::text(algorithm)), ("qos_algorithm_params", parameters)];
            assert_eq!(transmit_limit(&record(&vif)), RateLimit::none(), "{algorithm} {rate}");
        }
    }
}
