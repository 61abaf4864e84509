//! Replaces the filters if the crate is built without seccomp.

use super::Work;
use crate::{Error, ErrorKind, Result};

/// A filter; none exists.
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

/// Fails, because filters are not available.
pub(crate) fn require() -> Result<()> {
    Err(absent())
}

fn absent() -> Error {
    Error::new(ErrorKind::HostUnsupported, "xvirt was built without seccomp filters")
        .with_remedy("build it with the feature seccomp, or turn seccomp off for this VM")
}
