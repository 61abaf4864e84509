//! The calls in progress, so that a call that does not return can be named.

use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any call may take, even on a busy machine: no timeout exceeds a second.
const BOUND: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Call {
    number: u64,
    thread: String,
    vm: String,
    what: &'static str,
    since: Instant,
}

#[derive(Debug, Default)]
struct Calls {
    number: u64,
    under_way: Vec<Call>,
    over: bool,
}

/// The calls in progress.
#[derive(Debug, Default)]
pub struct Watch {
    calls: Mutex<Calls>,
    ended: Condvar,
}

impl Watch {
    /// Makes a call, and returns how long it took.
    pub fn during<T>(&self, vm: &str, what: &'static str, call: impl FnOnce() -> T) -> (T, Duration) {
        let (number, began) = (self.begin(vm, what), Instant::now());
        let result = call();
        self.calls.lock().unwrap().under_way.retain(|call| call.number != number);
        (result, began.elapsed())
    }

    fn begin(&self, vm: &str, what: &'static str) -> u64 {
        let mut calls = self.calls.lock().unwrap();
        calls.number += 1;
        let number = calls.number;
        let thread = thread::current().name().unwrap_or("?").to_owned();
        calls.under_way.push(Call { number, thread, vm: vm.to_owned(), what, since: Instant::now() });
        number
    }

    /// Aborts the process if a call does not return, until [`end`](Self::end).
    pub fn guard(&self, seed: u64) {
        let mut calls = self.calls.lock().unwrap();
        while !calls.over {
            if calls.under_way.iter().any(|call| call.since.elapsed() > BOUND) {
                eprintln!("a call has not returned within {BOUND:?}; the seed is {seed}. Under way:");
                for call in &calls.under_way {
                    eprintln!("  {}: {} of VM {} for {:?}", call.thread, call.what, call.vm, call.since.elapsed());
                }
                std::process::abort();
            }
            calls = self.ended.wait_timeout(calls, Duration::from_secs(1)).unwrap().0;
        }
    }

    pub fn end(&self) {
        self.calls.lock().unwrap().over = true;
        self.ended.notify_all();
    }
}
