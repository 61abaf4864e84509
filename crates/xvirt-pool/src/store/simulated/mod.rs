//! A store in memory that has the faults of a store of several hosts, at moments that follow from a seed.
//!
//! `state` is the store without faults, `watch` reads its changes.

mod state;
mod watch;

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use self::state::State;
use super::watch::Bell;
use super::{Clock, Cursor, Lease, LeaseId, Outcome, Page, Pair, Position, Revision, Store, Transaction, Watch};
use super::{key, lease, snapshot};
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// How often a [`SimulatedStore`] fails: each is out of a thousand calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The outcome of a transaction is unknown. It was committed, never is, or is at a later call.
    pub unknown: u16,
    /// A call fails with [`Unavailable`](ErrorKind::Unavailable).
    pub unavailable: u16,
    /// A watch ends with [`Unavailable`](ErrorKind::Unavailable).
    pub lost_watch: u16,
    /// Before a call, the store is compacted up to its newest revision.
    pub compaction: u16,
}

/// A store in memory, for tests and simulations.
///
/// Used from one thread, it does the same again for the same seed and the same calls.
pub struct SimulatedStore {
    shared: Arc<Shared>,
}

struct Shared {
    simulation: Mutex<Simulation>,
    clock: Arc<dyn Clock>,
    bell: Arc<Bell>,
}

struct Simulation {
    state: State,
    faults: Faults,
    quorum: bool,
    /// Transactions of unknown outcome that may still be committed.
    undecided: Vec<Transaction>,
    /// How often all watches were lost.
    connection: u64,
    random: u64,
}

impl SimulatedStore {
    /// An empty store, in epoch 1.
    pub fn new(seed: u64, clock: Arc<dyn Clock>) -> Self {
        Self::with(State::new(Cursor { epoch: 1, revision: Revision::default() }), seed, clock)
    }

    /// A store with the contents of a [snapshot](Store::snapshot), as
    /// [`SqliteStore::restore`](super::SqliteStore::restore).
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt), [`Unsupported`](ErrorKind::Unsupported).
    pub fn restore(from: &mut dyn Read, after: u64, seed: u64, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut pairs = Vec::new();
        let cursor = snapshot::read(from, after, &mut |pair| {
            pairs.push(pair);
            Ok(())
        })?;
        let mut state = State::new(cursor);
        pairs.into_iter().for_each(|pair| state.insert(pair, None));
        Ok(Self::with(state, seed, clock))
    }

    fn with(state: State, seed: u64, clock: Arc<dyn Clock>) -> Self {
        let bell = Arc::new(Bell::default());
        bell.ring(state.position().cursor.revision);
        let simulation = Simulation {
            state,
            faults: Faults::default(),
            quorum: true,
            undecided: Vec::new(),
            connection: 0,
            random: seed,
        };
        Self { shared: Arc::new(Shared { simulation: Mutex::new(simulation), clock, bell }) }
    }

    /// Sets how often the store fails from now on.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.shared.simulation).faults = faults;
    }

    /// Loses the quorum: only reads at a revision, [`position`](Store::position) and watches work, and no lease ends. With
    /// the quorum comes a new leader.
    pub fn set_quorum(&self, quorum: bool) {
        let mut simulation = lock(&self.shared.simulation);
        if quorum && !simulation.quorum {
            simulation.state.leases.restart(self.shared.clock.now());
        }
        simulation.quorum = quorum;
    }

    /// Changes the leader: the time of all leases begins again.
    pub fn change_leader(&self) {
        self.shared.enter().state.leases.restart(self.shared.clock.now());
    }

    /// Ends all watches with [`Unavailable`](ErrorKind::Unavailable).
    pub fn lose_watches(&self) {
        lock(&self.shared.simulation).connection += 1;
        self.shared.bell.wake();
    }
}

