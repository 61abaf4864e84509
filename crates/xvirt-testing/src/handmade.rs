//! Hand-made parts of archives that no program writes.

use sha1::{Digest, Sha1};

/// An `ova.xml` of a VM with one disk of `size` bytes, `Ref:2`.
pub fn ova(size: u64, export_version: u32) -> String {
    let structure = |fields: &[(&str, &str)]| {
        let members = fields.iter().map(|(name, value)| format!("<member><name>{name}</name>{value}</member>"));
        format!("<value><struct>{}</struct></value>", members.collect::<String>())
    };
    let text = |text: &str| format!("<value>{text}</value>");
    let object = |class: &str, id: &str, fields: &[(&str, &str)]| {
        structure(&[("class", &text(class)), ("id", &text(id)), ("snapshot", &structure(fields))])
    };
    let objects = [
        object("VM", "Ref:0", &[("name_label", &text("vm"))]),
        object("VBD", "Ref:1", &[("VM", &text("Ref:0")), ("VDI", &text("Ref:2")), ("type", &text("Disk"))]),
        object("VDI", "Ref:2", &[("virtual_size", &text(&size.to_string()))]),
    ]
    .concat();
    let version = structure(&[("export_vsn", &text(&export_version.to_string()))]);
    structure(&[("version", &version), ("objects", &format!("<value><array><data>{objects}</data></array></value>"))])
}

/// A member of a tar archive.
pub fn member(name: &str, data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_old();
    header.set_size(data.len() as u64);
    header.set_mode(0o400);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, data).unwrap();
    let mut bytes = archive.into_inner().unwrap();
    bytes.truncate(bytes.len() - 1024);
    bytes
}

/// A chunk of the disk of [`ova`] with its checksum.
pub fn chunk(number: u64, data: &[u8]) -> Vec<u8> {
    let name = format!("Ref:2/{number:08}");
    [member(&name, data), member(&format!("{name}.checksum"), sha1(data).as_bytes())].concat()
}

/// The SHA-1 of bytes in lower case.
pub fn sha1(data: &[u8]) -> String {
    Sha1::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An archive of a VM with a disk of 512 bytes.
pub fn small() -> Vec<u8> {
    [member("ova.xml", ova(512, 2).as_bytes()), chunk(0, &[5; 512])].concat()
}

/// A zstd frame with a window of 2^`log` bytes that contains `start` and then `zeroes` MiB of zeroes. With `tell`, the
/// header has the content size.
pub fn frame(log: u8, start: &[u8], zeroes: u64, tell: bool) -> Vec<u8> {
    let block = |last: u32, kind: u32, size: usize| (last | kind << 1 | (size as u32) << 3).to_le_bytes()[..3].to_vec();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, if tell { 0x80 } else { 0 }, (log - 10) << 3];
    if tell {
        frame.extend((start.len() as u32 + (zeroes << 20) as u32).to_le_bytes());
    }
    for part in start.chunks(128 << 10) {
        frame.extend([&block(0, 0, part.len())[..], part].concat());
    }
    for _ in 0..8 * zeroes {
        frame.extend([block(0, 1, 128 << 10), vec![0]].concat());
    }
    frame.extend(block(1, 0, 0));
    frame
}
