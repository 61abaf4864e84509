//! Optional kernel features that make VMs faster or migratable, and why they may be unavailable.

use std::fmt;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::problem::HostProblem;
use super::root::HostRoot;
use super::syscall;

/// Whether an optional feature of the kernel can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Availability {
    /// A test succeeded.
    Ready,
    /// The administrator disabled it with a sysctl.
    Disabled,
    /// This process lacks the permission.
    Denied,
    /// The kernel does not support it.
    Absent,
    /// A test failed for another reason, which the problem names.
    Failed,
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Disabled => "disabled",
            Self::Denied => "denied",
            Self::Absent => "absent",
            Self::Failed => "failed",
        })
    }
}

pub(super) fn io_uring(root: &HostRoot, problems: &mut Vec<HostProblem>) -> Availability {
    judge_io_uring(root, syscall::try_io_uring(), problems)
}

fn judge_io_uring(root: &HostRoot, tried: Result<(), Errno>, problems: &mut Vec<HostProblem>) -> Availability {
    let Err(errno) = tried else { return Availability::Ready };
    let sysctl = root.number("proc/sys/kernel/io_uring_disabled").unwrap_or(0);
    let (availability, what, remedy) = match errno {
        Errno::PERM if sysctl >= 1 => (
            Availability::Disabled,
            format!("io_uring is switched off: kernel.io_uring_disabled is {sysctl}"),
            if sysctl == 1 {
                "sysctl -w kernel.io_uring_disabled=0, or add the user to the group kernel.io_uring_group names"
            } else {
                "sysctl -w kernel.io_uring_disabled=0"
            },
        ),
        Errno::PERM | Errno::ACCESS => (
            Availability::Denied,
            "io_uring is forbidden to this process".to_owned(),
            "in a container allow io_uring_setup, io_uring_enter and io_uring_register in its seccomp profile",
        ),
        Errno::NOSYS => (
            Availability::Absent,
            "the kernel has no io_uring".to_owned(),
            "use Linux 5.10 or newer with CONFIG_IO_URING, or allow it in the seccomp profile of the container",
        ),
        Errno::NOMEM => (
            Availability::Failed,
            "io_uring may not lock memory".to_owned(),
            "raise the limit: ulimit -l, or LimitMEMLOCK= of the service",
        ),
        Errno::MFILE | Errno::NFILE => (
            Availability::Failed,
            "io_uring gets no file descriptor".to_owned(),
            "raise the limit of open files: ulimit -n, or LimitNOFILE= of the service",
        ),
        other => (Availability::Failed, format!("io_uring does not work: {other}"), "see the kernel's log: dmesg"),
    };
    problems.push(HostProblem::new(what, "disks use threads, which are slower", remedy));
    availability
}

pub(super) fn userfaultfd(root: &HostRoot, problems: &mut Vec<HostProblem>) -> Availability {
    let tried = syscall::try_userfaultfd().or_else(|errno| match errno {
        Errno::PERM => syscall::try_userfaultfd_device(&root.path("dev/userfaultfd")).map_err(|_| errno),
        other => Err(other),
    });
    judge_userfaultfd(root, tried, problems)
}