impl Shared {
    /// Lets happen what happens between two calls.
    fn enter(&self) -> MutexGuard<'_, Simulation> {
        let mut simulation = lock(&self.simulation);
        simulation.settle(self.clock.now());
        self.bell.ring(simulation.state.position().cursor.revision);
        simulation
    }

    /// As [`enter`](Self::enter), for a call that needs a quorum.
    fn enter_quorum(&self) -> Result<MutexGuard<'_, Simulation>> {
        let mut simulation = self.enter();
        let unavailable = simulation.faults.unavailable;
        let why = if !simulation.quorum {
            "there is no quorum"
        } else if simulation.chance(unavailable) {
            "a fault was simulated"
        } else {
            return Ok(simulation);
        };
        Err(Error::new(ErrorKind::Unavailable, "the store is unavailable").because(why).with_remedy("try again later"))
    }
}

impl Simulation {
    fn settle(&mut self, now: Duration) {
        if !self.quorum {
            return;
        }
        for lease in self.state.leases.due(now) {
            self.state.end_lease(lease);
        }
        for transaction in std::mem::take(&mut self.undecided) {
            match self.random() % 8 {
                // What its outcome is, nobody learns.
                0 | 1 => drop(self.state.transaction(&transaction, now)),
                2 => {}
                _ => self.undecided.push(transaction),
            }
        }
        if self.chance(self.faults.compaction) {
            self.state.compact(self.state.position().cursor.revision);
        }
    }

    fn transaction(&mut self, transaction: &Transaction, now: Duration) -> Result<Outcome> {
        if !self.chance(self.faults.unknown) {
            return self.state.transaction(transaction, now);
        }
        match self.random() % 3 {
            0 => drop(self.state.transaction(transaction, now)),
            1 => self.undecided.push(transaction.clone()),
            _ => {}
        }
        Ok(Outcome::Unknown)
    }

    fn chance(&mut self, of_a_thousand: u16) -> bool {
        of_a_thousand > 0 && self.random() % 1000 < u64::from(of_a_thousand)
    }

    /// The next number of SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.random;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}

impl Drop for SimulatedStore {
    fn drop(&mut self) {
        self.shared.bell.end();
    }
}

impl fmt::Debug for SimulatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedStore").finish_non_exhaustive()
    }
}

impl Store for SimulatedStore {
    fn position(&self) -> Result<Position> {
        Ok(self.shared.enter().state.position())
    }

    fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Pair>> {
        key::check(key)?;
        let simulation = if at.is_some() { self.shared.enter() } else { self.shared.enter_quorum()? };
        simulation.state.get(key, at)
    }

    fn range(&self, prefix: &str, from: Option<&str>, limit: usize, at: Option<Revision>) -> Result<Page> {
        key::check_range(prefix, from, limit)?;
        let simulation = if at.is_some() { self.shared.enter() } else { self.shared.enter_quorum()? };
        simulation.state.range(prefix, from, limit, at)
    }

    fn transaction(&self, transaction: &Transaction) -> Result<Outcome> {
        transaction.check()?;
        let mut simulation = self.shared.enter_quorum()?;
        let outcome = simulation.transaction(transaction, self.shared.clock.now());
        self.shared.bell.ring(simulation.state.position().cursor.revision);
        outcome
    }

    fn watch(&self, prefix: &str, cursor: Cursor) -> Result<Box<dyn Watch>> {
        key::check_prefix(prefix)?;
        let simulation = self.shared.enter();
        simulation.state.position().check_cursor(cursor)?;
        Ok(Box::new(watch::SimulatedWatch::new(&self.shared, simulation.connection, prefix, cursor)))
    }

    fn grant(&self, ttl: Duration) -> Result<Lease> {
        lease::check_ttl(ttl)?;
        Ok(self.shared.enter_quorum()?.state.grant(ttl, self.shared.clock.now()))
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.shared.enter_quorum()?.state.leases.keep_alive(lease, self.shared.clock.now())
    }

    fn revoke(&self, lease: LeaseId) -> Result<()> {
        let mut simulation = self.shared.enter_quorum()?;
        if !simulation.state.leases.is_held(lease, self.shared.clock.now()) {
            return Err(lease::not_found(lease));
        }
        simulation.state.end_lease(lease);
        self.shared.bell.ring(simulation.state.position().cursor.revision);
        Ok(())
    }

    fn compact(&self, revision: Revision) -> Result<()> {
        let mut simulation = self.shared.enter_quorum()?;
        simulation.state.position().check(revision)?;
        simulation.state.compact(revision);
        Ok(())
    }
}
