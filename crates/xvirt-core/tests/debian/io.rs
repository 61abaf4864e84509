//! Debian on data disks with every engine, with and without the host's page cache: what it wrote survives a reset.

use xvirt_core::config::{Disk, IoEngine};
use xvirt_core::disk::{self, ImageFormat};

use crate::guest::{Guest, Reboot};
use crate::saved::SavedDebian;

/// A data disk: its serial number, and how it is opened.
const DISKS: [(&str, ImageFormat, IoEngine, bool); 4] = [
    ("raw-ring", ImageFormat::Raw, IoEngine::IoUring, false),
    ("qcow2-ring-direct", ImageFormat::Qcow2, IoEngine::IoUring, true),
    ("qcow2-threads", ImageFormat::Qcow2, IoEngine::Threads, false),
    ("raw-threads-direct", ImageFormat::Raw, IoEngine::Threads, true),
];

/// Fills a file system with files of many sizes and their checksums; half of them bypass the guest's page cache.
const WRITE: &str = "mkdir -p /mnt/$d/tree/a/b && cd /mnt/$d && \
    for i in $(seq 12); do \
        if [ $((i % 2)) = 0 ]; then direct=oflag=direct; else direct=; fi; \
        dd if=/dev/urandom of=tree/a/b/$i bs=4k count=$((i * 7)) $direct status=none || exit 1; done && \
    cp -r tree/a tree/copy && rm tree/copy/b/7 && find tree -type f | xargs sha256sum > sums && cd /";

#[test]
fn files_survive_on_disks_of_every_engine() {
    let Some(debian) = SavedDebian::copy() else { return };
    let mut guest = Guest::resume(debian.vm());
    // In the build folder, because a file system in memory may not support O_DIRECT.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (serial, format, engine, direct) in DISKS {
        let path = folder.path().join(serial);
        disk::create(&path, format, 64 << 20).unwrap();
        let disk = Disk::open(&path).unwrap().serial(serial).engine(engine);
        guest.vm.plug_disk(if direct { disk.direct() } else { disk }).unwrap();
    }
    let status = guest.vm.disks();
    for (disk, (serial, _, engine, direct)) in status[1..].iter().zip(DISKS) {
        assert_eq!((disk.engine, disk.direct), (engine, direct), "{serial}");
    }
    let names = DISKS.map(|(serial, ..)| serial).join(" ");
    let each = |command: &str| format!("(for d in {names}; do {command} || exit 1; done)");
    guest.run(&each("until [ -b /dev/disk/by-id/virtio-$d ]; do sleep 0.1; done"));
    guest.run(&each(
        "mkfs.ext4 -q /dev/disk/by-id/virtio-$d && mkdir -p /mnt/$d && mount /dev/disk/by-id/virtio-$d /mnt/$d",
    ));
    guest.run(&each(WRITE));
    guest.run("sync");
    guest.reboot(Reboot::Hard);
    guest.run(&each("mkdir -p /mnt/$d && mount /dev/disk/by-id/virtio-$d /mnt/$d"));
    assert_eq!(guest.run(&each("(cd /mnt/$d && sha256sum -c --quiet sums)")), "");
    assert_eq!(guest.run("cat /mnt/*/sums | wc -l"), (23 * DISKS.len()).to_string());
    guest.run(&each(
        "rm -r /mnt/$d/tree/a && fstrim /mnt/$d && umount /mnt/$d && fsck.ext4 -fn /dev/disk/by-id/virtio-$d",
    ));
}
