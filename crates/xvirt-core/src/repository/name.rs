//! Rules for names.

use crate::disk::ImageFormat;
use crate::{Error, ErrorKind, Result};

/// The longest name, in bytes.
pub(crate) const MAX_NAME_LENGTH: usize = 200;

/// The file name of a disk in its folder.
pub(crate) fn disk_name(index: usize, format: ImageFormat) -> String {
    format!("disk-{index}.{format}")
}

/// Whether a name in a record can be a disk beside the record. Such a name cannot lead to another folder.
pub(crate) fn is_disk_name(name: &str) -> bool {
    name.starts_with("disk-") && is_plain(name)
}

/// Whether it is a single path component of safe characters.
pub(super) fn is_plain(name: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= MAX_NAME_LENGTH && !name.starts_with('.') && name.bytes().all(harmless)
}

/// Checks a name given by a user; `of` is the kind of object, such as "VM".
pub(crate) fn check_name(of: &str, name: &str) -> Result<()> {
    if name.len() > MAX_NAME_LENGTH {
        let what = format!("a name of {} bytes is too long for a {of}", name.len());
        return Err(
            Error::new(ErrorKind::InvalidConfig, what).with_remedy(format!("use up to {MAX_NAME_LENGTH} bytes"))
        );
    }
    let fine = !name.trim().is_empty() && !name.chars().any(char::is_control);
    if fine {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidConfig, format!("{name:?} cannot be the name of a {of}"))
        .with_remedy(format!("use up to {MAX_NAME_LENGTH} bytes of text in one line")))
}

/// A requested name for use in a message, shortened if it is too long.
pub(crate) fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(MAX_NAME_LENGTH).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_not_repeated() {
        let long = "ü".repeat(8 << 20);
        let error = check_name("template", &long).unwrap_err().to_string();
        assert_eq!(error, "a name of 16777216 bytes is too long for a template; use up to 200 bytes");
        assert_eq!((shown("a"), shown(&long).chars().count()), ("a".to_owned(), MAX_NAME_LENGTH + 1));
    }

    #[test]
    fn names_of_disks_stay_in_their_folder() {
        for good in ["disk-0.raw", "disk-12.qcow2"] {
            assert!(is_disk_name(good), "{good}");
        }
        for bad in ["", "disk", "vm.json", "disk-/../../x", "../disk-0.raw", "disk-0\0", "/disk-0.raw", "disk-ä"] {
            assert!(!is_disk_name(bad), "{bad}");
        }
        assert!(!is_disk_name(&format!("disk-{}", "0".repeat(MAX_NAME_LENGTH))));
    }

    #[test]
    fn people_may_use_any_text_of_one_line() {
        check_name("VM", "Büro 1: web").unwrap();
        for bad in ["", " ", "a\nb", &"x".repeat(MAX_NAME_LENGTH + 1)] {
            assert_eq!(check_name("VM", bad).unwrap_err().kind(), ErrorKind::InvalidConfig);
        }
    }
}
