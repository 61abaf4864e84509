//! A store that both processes share: a file that names the owner of the VM. Whoever creates it first decides.

use std::fs;
use std::path::{Path, PathBuf};

use xvirt_core::migrate::{CommitDecision, Decision};

use super::cases::{Decider, Side};

pub struct Store {
    folder: PathBuf,
    decider: Decider,
}

impl Store {
    pub fn new(folder: &Path, decider: Decider) -> Self {
        Self { folder: folder.to_owned(), decider }
    }

    /// Whom the file names.
    pub fn owner(&self) -> Option<Side> {
        let text = fs::read_to_string(self.folder.join("owner")).ok()?;
        Some(if text == "target" { Side::Target } else { Side::Source })
    }

    /// Makes a side the owner unless there is one, and returns the owner.
    fn claim(&self, name: &str) -> Option<Side> {
        let claim = self.folder.join(format!("claim-of-{name}"));
        fs::write(&claim, name).unwrap();
        // Fails if there is an owner.
        let _ = fs::hard_link(claim, self.folder.join("owner"));
        self.owner()
    }
}

fn answer(owner: Option<Side>) -> Decision {
    match owner {
        Some(Side::Target) => Decision::Applied,
        Some(Side::Source) => Decision::Refused,
        None => Decision::Unknown,
    }
}

impl CommitDecision for Store {
    fn commit(&self) -> Decision {
        match self.decider {
            Decider::Sides => ().commit(),
            Decider::Store => answer(self.claim("target")),
            Decider::ForgetfulStore => {
                self.claim("target");
                Decision::Unknown
            }
            Decider::LostStore => Decision::Unknown,
        }
    }

    fn withdraw(&self) -> Decision {
        match self.decider {
            Decider::Sides => ().withdraw(),
            Decider::LostStore => Decision::Unknown,
            Decider::Store | Decider::ForgetfulStore => answer(self.claim("source")),
        }
    }

    fn read(&self) -> Decision {
        match self.decider {
            Decider::Sides => ().read(),
            Decider::LostStore => Decision::Unknown,
            Decider::Store | Decider::ForgetfulStore => answer(self.owner()),
        }
    }
}
