//! Namespaces, by what is no longer shared.

use std::fs;

use xvirt_worker::Wall;

use crate::child::{Outcome, attempt};

/// Whether a process is in this process's namespace.
fn shared(wall: Wall, name: &'static str) -> Outcome {
    let here = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    attempt(&[wall], move || {
        let there = fs::read_link(format!("/proc/thread-self/ns/{name}"))?;
        if there == here { Ok(()) } else { Err(std::io::Error::from_raw_os_error(libc::EXDEV)) }
    })
}

#[test]
fn nothing_is_shared_with_the_host() {
    for (wall, name) in [(Wall::Ipc, "ipc"), (Wall::Network, "net"), (Wall::HostName, "uts")] {
        match shared(wall, name) {
            Outcome::Lacking(reason) => println!("SKIPPED nothing_is_shared_with_the_host: {reason}"),
            outcome => assert_eq!(outcome, Outcome::Refused(libc::EXDEV), "{wall}"),
        }
        assert_eq!(shared(Wall::NoNewPrivileges, name), Outcome::Worked, "without {wall}");
    }
}

#[test]
fn the_root_is_empty_and_read_only() {
    let names = || fs::read_dir("/").map(|entries| entries.count());
    let look = || match names()? {
        0 => Err(std::io::Error::from_raw_os_error(libc::ENODATA)),
        _ => Ok(()),
    };
    assert_eq!(attempt(&[], look), Outcome::Worked);
    match attempt(&[Wall::Mounts], look) {
        Outcome::Lacking(reason) => return println!("SKIPPED the_root_is_empty_and_read_only: {reason}"),
        outcome => assert_eq!(outcome, Outcome::Refused(libc::ENODATA)),
    }
    assert_eq!(attempt(&[Wall::Mounts], || fs::write("/file", "")), Outcome::Refused(libc::EROFS));
    assert_eq!(attempt(&[Wall::Mounts], || fs::read_dir("/..").map(drop)), Outcome::Worked);
}
