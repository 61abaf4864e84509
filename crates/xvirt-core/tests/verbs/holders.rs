//! The holders of views of a VM's disks: views of a halted VM prevent it from being started.

use std::sync::Mutex;

/// The maximum number of views of a disk.
const MAX: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    begun: usize,
    holding: usize,
    of_halted: usize,
}

/// The holders of views of one VM's disks, including those that have asked for them.
#[derive(Debug, Default)]
pub struct Holders(Mutex<Counts>);

/// The holders at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Mark(Counts);

/// A holder, which counts as a holder of views of the halted VM until it is known to hold others.
#[derive(Debug)]
pub struct Holder<'a> {
    all: &'a Holders,
    of_halted: bool,
}

impl Holders {
    /// Adds a holder that is about to ask for views.
    pub fn begin(&self) -> Holder<'_> {
        let mut counts = self.0.lock().unwrap();
        counts.begun += 1;
        counts.holding += 1;
        counts.of_halted += 1;
        Holder { all: self, of_halted: true }
    }

    pub fn mark(&self) -> Mark {
        Mark(*self.0.lock().unwrap())
    }

    /// Whether views of the halted VM may have been held since then.
    pub fn may_lock(&self, since: Mark) -> bool {
        since.0.of_halted > 0 || self.0.lock().unwrap().begun > since.0.begun
    }

    /// Whether a disk may have had the maximum number of views since then.
    pub fn may_be_full(&self, since: Mark) -> bool {
        since.0.holding + self.0.lock().unwrap().begun - since.0.begun >= MAX
    }
}

impl Holder<'_> {
    /// Its views are not those of a halted VM.
    pub fn is_of_running(&mut self) {
        if std::mem::take(&mut self.of_halted) {
            self.all.0.lock().unwrap().of_halted -= 1;
        }
    }
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        self.is_of_running();
        self.all.0.lock().unwrap().holding -= 1;
    }
}
