//! What Debian's cloud-init makes of a seed: `scripts/support/peers` unpacks it, and `XVIRT_PEERS` names the folder.

use std::net::Ipv4Addr;

use super::*;

/// The renderers, each with a distribution that uses it.
const RENDERERS: [(&str, &str); 5] = [
    ("eni", "debian"),
    ("networkd", "debian"),
    ("network-manager", "fedora"),
    ("sysconfig", "rhel"),
    ("netplan", "ubuntu"),
];

/// What a command of cloud-init prints; `None`, with a message, if there is none.
fn cloud_init(arguments: &[&str]) -> Option<String> {
    let peers = std::env::var_os("XVIRT_PEERS").map(|folder| Path::new(&folder).join("cloud-init/run"));
    let program = peers.filter(|program| program.exists()).unwrap_or_else(|| "cloud-init".into());
    tool(text(&program), arguments)
}

/// All that a renderer writes about these NICs, without comments and indentation.
fn rendered(renderer: &str, distribution: &str, nics: &[SeedNic]) -> Option<String> {
    let folder = scratch();
    let (config, out) = (folder.path().join("network-config"), folder.path().join("out"));
    fs::create_dir(&out).unwrap();
    fs::write(&config, network::network_config(nics).unwrap()).unwrap();
    let places = ["-p", text(&config), "-k", "yaml", "-d", text(&out)];
    cloud_init(&[["devel", "net-convert"].as_slice(), &places, &["-D", distribution, "-O", renderer]].concat())?;
    let mut files = Vec::new();
    collect(&out, &mut files);
    files.sort();
    let lines = files.iter().flat_map(|file| file.lines()).map(str::trim);
    Some(lines.filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| format!("{line}\n")).collect())
}

fn collect(folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(fs::read_to_string(path).unwrap()) }
    }
}

/// Checks that each renderer writes these lines, by its name; those that begin with `!` must not be there.
fn check(nics: &[SeedNic], expected: [(&str, &[&str]); 5]) {
    for ((renderer, distribution), (name, lines)) in RENDERERS.into_iter().zip(expected) {
        assert_eq!(renderer, name);
        let Some(written) = rendered(renderer, distribution, nics) else { return };
        for line in lines {
            let (wanted, line) = line.strip_prefix('!').map_or((true, *line), |line| (false, line));
            assert_eq!(written.contains(line), wanted, "{line:?} of {renderer} is wrong:\n{written}");
        }
    }
}

#[test]
fn cloud_init_finds_no_fault_in_user_data() {
    let folder = scratch();
    let file = folder.path().join("user-data");
    for seed in [full(), Seed::new("a")] {
        fs::write(&file, render::user_data(&seed).unwrap()).unwrap();
        let Some(said) = cloud_init(&["schema", "--config-file", text(&file)]) else { return };
        let said = said.to_lowercase();
        assert!(said.contains("valid") && !said.contains("invalid") && !said.contains("deprecat"), "{said}");
    }
}

fn ipv6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

#[test]
fn every_renderer_gets_both_default_routes() {
    // The first address has the other IP version than the gateway in question, once for each.
    for addresses in [["192.0.2.10/24", "2001:db8::10/64"], ["2001:db8::10/64", "192.0.2.10/24"]] {
        let [first, second] = addresses.map(|address| address.parse().unwrap());
        let nic = SeedNic::static_address(mac(1), first)
            .address(second)
            .gateway([192, 0, 2, 1])
            .gateway(ipv6("2001:db8::1"))
            .nameserver([192, 0, 2, 53]);
        check(
            &[nic],
            [
                ("eni", &["\ngateway 192.0.2.1\n", "\ngateway 2001:db8::1\n", "auto eth0\n", "!::/64", "!route add"]),
                ("networkd", &["[Route]\nGateway=192.0.2.1\n", "[Route]\nGateway=2001:db8::1\n", "!::/64"]),
                (
                    "network-manager",
                    &["address1=192.0.2.10/24\ngateway=192.0.2.1\n", "address1=2001:db8::10/64\ngateway=2001:db8::1\n"],
                ),
                ("sysconfig", &["\nGATEWAY=192.0.2.1\n", "\nIPV6_DEFAULTGW=2001:db8::1\n", "!::/64"]),
                ("netplan", &["gateway4: 192.0.2.1\n", "gateway6: 2001:db8::1\n", "!routes"]),
            ],
        );
    }
}

