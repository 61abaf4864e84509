//! Machines instantiated from one template, each with a seed that gives it an identity.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Instant;

use xvirt_core::config::{ByteSize, Disk, Nic, VmConfig};
use xvirt_core::host::Host;
use xvirt_core::net::MacAddress;
use xvirt_core::repository::Repository;
use xvirt_core::seed::{InterfaceAddress, Seed, SeedNic, User};
use xvirt_core::template::{Source, Template};

use crate::guest::{Guest, PATIENCE};
use crate::{HOST, needs, tap, without_mitigations};

/// A key of no real user: nobody has its private key.
const KEYS: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBERERERERERERERERERERERERERERERERERERERERER first key",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIi second key",
];

/// One of the machines.
struct Member {
    hostname: &'static str,
    user: &'static str,
    key: &'static str,
    address: InterfaceAddress,
}

impl Member {
    fn new(number: u8, hostname: &'static str, user: &'static str) -> Self {
        let address = InterfaceAddress::new(Ipv4Addr::new(10, 77, 0, 10 + number).into(), 24).unwrap();
        Self { hostname, user, key: KEYS[usize::from(number)], address }
    }

    fn seed(&self, mac: MacAddress) -> Seed {
        Seed::new(self.hostname)
            .user(User::new(self.user).sudo().group("operators").authorized_key(self.key))
            .root_authorized_key(self.key)
            .nic(SeedNic::static_address(mac, self.address).gateway(HOST))
            .command(["/bin/sh", "-c", "echo \"$0\" > /run/seeded", "it's “done”: {yes}"])
    }

    /// Boots a machine of the template, checks its identity, and returns the parts that must be unique.
    fn boot(&self, host: &Host, repository: &Repository, template: &Template) -> Vec<String> {
        let stored = repository.instantiate(template, self.hostname).unwrap();
        let mut config = stored.config();
        let mac = config.nics[0].mac.unwrap();
        let seed = stored.folder().join("seed");
        self.seed(mac).write(&seed).unwrap();
        let tap = tap(HOST);
        config.nics = vec![Nic::tap_descriptor(tap.as_fd().try_clone_to_owned().unwrap()).mac(mac)];
        let config = config.disk(Disk::raw(seed).read_only().serial("cidata"));

        let started = Instant::now();
        let mut guest = Guest::start(config.build(host).unwrap());
        guest.log_in();
        println!("{} has a shell after {:.1?}", self.hostname, started.elapsed());
        // Waits for the last of cloud-init's services, in case it still runs.
        guest.run("systemctl start cloud-final.service");
        println!("{} has its identity after {:.1?}", self.hostname, started.elapsed());
        self.check(&mut guest, mac);
        let unique =
            ["cat /etc/machine-id", "cat /etc/ssh/ssh_host_ed25519_key.pub", "cat /sys/class/net/eth0/address"]
                .map(|command| guest.run(command));
        guest.vm.clean_shutdown(PATIENCE).unwrap();
        println!("{} is down after {:.1?}", self.hostname, started.elapsed());
        unique.to_vec()
    }

    fn check(&self, guest: &mut Guest, mac: MacAddress) {
        let user = self.user;
        assert_eq!(guest.run("hostname"), self.hostname);
        assert_eq!(guest.run("getent hosts $(hostname) | cut -d ' ' -f 1"), "127.0.1.1");
        assert_eq!(guest.run(&format!("id -nG {user}")), format!("{user} operators"));
        assert_eq!(guest.run(&format!("cat ~{user}/.ssh/authorized_keys")), self.key);
        assert_eq!(guest.run("cat ~root/.ssh/authorized_keys"), self.key);
        assert_eq!(guest.run(&format!("su {user} -c 'sudo -n id -un'")), "root");
        assert_eq!(guest.run("cat /sys/class/net/eth0/address"), mac.to_string());
        let addresses = guest.run("ip -color=never -4 -o address show dev eth0");
        assert!(addresses.contains(&self.address.to_string()), "{addresses}");
        let route = guest.run("ip -color=never route show default");
        assert!(route.starts_with(&format!("default via {HOST} dev eth0")), "{route}");
        guest.run(&format!("ping -c 2 -W 20 {HOST}"));
        assert_eq!(guest.run("cat /run/seeded"), "it's “done”: {yes}");
        assert_eq!(guest.run("sshd -t && cat /etc/ssh/ssh_host_*.pub | wc -l"), "1");
        let result = guest.run("cat /run/cloud-init/result.json");
        let result: serde_json::Value = serde_json::from_str(&result).unwrap();
        assert_eq!(result["v1"]["errors"], serde_json::json!([]), "{result}");
    }
}

#[test]
fn two_machines_of_one_template_are_somebody_each() {
    let Some((host, [disk])) = needs(["XVIRT_DEBIAN_CLOUD_DISK"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let config = VmConfig::new("debian")
        .memory(ByteSize::mib(512))
        .boot(without_mitigations())
        .disk(Disk::raw(disk))
        .nic(Nic::new_tap());
    let template = repository.seal("debian", Source::Config(&config), &()).unwrap();
    let members = [Member::new(0, "web-1", "alice"), Member::new(1, "web-2", "bob")];
    let boot = |member: &Member| member.boot(&host, &repository, &template);
    let unique: Vec<String> = members.iter().flat_map(boot).collect();
    let different: HashSet<&String> = unique.iter().filter(|value| !value.is_empty()).collect();
    assert_eq!(different.len(), 6, "{unique:?}");
}
