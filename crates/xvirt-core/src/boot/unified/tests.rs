use super::*;

/// An EFI program with these sections.
pub(in crate::boot) fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut image = vec![0; 64];
    image[..2].copy_from_slice(b"MZ");
    image[0x3c] = 64;
    image.extend_from_slice(b"PE\0\0\x64\x86");
    image.extend_from_slice(&(sections.len() as u16).to_le_bytes());
    image.resize(64 + 20, 0);
    image.extend_from_slice(&16u16.to_le_bytes());
    image.resize(64 + 24 + 16, 0);
    let mut offset = 4096;
    for (name, contents) in sections {
        let mut header = [0; 40];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[8..12].copy_from_slice(&(contents.len() as u32).to_le_bytes());
        header[16..20].copy_from_slice(&512u32.to_le_bytes());
        header[20..24].copy_from_slice(&(offset as u32).to_le_bytes());
        image.extend_from_slice(&header);
        offset += 512;
    }
    image.resize(offset, 0);
    for ((_, contents), at) in sections.iter().zip((4096..).step_by(512)) {
        image[at..at + contents.len()].copy_from_slice(contents);
    }
    image
}

#[test]
fn sections_are_found_by_name() {
    let image = image(&[(".text", b"code"), (".linux", b"kernel"), (".linux", b"second")]);
    let sections = parse(&image, image.len() as u64).unwrap();
    assert_eq!(sections.linux, Some(Section { offset: 4608, length: 6 }));
    assert_eq!(sections.initrd, None);
}

#[test]
fn damaged_programs_do_no_harm() {
    let whole = image(&[(".linux", b"kernel"), (".cmdline", b"x")]);
    assert_eq!(parse(&whole, 4608), None, "a section past the end of the file");
    for length in 0..300 {
        let _ = parse(&whole[..length], whole.len() as u64);
    }
    for at in 0..300 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = parse(&damaged, whole.len() as u64);
        }
    }
}