fn judge_userfaultfd(root: &HostRoot, tried: Result<(), Errno>, problems: &mut Vec<HostProblem>) -> Availability {
    let Err(errno) = tried else { return Availability::Ready };
    let (availability, what, remedy) = match errno {
        Errno::PERM if root.exists("dev/userfaultfd") => (
            Availability::Denied,
            "userfaultfd is for privileged users only".to_owned(),
            "let the user open /dev/userfaultfd (chgrp kvm /dev/userfaultfd && chmod 660 /dev/userfaultfd), \
             or sysctl -w vm.unprivileged_userfaultfd=1",
        ),
        Errno::PERM | Errno::ACCESS => (
            Availability::Denied,
            "userfaultfd is for privileged users only".to_owned(),
            "sysctl -w vm.unprivileged_userfaultfd=1, or give the program CAP_SYS_PTRACE; \
             in a container also allow userfaultfd in its seccomp profile",
        ),
        Errno::NOSYS => (
            Availability::Absent,
            "the kernel has no userfaultfd".to_owned(),
            "use a kernel with CONFIG_USERFAULTFD, or allow it in the seccomp profile of the container",
        ),
        other => (Availability::Failed, format!("userfaultfd does not work: {other}"), "see the kernel's log: dmesg"),
    };
    let consequence =
        "memory cannot be loaded while the guest runs, and checkpoints of running VMs stop the guest for longer";
    problems.push(HostProblem::new(what, consequence, remedy));
    availability
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, HostRoot) {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let root = HostRoot::new(folder.path());
        (folder, root)
    }

    fn io_uring(sysctl: &str, errno: Errno) -> (Availability, String) {
        let (_folder, root) = host(&[("proc/sys/kernel/io_uring_disabled", sysctl)]);
        let mut problems = Vec::new();
        let availability = judge_io_uring(&root, Err(errno), &mut problems);
        (availability, problems.pop().unwrap().to_string())
    }

    #[test]
    fn each_way_to_lack_io_uring_has_its_remedy() {
        assert_eq!(
            io_uring("2\n", Errno::PERM),
            (
                Availability::Disabled,
                "io_uring is switched off: kernel.io_uring_disabled is 2: disks use threads, which are slower; \
                 sysctl -w kernel.io_uring_disabled=0"
                    .into()
            )
        );
        for (sysctl, errno, availability, part) in [
            ("1\n", Errno::PERM, Availability::Disabled, "the group kernel.io_uring_group names"),
            ("0\n", Errno::PERM, Availability::Denied, "seccomp profile"),
            ("0\n", Errno::NOSYS, Availability::Absent, "CONFIG_IO_URING"),
            ("0\n", Errno::NOMEM, Availability::Failed, "ulimit -l"),
            ("0\n", Errno::MFILE, Availability::Failed, "ulimit -n"),
            ("0\n", Errno::INVAL, Availability::Failed, "Invalid argument"),
        ] {
            let (found, text) = io_uring(sysctl, errno);
            assert_eq!(found, availability);
            assert!(text.contains(part), "{text}");
        }
    }

    fn userfaultfd(files: &[(&str, &str)], errno: Errno) -> (Availability, String) {
        let (_folder, root) = host(files);
        let mut problems = Vec::new();
        let availability = judge_userfaultfd(&root, Err(errno), &mut problems);
        (availability, problems.pop().unwrap().to_string())
    }

    #[test]
    fn each_way_to_lack_userfaultfd_has_its_remedy() {
        assert_eq!(
            userfaultfd(&[], Errno::PERM),
            (
                Availability::Denied,
                "userfaultfd is for privileged users only: memory cannot be loaded while the guest runs, and checkpoints of \
                 running VMs stop the guest for longer; \
                 sysctl -w vm.unprivileged_userfaultfd=1, or give the program CAP_SYS_PTRACE; \
                 in a container also allow userfaultfd in its seccomp profile"
                    .into()
            )
        );
        let (found, text) = userfaultfd(&[("dev/userfaultfd", "")], Errno::PERM);
        assert_eq!(found, Availability::Denied);
        assert!(text.contains("chmod 660 /dev/userfaultfd"), "{text}");
        assert_eq!(userfaultfd(&[], Errno::NOSYS).0, Availability::Absent);
        assert_eq!(userfaultfd(&[], Errno::NOMEM).0, Availability::Failed);
    }

    #[test]
    fn what_works_is_no_problem() {
        let (_folder, root) = host(&[]);
        let mut problems = Vec::new();
        assert_eq!(judge_io_uring(&root, Ok(()), &mut problems), Availability::Ready);
        assert_eq!(judge_userfaultfd(&root, Ok(()), &mut problems), Availability::Ready);
        assert!(problems.is_empty());
    }
}
