//! What is wrong with an archive, in words.

use crate::{Error, ErrorKind};

/// A member of an archive that is not as it should be.
pub(super) fn corrupt(member: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::CorruptArchive, format!("archive member {member} is damaged: {}", why.into()))
        .remedy("copy or export the archive again; verify tells which disks are whole")
}

/// Something in an archive that is right but cannot be used.
pub(super) fn unsupported(what: impl Into<String>, remedy: &str) -> Error {
    Error::new(ErrorKind::UnsupportedArchive, what).remedy(remedy)
}
