//! Pings to a guest with the system's `ping`, which compares the answers with what it sent.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use xvirt_benches::Result;
use xvirt_core::net::MacAddress;

/// The payload in bytes, large for a frame but below nearly every MTU.
const SIZE: &str = "1400";
/// The timeout of an answer; it is long because there may be many more guests than CPUs.
const PATIENCE: &str = "120";

pub(crate) struct Ping(Child);

/// Adds a permanent neighbour entry for a guest. Otherwise the host would repeat ARP requests, and drop frames if a
/// guest that waits for a CPU does not answer within three seconds.
pub(crate) fn know(guest: Ipv4Addr, mac: MacAddress, interface: &str) -> Result<()> {
    let (guest, mac) = (guest.to_string(), mac.to_string());
    let arguments = ["neighbour", "replace", &guest, "lladdr", &mac, "dev", interface, "nud", "permanent"];
    let status = Command::new("ip").args(arguments).status();
    let status = status.map_err(|e| format!("cannot run ip ({e}); install iproute2, or use --no-network"))?;
    if status.success() { Ok(()) } else { Err(format!("ip {} failed", arguments.join(" ")).into()) }
}

/// The numbers of pings sent and answered correctly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pings {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Ping {
    /// Pings once per second for `time`.
    pub(crate) fn start(address: Ipv4Addr, time: Duration) -> Result<Self> {
        let count = time.as_secs().max(1).to_string();
        let mut command = Command::new("ping");
        command.args(["-q", "-n", "-s", SIZE, "-W", PATIENCE, "-c", &count, &address.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        Ok(Self(child.map_err(|e| format!("cannot run ping ({e}); install it, or use --no-network"))?))
    }

    /// Waits for the last answer.
    pub(crate) fn finish(self) -> Result<Pings> {
        let output = self.0.wait_with_output()?;
        parse(&String::from_utf8_lossy(&output.stdout))
    }
}

fn parse(output: &str) -> Result<Pings> {
    let numbers = output.lines().find(|line| line.contains(" packets transmitted")).map(|line| {
        let mut parts = line.split(", ").filter_map(|part| part.split_ascii_whitespace().next()?.parse().ok());
        (parts.next(), parts.next())
    });
    let harmed = output.matches("wrong data byte").count() as u64;
    match numbers {
        Some((Some(sent), Some(received))) => Ok(Pings { sent, received: u64::saturating_sub(received, harmed) }),
        _ => Err(format!("ping said '{output}'").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_garbled_is_lost() {
        let said = "wrong data byte #16 should be 0x10 but was 0x0\n\
                    5 packets transmitted, 4 received, 20% packet loss, time 4006ms\n";
        assert_eq!(parse(said).unwrap(), Pings { sent: 5, received: 3 });
        assert!(parse("ping: unknown host").is_err());
    }
}
