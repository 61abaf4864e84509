//! A Debian that is booted once, sealed with its memory, and becomes several machines that differ.

use std::collections::HashSet;
use std::time::Instant;

use xvirt_core::agent::GuestCommand;
use xvirt_core::config::{ByteSize, Disk, Nic, Uuid, VmConfig};
use xvirt_core::host::Host;
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::template::Source;
use xvirt_core::vm::{MemoryLoaded, MemoryLoading, Resume, Vm};

use crate::busy::{clock_is_right, run};
use crate::guest::{Guest, PATIENCE};
use crate::{needs, without_mitigations};

/// How many are made of it; `XVIRT_DEBIAN_INSTANCES` asks for another number.
const INSTANCES: usize = 3;
/// Thirty-two bytes, of which the generator of the guest needs as many.
const RANDOM_BYTES: [(); 2] = [(); 2];

/// Gives a copy of a running system what only it has. The kernel has no driver for the generation ID, so the command
/// reads random bytes of the host and makes the generator start again from them (RNDRESEEDCRNG of random(4)).
const IDENTITY: &str = r#"set -e
python3 -c 'import fcntl, sys
with open("/dev/urandom", "wb", buffering=0) as generator:
    generator.write(sys.stdin.buffer.read())
    fcntl.ioctl(generator, 0x5207)'
hostname "$NAME"
echo "$NAME" >/etc/hostname
for card in /sys/class/net/e*; do
    card=${card##*/}
    ip link set dev "$card" down
    ip link set dev "$card" address "$MAC"
    ip link set dev "$card" up
done
systemd-id128 new >/etc/machine-id
rm -f /etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -C "root@$NAME" -f /etc/ssh/ssh_host_ed25519_key"#;

struct Instance {
    stored: StoredVm,
    vm: Vm,
}

impl Instance {
    fn new(stored: StoredVm, host: &Host) -> Self {
        let vm = stored.build(host).unwrap();
        let began = Instant::now();
        let report = vm.resume_with(Resume::default().memory(MemoryLoading::Lazy), &()).unwrap();
        assert_ne!(report.loaded, MemoryLoaded::Read);
        println!("{} resumed in {:.1?}", stored.name(), began.elapsed());
        Self { stored, vm }
    }

    fn mac(&self) -> String {
        self.stored.config().nics[0].mac.unwrap().to_string()
    }

    fn personalize(&self) {
        let command = GuestCommand::shell(IDENTITY)
            .env("NAME", self.stored.name())
            .env("MAC", self.mac())
            .input(RANDOM_BYTES.map(|()| Uuid::new_v4().into_bytes()).concat())
            .timeout(PATIENCE);
        let output = self.vm.agent().with_timeout(PATIENCE).run(&command).unwrap();
        assert!(output.status.is_success(), "{:?} {}", output.status, output.stderr_lossy());
    }

    /// What must differ between instances, as the guest itself tells it.
    fn identity(&self) -> [String; 5] {
        assert_eq!(run(&self.vm, "hostname"), self.stored.name());
        assert_eq!(run(&self.vm, "cat /sys/class/net/e*/address"), self.mac());
        assert_eq!(run(&self.vm, "sshd -t && cat /run/before-the-seal"), "kept");
        clock_is_right(&self.vm);
        [
            "hostname",
            "cat /sys/class/net/e*/address",
            "cat /etc/machine-id",
            "cat /etc/ssh/ssh_host_ed25519_key.pub",
            "head -c 16 /dev/urandom | od -An -tx1",
        ]
        .map(|command| run(&self.vm, command))
    }
}

#[test]
fn machines_of_one_booted_debian_are_somebody_each() {
    let Some((host, [disk])) = needs(["XVIRT_DEBIAN_CLOUD_DISK"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let config = VmConfig::new("debian")
        .memory(ByteSize::mib(512))
        .boot(without_mitigations())
        .disk(Disk::raw(disk))
        .nic(Nic::new_tap());
    let cold = repository.seal("debian", Source::Config(&config), &()).unwrap();
    let original = repository.instantiate(&cold, "original").unwrap();
    let mut guest = Guest::start(original.build(&host).unwrap());
    guest.log_in();
    guest.vm.agent().wait_ready(PATIENCE).unwrap();
    // Until udev has named the card, its name may still change.
    guest.run(
        "udevadm settle; mkdir -p /run/sshd; echo kept >/run/before-the-seal; sync; echo 3 >/proc/sys/vm/drop_caches",
    );
    let began = Instant::now();
    let hot = repository.seal_hot("booted", &guest.vm, &()).unwrap();
    println!("sealed in {:.1?}", began.elapsed());
    guest.vm.hard_shutdown().unwrap();

    let wanted = std::env::var("XVIRT_DEBIAN_INSTANCES").map_or(INSTANCES, |number| number.parse().unwrap());
    let instances: Vec<Instance> = (1..=wanted)
        .map(|number| Instance::new(repository.instantiate(&hot, format!("web-{number}")).unwrap(), &host))
        .collect();
    let mut told = HashSet::new();
    for instance in &instances {
        let began = Instant::now();
        instance.personalize();
        for fact in instance.identity() {
            assert!(told.insert(fact.clone()), "{fact} belongs to two instances");
        }
        println!("{} is somebody after {:.1?}", instance.stored.name(), began.elapsed());
    }
    drop(instances);
    assert_eq!(repository.check(&()).unwrap().problems, []);
}
