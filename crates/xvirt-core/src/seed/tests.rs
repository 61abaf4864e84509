//! Checks seeds with `fsck.vfat`, mtools, blkid, a JSON parser and the YAML parser of cloud-init.

mod cloud_init;

use std::fs;
use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::boot::testing::{scratch, tool};
use crate::net::MacAddress;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBEREREREREREREREREREREREREREREREREREREREREREREREREREREREREREREREQ a@b";
const HASH: &str = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";
/// Characters that break lines, end strings or are invalid in YAML 1.1, and one that JSON escapes as a surrogate pair.
const AWKWARD: &str = "\"'\\: {#}\n- \t\u{7f}\u{85}\u{a0}\u{2028}\u{feff}\u{fffe}é😀%&*!|>";

fn mac(last: u8) -> MacAddress {
    MacAddress::new([2, 0, 0, 0, 0, last])
}

fn full() -> Seed {
    let alice = User::new("alice").sudo().group("adm").authorized_key(KEY).password_hash(HASH);
    Seed::new("web-1.example.org")
        .instance_id("i-1")
        .user(alice)
        .user(User::new("bob").password_hash(HASH).lock_password())
        .root_authorized_key(format!("no-pty {KEY} é"))
        .command(["echo", AWKWARD])
        .nic(
            SeedNic::static_address(mac(1), "192.0.2.10/24".parse().unwrap())
                .address("2001:db8::10/64".parse().unwrap())
                .gateway([192, 0, 2, 1])
                .gateway("fe80::1".parse::<Ipv6Addr>().unwrap())
                .nameserver([192, 0, 2, 53])
                .search_domain("example.org"),
        )
        .nic(SeedNic::dhcp(mac(2)))
}

fn user_data() -> Value {
    json!({
        "preserve_hostname": false,
        "manage_etc_hosts": "localhost",
        "ssh_deletekeys": true,
        "users": [
            {"name": "alice", "lock_passwd": false, "hashed_passwd": HASH, "sudo": "ALL=(ALL) NOPASSWD:ALL",
             "groups": ["adm"], "ssh_authorized_keys": [KEY]},
            {"name": "bob", "lock_passwd": true, "hashed_passwd": HASH},
        ],
        "ssh_authorized_keys": [format!("no-pty {KEY} é")],
        "disable_root": false,
        "runcmd": [["echo", AWKWARD]],
    })
}

fn network_config() -> Value {
    json!({
        "version": 2,
        "ethernets": {
            "eth0": {
                "match": {"macaddress": "02:00:00:00:00:01"},
                "set-name": "eth0",
                "dhcp4": false,
                "addresses": ["192.0.2.10/24", "2001:db8::10/64"],
                "gateway4": "192.0.2.1",
                "gateway6": "fe80::1",
                "nameservers": {"addresses": ["192.0.2.53"], "search": ["example.org"]},
            },
            "eth1": {"match": {"macaddress": "02:00:00:00:00:02"}, "set-name": "eth1", "dhcp4": true},
        },
    })
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Checks the image with independent tools and extracts its files; `None` if a tool is missing.
fn extract(image: &Path, folder: &Path) -> Option<Vec<String>> {
    tool("fsck.vfat", &["-n", text(image)])?;
    let listed = tool("mdir", &["-b", "-i", text(image), "::"])?;
    let names: Vec<String> = listed.lines().map(|line| line.trim_start_matches("::/").to_owned()).collect();
    for name in &names {
        tool("mcopy", &["-i", text(image), &format!("::{name}"), text(&folder.join(name))])?;
    }
    Some(names)
}

#[test]
fn usual_tools_read_the_disk() {
    let folder = scratch();
    let image = folder.path().join("seed");
    full().write(&image).unwrap();
    let read = |name| fs::read_to_string(folder.path().join(name)).unwrap();

    let Some(names) = extract(&image, folder.path()) else { return };
    assert_eq!(names, ["meta-data", "user-data", "network-config"]);
    let meta_data: Value = serde_json::from_str(&read("meta-data")).unwrap();
    assert_eq!(meta_data, json!({"instance-id": "i-1", "local-hostname": "web-1.example.org"}));
    let text_of_user_data = read("user-data");
    let written = text_of_user_data.strip_prefix("#cloud-config\n").unwrap();
    assert_eq!(serde_json::from_str::<Value>(written).unwrap(), user_data());
    assert_eq!(serde_json::from_str::<Value>(&read("network-config")).unwrap(), network_config());

    let Some(found) = tool("blkid", &["-p", "-o", "export", text(&image)]) else { return };
    for line in ["LABEL=CIDATA", "TYPE=vfat", "VERSION=FAT12"] {
        assert!(found.lines().any(|other| other == line), "{line} is not in {found}");
    }
}

/// cloud-init parses its files with PyYAML, which implements YAML 1.1.
#[test]
fn yaml_readers_see_the_same() {
    let files = [
        (render::user_data(&full()).unwrap(), user_data()),
        (network::network_config(&full().nics).unwrap(), network_config()),
    ];
    let Some(said) = tool("python3", &["-c", "import importlib.util as u; print(bool(u.find_spec('yaml')))"]) else {
        return;
    };
    if said.trim() != "True" {
        println!("SKIPPED seed::tests::yaml_readers_see_the_same: python3 has no module yaml");
        return;
    }
    let folder = scratch();
    let path = folder.path().join("file");
    for (written, expected) in files {
        fs::write(&path, written).unwrap();
        let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1], encoding='utf-8'))))";
        let read = tool("python3", &["-c", script, text(&path)]).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), expected);
    }
}

