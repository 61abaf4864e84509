//! The virtio console of a guest whose driver supports multiple ports.

use xvirt_core::demo::{self, CommandLine, Mode};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

#[test]
fn the_console_works_beside_other_ports_across_pauses_and_reboots() {
    let host = host!();
    let line = CommandLine::new([Mode::Agent, Mode::Echo]);
    let guest = Guest::start(config(&line), &host).unwrap();
    let (vm, mut console) = (&guest.vm, guest.vm.virtio_console().reader());
    for _ in 0..2 {
        let text = console.wait_for("agent: open", PATIENCE).unwrap();
        assert!(text.contains(demo::STARTED), "what was printed before the console was there is missing: {text}");
        vm.virtio_console().write_all(b"ping\n").unwrap();
        console.wait_for("pong", PATIENCE).unwrap();
        vm.pause().unwrap();
        vm.virtio_console().write_all(b"status\n").unwrap();
        vm.unpause().unwrap();
        console.wait_for("status: cpus=1", PATIENCE).unwrap();
        vm.hard_reboot().unwrap();
    }
}
