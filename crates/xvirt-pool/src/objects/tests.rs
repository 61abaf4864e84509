//! Changes over a store that often does not say whether it has committed.

use super::*;
use crate::clock::SystemHostClock;
use crate::model::Vm;
use crate::store::{Faults, ManualClock, SimulatedStore};

fn objects(store: &Arc<dyn Store>) -> Objects {
    Objects::new(Arc::clone(store), Uuid::new_v4(), Arc::new(SystemHostClock))
}

#[test]
fn each_change_is_made_once_though_the_store_often_says_nothing() {
    for seed in 0..20 {
        let store = Arc::new(SimulatedStore::new(seed, Arc::new(ManualClock::default())));
        let objects = objects(&(Arc::clone(&store) as Arc<dyn Store>));
        let vm = Ref::<Vm>::new(Uuid::new_v4());
        objects.change(|change| change.put(vm, &Vm::default())).unwrap();
        store.set_faults(Faults { unknown: 300, ..Faults::default() });
        for _ in 0..50 {
            objects
                .change(|change| {
                    let mut record = change.get(vm)?;
                    record.user_version += 1;
                    change.put(vm, &record)
                })
                .unwrap();
        }
        store.set_faults(Faults::default());
        assert_eq!(objects.get(vm).unwrap().user_version, 50, "seed {seed}");
    }
}

#[test]
fn what_was_read_and_has_changed_is_decided_anew() {
    let store: Arc<dyn Store> = Arc::new(SimulatedStore::new(1, Arc::new(ManualClock::default())));
    let (ours, others) = (objects(&store), objects(&store));
    let vm = Ref::<Vm>::new(Uuid::new_v4());
    let mut decisions = 0;
    ours.change(|change| {
        decisions += 1;
        let seen = change.find(vm)?;
        if seen.is_none() {
            others.change(|change| change.put(vm, &Vm { user_version: 7, ..Vm::default() }))?;
        }
        change.put(vm, &Vm { user_version: seen.map_or(0, |vm| vm.user_version) + 1, ..Vm::default() })
    })
    .unwrap();
    assert_eq!((decisions, ours.get(vm).unwrap().user_version), (2, 8));
    assert_eq!(ours.get(Ref::<Vm>::new(Uuid::new_v4())).unwrap_err().code, "HANDLE_INVALID");
}

#[test]
fn a_refusal_from_two_moments_is_decided_anew() {
    let store: Arc<dyn Store> = Arc::new(SimulatedStore::new(1, Arc::new(ManualClock::default())));
    let (ours, others) = (objects(&store), objects(&store));
    let (one, two) = (Ref::<Vm>::new(Uuid::new_v4()), Ref::<Vm>::new(Uuid::new_v4()));
    // Both are always changed together.
    let both = |version: i64| {
        others.change(|change| {
            change.put(one, &Vm { user_version: version, ..Vm::default() })?;
            change.put(two, &Vm { user_version: version, ..Vm::default() })
        })
    };
    both(1).unwrap();
    let mut version = 1;
    let seen = ours.change(|change| {
        let first = change.get(one)?.user_version;
        if version == 1 {
            version = 2;
            both(2)?;
        }
        let second = change.get(two)?.user_version;
        if first == second { Ok(first) } else { Err(codes::internal("they differ")) }
    });
    assert_eq!(seen.unwrap(), 2);
    assert_eq!(ours.change(|_| Err::<(), _>(codes::internal("no"))).unwrap_err().code, "INTERNAL_ERROR");
}