#[test]
fn the_image_decides_what_a_short_seed_does_not_say() {
    let seed = Seed::new("a");
    let written = render::user_data(&seed).unwrap();
    let written: Value = serde_json::from_str(written.strip_prefix("#cloud-config\n").unwrap()).unwrap();
    let expected = json!({"preserve_hostname": false, "manage_etc_hosts": "localhost", "ssh_deletekeys": true});
    assert_eq!(written, expected);

    let folder = scratch();
    let image = folder.path().join("seed");
    seed.write(&image).unwrap();
    let Some(names) = extract(&image, folder.path()) else { return };
    assert_eq!(names, ["meta-data", "user-data"]);
}

#[test]
fn user_data_of_any_size_is_given_whole() {
    let folder = scratch();
    for (length, mib) in [(0, 1), (1, 1), (4096, 1), (4097, 1), (1 << 20, 2), (14 << 20, 15)] {
        let image = folder.path().join(format!("seed-{length}"));
        let whole: String = (0..length).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
        Seed::new("a").user_data(&whole).write(&image).unwrap();
        assert_eq!(fs::metadata(&image).unwrap().len(), mib << 20);
        let copies = folder.path().join(length.to_string());
        fs::create_dir(&copies).unwrap();
        if extract(&image, &copies).is_none() {
            return;
        }
        assert!(fs::read_to_string(copies.join("user-data")).unwrap() == whole, "{length}");
    }
    let error = Seed::new("a").user_data("x".repeat(15 << 20)).image().unwrap_err();
    assert_eq!(error.to_string(), "the seed of a is too large; keep user_data and the rest below 14 MiB");
}

#[test]
fn one_seed_makes_the_same_bytes_and_two_differ() {
    let seed = Seed::new("web-1");
    assert!(seed.image().unwrap() == seed.clone().image().unwrap());
    let back: Seed = serde_json::from_str(&serde_json::to_string(&full()).unwrap()).unwrap();
    assert!(back.image().unwrap() == full().image().unwrap());
    assert!(seed.image().unwrap() != Seed::new("web-1").image().unwrap());
}

