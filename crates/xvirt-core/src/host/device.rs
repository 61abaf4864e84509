//! A `/dev/kvm` that another process has opened.

use kvm_ioctls::Kvm;
use rustix::fs::FileType;

use super::syscall;
use crate::Result;
use crate::descriptor::Descriptor;
use crate::named_file::describe;

/// Uses an open `/dev/kvm`.
///
/// # Errors
/// `InvalidConfig` if the descriptor is of anything else.
pub(crate) fn open_kvm(device: &Descriptor) -> Result<Kvm> {
    let refused = |why: &str| {
        device.unfit("/dev/kvm", why).with_remedy("give a descriptor of /dev/kvm, open for reading and writing")
    };
    let kind = device.kind("/dev/kvm")?;
    // A character device first, because other devices may have a call of the same number.
    if kind != FileType::CharacterDevice {
        return Err(refused(&format!("it is {}", describe(kind))));
    }
    let kvm = syscall::kvm_of(device.duplicate()?);
    if kvm.get_api_version() < 0 {
        return Err(refused("it is another device"));
    }
    Ok(kvm)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use crate::ErrorKind;
    use crate::host::{Host, KvmStatus};

    #[test]
    fn what_is_not_kvm_is_refused() {
        for (path, why) in [("/dev/null", "it is another device"), ("/", "it is a directory")] {
            let error = Host::probe().unwrap().with_kvm(File::open(path).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            let text = format!("as /dev/kvm: {why}; give a descriptor of /dev/kvm, open for reading and writing");
            assert!(error.to_string().ends_with(&text), "{error}");
        }
    }

    #[test]
    fn a_host_that_could_not_open_kvm_has_it_through_a_descriptor() {
        let Ok(device) = File::options().read(true).write(true).open("/dev/kvm") else {
            println!("SKIPPED: this host has no KVM");
            return;
        };
        let probed = Host::probe().unwrap();
        let mut report = serde_json::to_value(&probed).unwrap();
        report["kvm"] = serde_json::to_value(KvmStatus::Denied).unwrap();
        let problems = report["problems"].as_array_mut().unwrap();
        if probed.kvm() != (&KvmStatus::Ready { capabilities: probed.kvm().capabilities().unwrap().clone() }) {
            problems.remove(0);
        }
        problems.insert(0, serde_json::json!({"what": "denied", "consequence": "no VM can start", "remedy": "ask"}));
        let denied: Host = serde_json::from_value(report).unwrap();
        assert_eq!(denied.require_kvm().unwrap_err().kind(), ErrorKind::KvmDenied);
        let given = denied.with_kvm(device).unwrap();
        given.require_kvm().unwrap();
        assert_eq!((given.kvm(), given.problems()), (probed.kvm(), probed.problems()));
    }
}