#[test]
fn a_gateway_may_be_on_the_link_alone() {
    let nic = SeedNic::static_address(mac(1), "10.0.0.5/32".parse().unwrap()).gateway(Ipv4Addr::new(192, 0, 2, 1));
    check(
        &[nic],
        [
            // The second route needs the first one, which leads to the link.
            (
                "eni",
                &[
                    "post-up route add -host 192.0.2.1/32 gw 10.0.0.5 || true\n",
                    "post-up route add default gw 192.0.2.1",
                ],
            ),
            ("networkd", &["Gateway=192.0.2.1\n"]),
            ("network-manager", &["=192.0.2.1/32,10.0.0.5\n", "=0.0.0.0/0,192.0.2.1\n"]),
            ("sysconfig", &["GATEWAY=192.0.2.1\n"]),
            ("netplan", &["on-link: true\nto: 0.0.0.0/0\nvia: 192.0.2.1\n", "!gateway4"]),
        ],
    );
    let nic = SeedNic::static_address(mac(1), "2001:db8::10/128".parse().unwrap()).gateway(ipv6("2001:db8:1::1"));
    check(
        &[nic],
        [
            ("eni", &["!::/64"]),
            ("networkd", &["Destination=::/1\n", "Destination=8000::/1\n", "!::/64"]),
            ("network-manager", &["=::/1,2001:db8:1::1\n", "=8000::/1,2001:db8:1::1\n"]),
            ("sysconfig", &["::/1 via 2001:db8:1::1", "8000::/1 via 2001:db8:1::1"]),
            (
                "netplan",
                &["on-link: true\nto: ::/1\nvia: 2001:db8:1::1\n", "on-link: true\nto: 8000::/1\nvia: 2001:db8:1::1\n"],
            ),
        ],
    );
    // A link-local gateway is on the link anyway.
    let nic = SeedNic::static_address(mac(1), "2001:db8::10/128".parse().unwrap()).gateway(ipv6("fe80::1"));
    check(
        &[nic],
        [
            ("eni", &["\ngateway fe80::1\n"]),
            ("networkd", &["[Route]\nGateway=fe80::1\n"]),
            ("network-manager", &["\ngateway=fe80::1\n"]),
            ("sysconfig", &["\nIPV6_DEFAULTGW=fe80::1\n"]),
            ("netplan", &["gateway6: fe80::1\n"]),
        ],
    );
}

#[test]
fn ipv6_may_come_from_router_advertisements_alone() {
    check(
        &[SeedNic::router_advertised(mac(1)), SeedNic::dhcp(mac(2))],
        [
            (
                "eni",
                &["auto eth0\niface eth0 inet6 auto\ndhcp 0\n", "auto eth1\niface eth1 inet dhcp\n", "!eth0 inet "],
            ),
            ("networkd", &["Name=eth0\n[Network]\nDHCP=no\n", "Name=eth1\n[Network]\nDHCP=ipv4\n", "!IPv6AcceptRA"]),
            ("network-manager", &["[ipv6]\nmethod=auto\n", "[ipv4]\nmethod=auto\n"]),
            ("sysconfig", &["IPV6INIT=yes\n", "IPV6_AUTOCONF=yes\n"]),
            ("netplan", &["set-name: eth0\n", "dhcp6: true\n"]),
        ],
    );
    // Beside a static address.
    let fixed = SeedNic::static_address(mac(1), "192.0.2.10/24".parse().unwrap()).gateway([192, 0, 2, 1]);
    check(
        &[fixed.router_advertisements()],
        [
            ("eni", &["\ngateway 192.0.2.1\n", "!accept_ra 0"]),
            ("networkd", &["[Route]\nGateway=192.0.2.1\n", "!IPv6AcceptRA=False"]),
            ("network-manager", &["gateway=192.0.2.1\n", "!method=disabled"]),
            ("sysconfig", &["GATEWAY=192.0.2.1\n", "IPV6_FORCE_ACCEPT_RA=yes\n"]),
            ("netplan", &["accept-ra: true\n", "gateway4: 192.0.2.1\n"]),
        ],
    );
}

#[test]
fn an_interface_with_router_advertisements_alone_keeps_the_others_as_they_are() {
    let fixed = SeedNic::static_address(mac(1), "192.0.2.10/24".parse().unwrap())
        .address("2001:db8::10/64".parse().unwrap())
        .gateway(ipv6("2001:db8::1"))
        .gateway([192, 0, 2, 1])
        .nameserver([192, 0, 2, 53])
        .search_domain("example.org");
    let nics = [fixed, SeedNic::router_advertised(mac(2))];
    let written: Value = serde_json::from_str(&network::network_config(&nics).unwrap()).unwrap();
    assert_eq!(
        written,
        json!({"version": 1, "config": [
            {"type": "physical", "name": "eth0", "mac_address": "02:00:00:00:00:01", "subnets": [
                {"type": "static", "address": "192.0.2.10/24", "gateway": "192.0.2.1"},
                {"type": "static", "address": "2001:db8::10/64", "gateway": "2001:db8::1"},
            ]},
            {"type": "nameserver", "address": ["192.0.2.53"], "search": ["example.org"]},
            {"type": "physical", "name": "eth1", "mac_address": "02:00:00:00:00:02", "subnets": [{"type": "ipv6_slaac"}]},
        ]})
    );
    check(
        &nics,
        [
            (
                "eni",
                &["\ngateway 192.0.2.1\n", "\ngateway 2001:db8::1\n", "dns-nameservers 192.0.2.53\n", "auto eth1\n"],
            ),
            (
                "networkd",
                &["Gateway=192.0.2.1\n", "Gateway=2001:db8::1\n", "DNS=192.0.2.53\n", "Domains=example.org\n"],
            ),
            ("network-manager", &["gateway=192.0.2.1\n", "gateway=2001:db8::1\n", "method=auto\n"]),
            ("sysconfig", &["GATEWAY=192.0.2.1\n", "IPV6_DEFAULTGW=2001:db8::1\n", "nameserver 192.0.2.53\n"]),
            ("netplan", &["gateway4: 192.0.2.1\n", "gateway6: 2001:db8::1\n", "- 192.0.2.53\n", "- example.org\n"]),
        ],
    );
}
