//! Whose turn it is with the image of a disk: what moves, grows or removes it does so alone.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::model::{Ref, Vdi};
use crate::sync::lock;

/// The disks whose images are being moved, grown or removed.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    taken: Mutex<BTreeSet<Ref<Vdi>>>,
    changed: Condvar,
}

/// The turn of one verb, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    disks: BTreeSet<Ref<Vdi>>,
}

impl Turns {
    /// Waits until nobody else has any of the disks. All are taken at once, so that no two verbs wait for each other.
    pub(crate) fn take(&self, disks: impl IntoIterator<Item = Ref<Vdi>>) -> Turn<'_> {
        let disks: BTreeSet<_> = disks.into_iter().collect();
        let mut taken = lock(&self.taken);
        while !taken.is_disjoint(&disks) {
            taken = self.changed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        taken.extend(disks.iter().copied());
        Turn { turns: self, disks }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.turns.taken).retain(|disk| !self.disks.contains(disk));
        self.turns.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_disk_is_one_verbs_at_a_time_and_the_others_go_on() {
        let turns = Turns::default();
        let [one, two, three] = [1, 2, 3].map(|number| Ref::<Vdi>::new(Uuid::from_u128(number)));
        let beside = turns.take([three]);
        let (users, barrier) = (AtomicUsize::new(0), Barrier::new(4));
        thread::scope(|scope| {
            for disks in [[one, two], [two, one], [one, one], [two, two]] {
                let (turns, users, barrier) = (&turns, &users, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for _ in 0..1000 {
                        let _turn = turns.take(disks);
                        let both = disks[0] != disks[1];
                        let before = users.fetch_add(if both { 10 } else { 1 }, Ordering::SeqCst);
                        assert!(if both { before == 0 } else { before < 2 }, "{before}");
                        users.fetch_sub(if both { 10 } else { 1 }, Ordering::SeqCst);
                    }
                });
            }
        });
        drop(beside);
        turns.take([one, two, three]);
    }
}
