//! What the VMs of this host take of its memory. It is planned by what each was promised, since a guest that has not
//! touched its memory yet may do so at any time.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::operation::Failure;

/// Who was promised how many bytes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    total: u64,
    promised: BTreeMap<Uuid, u64>,
}

impl Ledger {
    /// A host with this much memory for VMs.
    pub(crate) fn new(total: u64) -> Self {
        Self { total, promised: BTreeMap::new() }
    }

    /// Promises memory to a VM.
    ///
    /// # Errors
    /// `HOST_NOT_ENOUGH_FREE_MEMORY`, with what is needed and what is available.
    pub(crate) fn promise(&mut self, vm: Uuid, bytes: u64) -> Result<(), Failure> {
        let available = self.available();
        if bytes > available {
            let remedy = match self.largest() {
                Some(largest) => {
                    format!("give the VM less memory, or shut another one down: the largest has {largest} bytes")
                }
                None => "give the VM less memory, or the host more".to_owned(),
            };
            let parameters = [bytes.to_string(), available.to_string()];
            return Err(Failure::new("HOST_NOT_ENOUGH_FREE_MEMORY", parameters).with_remedy(remedy));
        }
        self.promised.insert(vm, bytes);
        Ok(())
    }

    /// Notes what a VM has that runs already.
    pub(crate) fn has(&mut self, vm: Uuid, bytes: u64) {
        self.promised.insert(vm, bytes);
    }

    /// Takes back what a VM was promised.
    pub(crate) fn release(&mut self, vm: Uuid) {
        self.promised.remove(&vm);
    }

    /// What is left, in bytes.
    pub(crate) fn available(&self) -> u64 {
        self.total.saturating_sub(self.promised.values().sum())
    }

    fn largest(&self) -> Option<u64> {
        self.promised.values().max().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_twice_is_refused_with_needed_and_available() {
        let mut ledger = Ledger::new(100);
        let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
        ledger.promise(one, 60).unwrap();
        let failure = ledger.promise(two, 50).unwrap_err();
        assert_eq!(failure.code, "HOST_NOT_ENOUGH_FREE_MEMORY");
        assert_eq!(failure.parameters[..2], ["50", "40"]);
        ledger.release(one);
        ledger.promise(two, 50).unwrap();
        // What runs is never taken away, even if it is too much.
        ledger.has(one, 90);
        assert_eq!(ledger.available(), 0);
    }
}
