//! What there is where filters are not built in.

use super::Work;
use crate::{Error, ErrorKind, Result};

/// A filter, of which there are none.
#[derive(Clone, Debug)]
pub(crate) enum Filter {}

impl Filter {
    pub(crate) fn new(_: Work) -> Result<Self> {
        Err(absent())
    }

    pub(crate) fn apply(&self) -> Result<()> {
        match *self {}
    }
}

/// Fails, for whoever wants filters.
pub(crate) fn require() -> Result<()> {
    Err(absent())
}

fn absent() -> Error {
    Error::new(ErrorKind::HostUnsupported, "xvirt was built without filters of system calls")
        .with_remedy("build it with the feature seccomp, or turn seccomp off for this VM")
}
