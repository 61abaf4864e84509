//! Folders of repositories.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::operation::{Failure, codes};
use crate::worker::place::failed;

/// What a folder lets others write, and the bit by which they cannot rename what is not theirs.
const WRITABLE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// The space of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) total: i64,
    pub(crate) used: i64,
}

/// Makes a folder if it is not there, and returns its path without symbolic links.
///
/// # Errors
/// Somebody else could put another folder in its place, and so make the service write elsewhere.
pub(crate) fn make(folder: &Path) -> Result<PathBuf, Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| failed("create", folder, &error))?;
    let path = fs::canonicalize(folder).map_err(|error| failed("find", folder, &error))?;
    let service = rustix::process::geteuid().as_raw();
    for part in path.ancestors() {
        let found = fs::metadata(part).map_err(|error| failed("look at", part, &error))?;
        let is_ours = [0, service].contains(&found.uid());
        let is_safe = found.mode() & WRITABLE == 0 || part != path && found.mode() & STICKY != 0;
        if !is_ours || !is_safe {
            let remedy = format!(
                "use a folder that belongs to root or the user {service}, as its parents do, and that others cannot write: \
                 {} is not so",
                part.display()
            );
            return Err(codes::invalid_value("device_config", folder.display(), remedy));
        }
    }
    Ok(path)
}

/// Measures the file system of a folder.
pub(crate) fn measure(folder: &Path) -> Result<Space, Failure> {
    let space = rustix::fs::statvfs(folder).map_err(|errno| failed("measure", folder, &errno.into()))?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(space.f_frsize)).unwrap_or(i64::MAX);
    Ok(Space { total: bytes(space.f_blocks), used: bytes(space.f_blocks.saturating_sub(space.f_bfree)) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_folder_that_others_can_replace_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("disks");
        let path = make(&folder).unwrap();
        symlink(&folder, place.path().join("link")).unwrap();
        assert_eq!(make(&place.path().join("link")).unwrap(), path);
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let failure = make(&folder).unwrap_err();
        assert!(failure.code == "INVALID_VALUE" && failure.to_string().contains("is not so"), "{failure}");
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        make(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
        make(&folder).unwrap_err();
    }
}
