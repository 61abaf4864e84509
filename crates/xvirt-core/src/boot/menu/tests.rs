use super::super::entry::BootSource;
use super::super::test_support::*;
use super::*;

const ROOT_UUID: &str = "3f5ad593-4546-4a94-a374-bcfb68aa11f7";

/// As grub-mkconfig of Debian 12 writes it.
const DEBIAN: &str = include_str!("../samples/debian-12.cfg");

#[test]
fn debian_boots_its_default_entry() {
    let kernel = vec![0x4d; 3 << 20];
    let initrd: Vec<u8> = (0..2 << 20).map(|n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let Some(root) = ext4(
        ROOT_UUID,
        "",
        &[
            text("/boot/grub/grub.cfg", DEBIAN),
            text("/boot/grub/grubenv", "# GRUB Environment Block\n######\n"),
            File("/boot/vmlinuz-6.1.0-18-amd64", &kernel),
            File("/boot/initrd.img-6.1.0-18-amd64", &initrd),
        ],
    ) else {
        return;
    };
    let disk = gpt(&[&root]);
    let menu = BootMenu::read(&disk).unwrap();
    let titles: Vec<_> = menu.entries().iter().map(|entry| (entry.submenu.len(), entry.title.as_str())).collect();
    assert_eq!(
        titles,
        [
            (0, "Debian GNU/Linux"),
            (1, "Debian GNU/Linux, with Linux 6.1.0-18-amd64"),
            (1, "Debian GNU/Linux, with Linux 6.1.0-18-amd64 (recovery mode)"),
        ]
    );
    let default = menu.entry(&EntryChoice::Default).unwrap();
    assert_eq!(default.title, "Debian GNU/Linux");
    assert_eq!(default.source, BootSource::Grub);
    assert_eq!(default.kernel, Some(DiskPath::new(1, "/boot/vmlinuz-6.1.0-18-amd64")));
    let files = menu.load(default).unwrap();
    assert_eq!(files.command_line, format!("BOOT_IMAGE=/boot/vmlinuz-6.1.0-18-amd64 root=UUID={ROOT_UUID} ro quiet"));
    assert!(files.kernel == kernel);
    assert!(files.initrd == Some(initrd));
}
