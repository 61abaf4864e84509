//! Keys and folders: which are valid, and which keys a folder has.

use crate::{Error, ErrorKind, Result};

/// The most bytes of a key.
pub const MAX_KEY: usize = 1024;

/// Checks a key, such as `/vm/5f0c/record`.
pub(crate) fn check(key: &str) -> Result<()> {
    if key.ends_with('/') {
        return Err(invalid(key, "it ends with a slash, as a folder does"));
    }
    check_path(key)
}

/// Checks the prefix of a folder, such as `/vm/`.
pub(crate) fn check_prefix(prefix: &str) -> Result<()> {
    match prefix.strip_suffix('/') {
        Some("") => Ok(()),
        Some(folder) => check_path(folder),
        None => Err(invalid(prefix, "the prefix of a folder ends with a slash")),
    }
}

/// Checks what a page of a folder is asked for with.
pub(crate) fn check_range(prefix: &str, from: Option<&str>, limit: usize) -> Result<()> {
    check_prefix(prefix)?;
    if limit == 0 {
        return Err(
            Error::new(ErrorKind::InvalidInput, "a page has a limit of 0 pairs").with_remedy("ask for one at least")
        );
    }
    match from {
        Some(from) if !from.starts_with(prefix) => Err(invalid(from, &format!("it is not in the folder {prefix}"))),
        _ => Ok(()),
    }
}

fn check_path(key: &str) -> Result<()> {
    if !key.starts_with('/') {
        return Err(invalid(key, "it does not begin with a slash"));
    }
    if key.contains("//") || key.ends_with('/') {
        return Err(invalid(key, "the name of a folder is empty"));
    }
    if key.chars().any(char::is_control) {
        return Err(invalid(key, "it has a control character"));
    }
    if key.len() > MAX_KEY {
        return Err(invalid(key, &format!("it has {} bytes; the most are {MAX_KEY}", key.len())));
    }
    Ok(())
}

fn invalid(key: &str, why: &str) -> Error {
    let shown: String = key.chars().take(80).collect();
    Error::new(ErrorKind::InvalidInput, format!("key {shown:?} is invalid: {why}"))
        .with_remedy("name it like /folder/name")
}

/// The first key after all keys of a folder: the slash at the end of its prefix becomes the next character.
pub(crate) fn end_of(prefix: &str) -> String {
    let mut end = prefix.strip_suffix('/').unwrap_or(prefix).to_owned();
    end.push('0');
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_are_keys() {
        for good in ["/a", "/vm/1/record", "/ä/b c"] {
            check(good).unwrap();
            check_prefix(&format!("{good}/")).unwrap();
        }
        check_prefix("/").unwrap();
        for bad in ["", "/", "a", "a/b", "/a/", "//a", "/a//b", "/a\0b", "/a\nb"] {
            assert_eq!(check(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
        for bad in ["", "/a", "a/", "//", "/a//", "/a/\u{7f}/"] {
            assert_eq!(check_prefix(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
        check(&format!("/{}", "a".repeat(MAX_KEY - 1))).unwrap();
        assert!(check(&format!("/{}", "a".repeat(MAX_KEY))).unwrap_err().to_string().contains("1025 bytes"));
    }

    #[test]
    fn the_keys_of_a_folder_are_before_its_end() {
        for (prefix, inside) in [("/", "/\u{10ffff}"), ("/vm/", "/vm/\u{10ffff}"), ("/vm/", "/vm/!")] {
            assert!(inside >= prefix && inside < end_of(prefix).as_str());
        }
        for outside in ["/vm", "/vm-1", "/vm0", "/vma"] {
            assert!(!("/vm/" <= outside && outside < end_of("/vm/").as_str()), "{outside}");
        }
    }
}
