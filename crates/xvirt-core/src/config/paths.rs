//! Makes the paths of a configuration independent of the working directory.

use std::iter;
use std::path::{PathBuf, absolute};

use super::{Boot, BootFile, DiskSource, NicBackendConfig, VmConfig};
use crate::{Error, Result};

impl VmConfig {
    /// Makes relative paths absolute, because another process may build the VM with another working directory.
    ///
    /// # Errors
    /// There is no working directory, or the absolute path of a socket is too long.
    pub(crate) fn make_paths_absolute(&mut self) -> Result<()> {
        for disk in &mut self.disks {
            if let DiskSource::Image { path, .. } = &mut disk.source {
                make_absolute(path)?;
            }
        }
        if let Boot::Kernel { kernel, initrd, .. } = &mut self.boot {
            for file in iter::once(kernel).chain(initrd) {
                if let BootFile::Path(path) = file {
                    make_absolute(path)?;
                }
            }
        }
        for nic in &mut self.nics {
            if let NicBackendConfig::Stream(path) = &mut nic.backend {
                make_absolute(path)?;
            }
        }
        if let Some(vsock) = &mut self.vsock {
            make_absolute(&mut vsock.path)?;
            // The absolute path may be too long.
            vsock.check()?;
        }
        Ok(())
    }
}

fn make_absolute(path: &mut PathBuf) -> Result<()> {
    *path = absolute(&*path).map_err(|error| Error::io(format!("cannot find {}", path.display()), error))?;
    Ok(())
}
