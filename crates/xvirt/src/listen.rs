//! The ports of XenAPI: opening those that the options name.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use xvirt_pool::HostOptions;
use xvirt_pool::xenapi::{Certificate, Listeners};

use crate::arguments::HostRun;
use crate::port::Port;

/// Opens the ports that the options name. One that cannot be opened is a warning: the service and its VMs are there
/// nevertheless, and root reaches them by the socket.
pub fn open(listeners: &mut Listeners, options: &HostRun) {
    for port in &options.http {
        say(*port, "HTTP", port.open(|address| listeners.http(address)));
    }
    if options.https.is_empty() {
        return;
    }
    let certificate =
        match Certificate::open(HostOptions::new(&options.root, &options.run).certificate(), &names(&options.https)) {
            Ok(certificate) => Arc::new(certificate),
            Err(error) => {
                tracing::warn!(%error, "XenAPI is not served by HTTPS");
                return;
            }
        };
    for port in &options.https {
        say(*port, "HTTPS", port.open(|address| listeners.https(address, Arc::clone(&certificate))));
    }
}

fn say(port: Port, protocol: &str, opened: xvirt_pool::Result<SocketAddr>) {
    match opened {
        Ok(address) => tracing::info!(%address, protocol, "XenAPI is served"),
        Err(error) => tracing::warn!(%error, %port, protocol, "XenAPI is not served on a port"),
    }
}

/// What a certificate of this host says that it is.
fn names(ports: &[Port]) -> Vec<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let addresses = ports.iter().filter_map(|port| port.address()).filter(|address| !address.is_unspecified());
    let mut names: Vec<String> = [name, "localhost".to_owned()].into_iter().filter(|name| is_host_name(name)).collect();
    names.extend(addresses.chain([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]).map(|one| one.to_string()));
    names.dedup();
    names
}

fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '.'))
}
