use std::path::{Path, PathBuf};

use super::cpu::CpuGroup;
use super::hierarchy::{Home, Version, find};
use crate::ErrorKind;
use crate::config::CpuLimit;

const HYBRID: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
const UNIFIED: &str = "29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

fn folder(mounts: &str, groups: &str, has_cpu: bool) -> (Version, PathBuf) {
    let Home { version, folder } = find(mounts, groups, &|_| has_cpu).unwrap();
    (version, folder)
}

#[test]
fn the_hierarchy_with_the_controller_is_found() {
    let groups = "4:cpu,cpuacct:/a/b\n3:cpuset:/c\n0::/user.slice/x.scope\n";
    assert_eq!(folder(HYBRID, groups, false), (Version::One, "/sys/fs/cgroup/cpu,cpuacct/a/b".into()));
    assert_eq!(folder(UNIFIED, groups, true), (Version::Two, "/sys/fs/cgroup/user.slice/x.scope".into()));
    let contained = "29 22 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    assert_eq!(folder(contained, "0::/docker/1/inner\n", true).1, Path::new("/sys/fs/cgroup/inner"));
}

#[test]
fn what_is_missing_is_said() {
    let error = find(UNIFIED, "0::/a.scope\n", &|_| false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnsupported);
    assert!(error.to_string().contains("/sys/fs/cgroup/a.scope has no CPU controller; "), "{error}");
    assert!(error.to_string().contains("Delegate=cpu"), "{error}");
    let error = find("", "0::/\n", &|_| true).unwrap_err();
    assert!(error.to_string().contains("mount -t cgroup2"), "{error}");
}

/// A folder with the files of a control group.
fn pretended(version: Version) -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cgroup.subtree_control"), "memory\n").unwrap();
    let home = Home { version, folder: folder.path().into() };
    (folder, home)
}

fn content(home: &Home, file: &str) -> String {
    std::fs::read_to_string(home.folder.join("vm").join(file)).unwrap()
}

#[test]
fn both_versions_are_told_the_same_in_their_own_words() {
    let (_keep, home) = pretended(Version::Two);
    let group = CpuGroup::below(&home, "vm", CpuLimit::none().weight(200).cap(150)).unwrap();
    group.add_thread(7).unwrap();
    assert_eq!(std::fs::read_to_string(home.folder.join("cgroup.subtree_control")).unwrap(), "+cpu");
    let told = ["cgroup.type", "cpu.weight", "cpu.max", "cgroup.threads"].map(|file| content(&home, file));
    assert_eq!(told, ["threaded", "200", "150000 100000", "7"]);
    group.set(CpuLimit::none()).unwrap();
    assert_eq!([content(&home, "cpu.weight"), content(&home, "cpu.max")], ["100", "max 100000"]);
    assert_eq!(group.limit().unwrap(), CpuLimit::none().weight(100));

    let (_keep, home) = pretended(Version::One);
    let group = CpuGroup::below(&home, "vm", CpuLimit::none().weight(200).cap(1)).unwrap();
    group.add_thread(7).unwrap();
    let told = ["cpu.shares", "cpu.cfs_quota_us", "tasks"].map(|file| content(&home, file));
    assert_eq!(told, ["2048", "1000", "7"]);
    group.set(CpuLimit::none().cap(0)).unwrap();
    assert_eq!(content(&home, "cpu.cfs_quota_us"), "-1");
    for weight in [1, 2, 33, 100, 256, 9999, 10_000] {
        let limit = CpuLimit::none().weight(weight).cap(weight);
        group.set(limit).unwrap();
        assert_eq!(group.limit().unwrap(), limit);
    }
}

#[test]
fn no_right_to_make_a_group_is_an_error_with_its_remedy() {
    let home = Home { version: Version::One, folder: "/proc/self".into() };
    let error = CpuGroup::below(&home, "vm", CpuLimit::none()).unwrap_err();
    assert!(error.to_string().starts_with("cannot create the control group /proc/self/vm: "), "{error}");
    let missing = Home { version: Version::Two, folder: "/nowhere".into() };
    assert_eq!(CpuGroup::below(&missing, "vm", CpuLimit::none()).unwrap_err().kind(), ErrorKind::NotFound);
}