#[test]
fn a_written_seed_is_private_and_never_overwritten() {
    let folder = scratch();
    let path = folder.path().join("seed");
    full().write(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    let error = Seed::new("other").write(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(fs::read(&path).unwrap() == before);
    // An invalid seed leaves no file behind.
    let error = Seed::new("no host").write(folder.path().join("new")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(!folder.path().join("new").exists());
}

#[test]
fn secrets_are_in_no_message() {
    assert!(!format!("{:?}", full()).contains(HASH));
    let hash = "hunter2";
    let error = Seed::new("a").user(User::new("bob").password_hash(hash)).check().unwrap_err();
    assert!(!error.to_string().contains(hash), "{error}");
}

#[test]
fn mistakes_are_named_with_their_remedy() {
    let refused = |seed: Seed| {
        let error = seed.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.remedy().is_some_and(|remedy| !remedy.is_empty()));
        error.to_string()
    };
    let base = || Seed::new("a");
    for name in ["", "-a", "a-", "a..b", "a_b", "a b", "a\n", &"a".repeat(64), "ä"] {
        assert!(refused(Seed::new(name)).starts_with(&format!("the hostname {name:?} is invalid; use")), "{name}");
    }
    for id in ["", "..", "a/b", "a b", "a\n", &"a".repeat(129)] {
        assert!(refused(base().instance_id(id)).starts_with(&format!("the instance id {id:?} is invalid; ")), "{id}");
    }
    for name in ["", "Bob", "a:b", "a b", "1a", "a\n", &"a".repeat(33)] {
        assert!(refused(base().user(User::new(name))).starts_with(&format!("the user name {name:?} is invalid; ")));
        let user = User::new("a").group(name);
        assert!(refused(base().user(user)).starts_with(&format!("the group name {name:?} is invalid; ")));
    }
    let keys = ["", "ssh-ed25519", "AAAA", "ssh-ed25519 BBBB", "-----BEGIN OPENSSH PRIVATE KEY-----"];
    for key in
        keys.map(str::to_owned).into_iter().chain([format!("{KEY}\n{KEY}"), format!("{KEY} {}", "x".repeat(1 << 14))])
    {
        let message = "is not a public key; use the line of a .pub file, for example 'ssh-ed25519 AAAA... name@host'";
        assert_eq!(refused(base().root_authorized_key(&key)), format!("an authorized_key of root {message}"));
        let user = User::new("bob").authorized_key(&key);
        assert_eq!(refused(base().user(user)), format!("an authorized_key of bob {message}"));
    }
    for hash in ["", "secret", "$6$", "$6$salt", "$6$salt$a:b", "$6$salt$a\nb"] {
        assert_eq!(
            refused(base().user(User::new("bob").password_hash(hash))),
            "the password_hash of user bob is not a hash; hash the password first, as `mkpasswd` or \
             `openssl passwd -6` do"
        );
    }
    assert_eq!(
        refused(base().user(User::new("root"))),
        "the user root exists in every guest; set its keys with root_authorized_key"
    );
    assert_eq!(refused(base().user(User::new("b")).user(User::new("b"))), "there are two users b; merge them into one");
    assert_eq!(refused(base().command([""; 1])), "one of the commands is empty; give each command a program to run");
    assert_eq!(refused(base().command([""; 0])), "one of the commands is empty; give each command a program to run");
    assert_eq!(refused(base().command(["a\0"])), "one of the commands contains a zero byte; remove the zero byte");
    assert_eq!(
        refused(base().user_data("x").command(["a"])),
        "user_data was given together with users, keys or commands; write them into user_data, or leave it out"
    );
}

#[test]
fn mistakes_in_nics_are_named_with_their_remedy() {
    let refused = |nics: &[SeedNic]| {
        let seed = nics.iter().cloned().fold(Seed::new("a"), Seed::nic);
        seed.check().unwrap_err().to_string()
    };
    let fixed = || SeedNic::static_address(mac(1), "192.0.2.10/24".parse().unwrap());
    let dhcp = SeedNic::dhcp(mac(1));
    assert_eq!(
        refused(&[fixed(), dhcp.clone()]),
        "there are two nics with the mac 02:00:00:00:00:01; merge them into one"
    );
    assert_eq!(
        refused(&[SeedNic::dhcp(MacAddress::new([0xff; 6]))]),
        "a NIC cannot have the mac ff:ff:ff:ff:ff:ff; use the MAC address of the VM's NIC, which is not a multicast address"
    );
    let none: SeedNic = serde_json::from_str(r#"{"mac": "02:00:00:00:00:01"}"#).unwrap();
    assert_eq!(
        refused(&[none]),
        "NIC 02:00:00:00:00:01 has no addresses; add an address, or use dhcp or router_advertisements"
    );
    assert_eq!(
        refused(&[fixed().gateway([192, 0, 3, 1])]),
        "the gateway 192.0.3.1 is in none of the networks of NIC 02:00:00:00:00:01; \
         give the NIC an address in the network of its gateway, or one of 32 or 128 bits if the gateway is on the link"
    );
    assert_eq!(
        refused(&[fixed().gateway("fe80::1".parse::<Ipv6Addr>().unwrap())]),
        "NIC 02:00:00:00:00:01 has the gateway fe80::1, but no static address of its IP version; \
         add an address, or leave the gateway to router advertisements"
    );
    assert_eq!(
        refused(&[fixed().gateway([192, 0, 2, 1]).gateway([192, 0, 2, 2])]),
        "NIC 02:00:00:00:00:01 has several gateways of the same IP version, such as 192.0.2.1; \
         use at most one for IPv4 and one for IPv6"
    );
    assert_eq!(
        refused(&[dhcp.search_domain("a b")]),
        "the search domain \"a b\" is invalid; use a domain such as example.org"
    );
    assert!(serde_json::from_str::<Seed>(r#"{"hostname": "a", "hostnam": 1}"#).is_err());
}
