//! Network interfaces behind a `passt` that the VM starts and ends.

use std::net::{Ipv4Addr, UdpSocket};

use rustix::process::{Pid, Signal, kill_process};
use xvirt_core::ErrorKind;
use xvirt_core::config::{Nic, PortForward, UserNetwork};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::vm::{Event, PowerState};
use xvirt_testing::stand_in::{StandIn, exists, wait_until};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

/// Receives frames for as long as the VM exists, as `passt` does.
const CARRY: &str = "exec cat <&3 >/dev/null";

fn behind(passt: &StandIn) -> Nic {
    Nic::user_network(UserNetwork::new().program(passt.program()))
}

#[test]
fn a_passt_that_dies_takes_the_link_down_until_it_is_back_and_ends_with_the_vm() {
    let host = host!();
    let passt = StandIn::new(CARRY);
    let line = CommandLine::new([Mode::Net, Mode::Echo]);
    let mut guest = Guest::start(config(&line).nic(behind(&passt)), &host).unwrap();
    guest.expect_event(&Event::Started);
    assert!(guest.expect("echo: ready").contains("link=up"));
    let [status] = &guest.vm.nics()[..] else { panic!("not one NIC") };
    assert_eq!((status.interface.as_str(), status.link_up), ("passt", true));

    kill_process(Pid::from_raw(passt.started(1)[0] as i32).unwrap(), Signal::KILL).unwrap();
    guest.expect_event(&Event::NicDisconnected { nic: 0 });
    guest.expect("net 0: link=down");
    guest.expect_event(&Event::NicConnected { nic: 0 });
    guest.expect("net 0: link=up");
    assert!(guest.vm.nics()[0].link_up);

    guest.vm.hard_shutdown().unwrap();
    assert_eq!(passt.started(2).iter().filter(|process| exists(**process)).count(), 0);
    guest.vm.start().unwrap();
    let third = passt.started(3)[2];
    assert!(exists(third));
    drop(guest);
    assert!(!exists(third) && passt.started(3).len() == 3);
}

#[test]
fn a_passt_comes_and_goes_with_the_interface() {
    let host = host!();
    let passt = StandIn::new(CARRY);
    let line = CommandLine::new([Mode::HotPlug, Mode::Echo]);
    let mut guest = Guest::start(config(&line), &host).unwrap();
    guest.expect("echo: ready");
    assert_eq!(guest.vm.plug_nic(behind(&passt)).unwrap(), 0);
    guest.expect("net 0: sent");
    let process = passt.started(1)[0];
    assert!(exists(process));
    guest.vm.unplug_nic(0, PATIENCE).unwrap();
    assert!(!exists(process), "it is unplugged");
}

#[test]
fn a_passt_that_refuses_fails_the_start_and_leaves_nothing() {
    let host = host!();
    let good = StandIn::new(CARRY);
    let bad = StandIn::new("echo \"Failed to bind any port for '-t 2222:22'\" >&2; exit 1");
    let line = CommandLine::new([Mode::Hello]);
    let vm = config(&line).nic(behind(&good)).nic(behind(&bad)).build(&host).unwrap();
    let error = vm.start().unwrap_err();
    assert_eq!((error.kind(), vm.power_state()), (ErrorKind::Busy, PowerState::Halted));
    assert!(error.to_string().contains("'-t 2222:22'; forward another port of the host"), "{error}");
    assert!(!exists(good.started(1)[0]) && !exists(bad.started(1)[0]));
}

#[test]
fn what_comes_to_a_forwarded_port_reaches_the_guest() {
    let host = host!();
    // Free until another program binds it; the kernel is unlikely to assign it again soon.
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let network = UserNetwork::new()
        .address("10.9.0.15/24".parse().unwrap())
        .gateway(Ipv4Addr::new(10, 9, 0, 2))
        .forward(PortForward::udp(port, 9).host_address(Ipv4Addr::LOCALHOST));
    let line = CommandLine::new([Mode::Net, Mode::Echo]);
    let mut guest = match Guest::start(config(&line).nic(Nic::user_network(network)), &host) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::HostUnsupported) => {
            println!("SKIPPED what_comes_to_a_forwarded_port_reaches_the_guest: {error}");
            return;
        }
        started => started.unwrap(),
    };
    guest.expect("echo: ready");
    let received = |guest: &Guest| guest.vm.statistics().nics[&0].received.frames;
    assert_eq!(received(&guest), 0);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    wait_until("the guest receives", || {
        // A datagram without a receiver is lost, and some calls report the loss of the previous one.
        let _ = socket.send_to(b"xvirt", (Ipv4Addr::LOCALHOST, port));
        received(&guest) > 0
    });
    guest.expect("net 0: frames=");
}
