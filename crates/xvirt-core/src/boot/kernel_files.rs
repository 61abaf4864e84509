//! Kernels with their usual file names, for disks without a boot loader configuration.

use super::entry::{BootEntry, BootSource, Found};
use super::version;
use super::volume::{DiskPath, Volumes};

const MAX_TEXT: u64 = 64 << 10;
const MAX_KERNELS: usize = 64;

/// Lists the target of `/vmlinuz`, then all `/boot/vmlinuz-*`, newest first.
pub(super) fn read(volumes: &Volumes<'_>) -> Option<Found> {
    let command_line = command_line(volumes);
    let mut entries = Vec::new();
    for (partition, _) in volumes.readable() {
        for directory in ["", "/boot"] {
            let exists =
                |name: &str| volumes.file_length(&DiskPath::new(partition, format!("{directory}/{name}"))).is_some();
            let names = volumes.list(&DiskPath::new(partition, format!("{directory}/")));
            let mut kernels: Vec<&str> = names.iter().map(String::as_str).filter(|name| is_kernel(name)).collect();
            // The link without a version first, then the newest.
            kernels.sort_by(|left, right| is_rescue(left).cmp(&is_rescue(right)).then_with(|| rank(right, left)));
            let left = MAX_KERNELS - entries.len();
            for name in kernels.into_iter().filter(|name| exists(name)).take(left) {
                let path = format!("{directory}/{name}");
                let mut entry = BootEntry::new(BootSource::KernelFiles, &path, format!("Linux {path}"));
                let initrd = initrd_names(name).into_iter().find(|name| exists(name));
                entry.initrds.extend(initrd.map(|name| DiskPath::new(partition, format!("{directory}/{name}"))));
                entry.kernel = Some(DiskPath::new(partition, path));
                entry.command_line.clone_from(&command_line);
                entries.push(entry);
            }
        }
    }
    let kernels = entries.iter().filter_map(|entry: &BootEntry| entry.kernel.clone()).collect();
    let without_links = volumes.without_links(kernels);
    entries.retain(|entry| entry.kernel.as_ref().is_some_and(|kernel| without_links.contains(kernel)));
    let default = (!entries.is_empty()).then_some(0);
    Some(Found { entries, default, ..Found::default() })
}

fn rank(left: &str, right: &str) -> std::cmp::Ordering {
    let is_link = |name: &str| matches!(name, "vmlinuz" | "bzImage");
    is_link(left).cmp(&is_link(right)).then_with(|| version::compare(left, right))
}

fn is_kernel(name: &str) -> bool {
    let is_base = |base: &str| name.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    is_base("vmlinuz") || is_base("bzImage") || is_base("kernel")
}

/// Whether it is a rescue or old kernel.
fn is_rescue(name: &str) -> bool {
    name.contains("rescue") || name.ends_with(".old")
}

/// The possible names of a kernel's initrd.
fn initrd_names(kernel: &str) -> Vec<String> {
    match kernel.split_once('-') {
        None => ["initrd.img", "initramfs.img", "initrd"].map(str::to_owned).to_vec(),
        Some((_, version)) => vec![
            format!("initrd.img-{version}"),
            format!("initramfs-{version}.img"),
            format!("initramfs-{version}"),
            format!("initrd-{version}"),
            format!("initrd-{version}.img"),
        ],
    }
}

/// The configured kernel command line, or one with only the root file system.
fn command_line(volumes: &Volumes<'_>) -> String {
    let find = |path: &str| {
        let texts =
            volumes.readable().filter_map(|(partition, _)| volumes.text(&DiskPath::new(partition, path), MAX_TEXT));
        texts.into_iter().next()
    };
    if let Some(configured) = find("/etc/kernel/cmdline") {
        return configured.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    let fstab = find("/etc/fstab").unwrap_or_default();
    let from_fstab = fstab.lines().map(str::trim).filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut words = line.split_whitespace();
        let device = words.next()?;
        (words.next() == Some("/")).then(|| device.to_owned())
    });
    let has_system = |partition: u32| {
        let list = |path: &str| !volumes.list(&DiskPath::new(partition, path)).is_empty();
        list("/etc") && (list("/usr") || list("/sbin"))
    };
    let root = from_fstab.or_else(|| {
        let (_, files) = volumes.readable().find(|(partition, _)| has_system(*partition))?;
        Some(format!("UUID={}", files.uuid()))
    });
    root.map_or_else(String::new, |root| format!("root={root} ro"))
}
