//! Finds the process that has an image open, for error messages.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Names a process that locks the file with this device and inode number, if one can be found.
///
/// Open-file-description locks name no process, so this searches `/proc`; processes of other users are not visible.
pub(super) fn find(device: u64, inode: u64) -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let numbered = processes.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    for (process, folder) in numbered {
        if !holds(&folder, device, inode) {
            continue;
        }
        if process == std::process::id() {
            return Some("this process".to_owned());
        }
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        return Some(format!("process {process} ({})", name.trim_end()));
    }
    None
}

fn holds(process: &Path, device: u64, inode: u64) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        let same = fs::metadata(descriptor.path()).is_ok_and(|file| file.dev() == device && file.ino() == inode);
        same && fs::read_to_string(process.join("fdinfo").join(descriptor.file_name()))
            .is_ok_and(|info| info.lines().any(|line| line.starts_with("lock:")))
    })
}
