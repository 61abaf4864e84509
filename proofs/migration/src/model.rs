//! States, what can happen in each, and what must hold in all.

use std::collections::VecDeque;

use stateright::{Model, Property};

/// What is modelled: the protocol, or the protocol with a mistake that must be found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handover {
    /// The commit is decided by a store of the embedder, which may answer late or not at all.
    pub store: bool,
    /// Locks of the disks have no effect, as on a shared device without them: the protocol alone must be safe.
    pub without_locks: bool,
    /// Mistake: the source keeps its disks open and locked until it has sent the commit.
    pub releases_after_commit: bool,
    /// Mistake: the source runs again when no answer to its commit comes.
    pub resumes_late: bool,
    /// Mistake: the target runs when the connection breaks, without having got the commit.
    pub runs_unasked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Source,
    Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The guest runs here, and its memory is copied.
    Running,
    /// The guest is stopped; the disks are still open.
    Parked,
    /// The disks are closed and unlocked; waits for `Prepared`.
    Released,
    /// The store was asked to record the target as the owner.
    Deciding,
    /// `Commit` was sent; waits for `Committed`.
    Committing,
    /// The migration failed before the commit: the disks have to be locked and opened again.
    Reclaiming,
    /// End: the guest runs here again.
    Resumed,
    /// End: the guest runs at the target.
    Migrated,
    /// End: the guest is stopped here, because its disks are in use; said to the embedder, who can try again.
    Paused,
    /// End: the guest is stopped here, and may run at the target; said to the embedder, who decides.
    Indeterminate,
    /// End: the process was killed.
    Crashed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Waits for `Released`.
    Receiving,
    /// The disks are locked and open, and the state is loaded; waits for `Commit`.
    Prepared,
    /// The connection broke in `Prepared`: asks the store who owns the VM.
    Asking,
    /// End: the guest runs here.
    Running,
    /// End: the disks are closed and unlocked, and the memory is released.
    Aborted,
    /// End: the process was killed.
    Crashed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    Released,
    Prepared,
    Commit,
    Committed,
    Aborted,
}

/// The transaction with which the store makes the target the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transaction {
    NotSent,
    /// It will be applied, refused or lost.
    Sent,
    Applied,
    /// It will never be applied any more.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub source: Source,
    pub target: Target,
    pub to_target: VecDeque<Message>,
    pub to_source: VecDeque<Message>,
    /// What was sent before the connection broke may still arrive.
    pub connected: bool,
    pub lock: Option<Side>,
    pub transaction: Transaction,
    pub commit_sent: bool,
    /// The guest has run at the target.
    pub ran_there: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Park,
    Release,
    /// Any failure of the source before its commit: an error, a time limit, the user cancels.
    SourceFails,
    TargetReceives,
    SourceReceives,
    /// The target cannot lock, open or load.
    TargetFails,
    Break,
    /// A side notices that the connection broke, or that a time limit is over. Messages on their way to it are lost.
    SourceGivesUp,
    TargetGivesUp,
    StoreApplies,
    StoreRefuses,
    /// The source reads the outcome of its transaction, which takes the place of an answer that was lost.
    SourceReads,
    /// The source withdraws its transaction, if it was not applied.
    SourceWithdraws,
    TargetReads,
    Reclaim,
    /// The embedder tries again to run the guest here.
    Retry,
    SourceCrashes,
    TargetCrashes,
    /// The embedder decides an indeterminate outcome by what it found at the target.
    Resolve,
}

impl Handover {
    fn source_may(self, state: &State, actions: &mut Vec<Action>) {
        let withdrawn = !self.store || matches!(state.transaction, Transaction::NotSent | Transaction::Refused);
        match state.source {
            Source::Running => actions.extend([Action::Park, Action::SourceFails]),
            Source::Parked => actions.extend([Action::Release, Action::SourceFails]),
            Source::Released => actions.push(Action::SourceFails),
            Source::Deciding => {
                // The store may not answer in time.
                actions.extend([Action::SourceWithdraws, Action::SourceGivesUp]);
                if matches!(state.transaction, Transaction::Applied | Transaction::Refused) {
                    actions.push(Action::SourceReads);
                }
            }
            Source::Reclaiming if withdrawn || self.resumes_late => actions.push(Action::Reclaim),
            Source::Paused if state.lock.is_none() => actions.push(Action::Retry),
            // It can only be decided once nothing is under way at the target.
            Source::Indeterminate if matches!(state.target, Target::Running | Target::Aborted | Target::Crashed) => {
                actions.push(Action::Resolve);
            }
            _ => {}
        }
        if matches!(state.source, Source::Released | Source::Committing) {
            if !state.to_source.is_empty() {
                actions.push(Action::SourceReceives);
            }
            // A time limit can also end a wait over a connection that stands.
            actions.push(Action::SourceGivesUp);
        }
        if state.source != Source::Crashed && !(state.source == Source::Migrated) {
            actions.push(Action::SourceCrashes);
        }
    }

    fn target_may(self, state: &State, actions: &mut Vec<Action>) {
        match state.target {
            Target::Receiving | Target::Prepared => {
                if !state.to_target.is_empty() {
                    actions.push(Action::TargetReceives);
                }
                actions.extend([Action::TargetFails, Action::TargetGivesUp]);
            }
            Target::Asking => {
                if state.transaction != Transaction::Sent {
                    actions.push(Action::TargetReads);
                }
                // The store may not answer in time.
                actions.push(Action::TargetFails);
            }
            _ => {}
        }
        if state.target != Target::Crashed {
            actions.push(Action::TargetCrashes);
        }
    }
}

impl State {
    fn send(&mut self, to: Side, message: Message) {
        let queue = match to {
            Side::Source => &mut self.to_source,
            Side::Target => &mut self.to_target,
        };
        if self.connected {
            queue.push_back(message);
        }
    }

    fn unlock(&mut self, side: Side) {
        if self.lock == Some(side) {
            self.lock = None;
        }
    }

    fn abort_target(&mut self) {
        self.unlock(Side::Target);
        self.target = Target::Aborted;
        self.send(Side::Source, Message::Aborted);
    }

    fn run_target(&mut self) {
        self.target = Target::Running;
        self.ran_there = true;
        self.send(Side::Source, Message::Committed);
    }

    fn commit(&mut self, handover: Handover) {
        self.source = Source::Committing;
        self.commit_sent = true;
        self.send(Side::Target, Message::Commit);
        if handover.releases_after_commit {
            self.unlock(Side::Source);
        }
    }

    /// Takes the lock of the disks, or leaves the guest stopped.
    fn reclaim(&mut self, handover: Handover) {
        self.source = match self.lock {
            Some(Side::Target) if !handover.without_locks => Source::Paused,
            _ => {
                self.lock = Some(Side::Source);
                Source::Resumed
            }
        };
    }

    /// Whether the guest runs at the source.
    pub fn runs_here(&self) -> bool {
        matches!(self.source, Source::Running | Source::Resumed)
    }

    /// Whether the guest runs at the target.
    pub fn runs_there(&self) -> bool {
        self.target == Target::Running
    }
}

impl Model for Handover {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            source: Source::Running,
            target: Target::Receiving,
            to_target: VecDeque::new(),
            to_source: VecDeque::new(),
            connected: true,
            lock: Some(Side::Source),
            transaction: Transaction::NotSent,
            commit_sent: false,
            ran_there: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.source_may(state, actions);
        self.target_may(state, actions);
        if state.connected {
            actions.push(Action::Break);
        }
        if state.transaction == Transaction::Sent {
            actions.extend([Action::StoreApplies, Action::StoreRefuses]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Park => state.source = Source::Parked,
            Action::Release => {
                state.source = Source::Released;
                if !self.releases_after_commit {
                    state.unlock(Side::Source);
                }
                state.send(Side::Target, Message::Released);
            }
            Action::SourceFails => {
                state.source = match state.source {
                    Source::Released => Source::Reclaiming,
                    _ => Source::Resumed,
                };
                // Closing the connection tells the target.
                state.connected = false;
            }
            Action::TargetReceives => match (state.to_target.pop_front()?, state.target) {
                (Message::Released, Target::Receiving)
                    if state.lock.is_none() || self.without_locks || self.releases_after_commit =>
                {
                    // With the mistake it has to go without the lock.
                    if !self.releases_after_commit {
                        state.lock = Some(Side::Target);
                    }
                    state.target = Target::Prepared;
                    state.send(Side::Source, Message::Prepared);
                }
                (Message::Commit, Target::Prepared) => state.run_target(),
                _ => state.abort_target(),
            },
            Action::SourceReceives => match (state.to_source.pop_front()?, state.source) {
                (Message::Prepared, Source::Released) if self.store => {
                    state.source = Source::Deciding;
                    state.transaction = Transaction::Sent;
                }
                (Message::Prepared, Source::Released) => state.commit(*self),
                (Message::Committed, Source::Committing) => state.source = Source::Migrated,
                // The target confirms that it never ran and never will.
                (Message::Aborted, Source::Released | Source::Committing) if !self.store => {
                    state.source = Source::Reclaiming;
                }
                (Message::Aborted, Source::Released) => state.source = Source::Reclaiming,
                (Message::Aborted, Source::Committing) => state.source = Source::Indeterminate,
                _ => return None,
            },
            Action::TargetFails => state.abort_target(),
            Action::Break => state.connected = false,
            Action::SourceGivesUp => {
                state.connected = false;
                state.to_source.clear();
                state.source = match state.source {
                    Source::Released => Source::Reclaiming,
                    _ if self.resumes_late => Source::Reclaiming,
                    _ => Source::Indeterminate,
                };
            }
            Action::TargetGivesUp => {
                state.connected = false;
                state.to_target.clear();
                match state.target {
                    Target::Prepared if self.runs_unasked => state.run_target(),
                    Target::Prepared if self.store => state.target = Target::Asking,
                    _ => state.abort_target(),
                }
            }
            Action::StoreApplies => state.transaction = Transaction::Applied,
            Action::StoreRefuses => state.transaction = Transaction::Refused,
            Action::SourceReads => match state.transaction {
                Transaction::Applied => state.commit(*self),
                _ => {
                    state.source = Source::Reclaiming;
                    state.connected = false;
                }
            },
            Action::SourceWithdraws => match state.transaction {
                Transaction::Applied => state.commit(*self),
                _ => {
                    state.transaction = Transaction::Refused;
                    state.source = Source::Reclaiming;
                    state.connected = false;
                }
            },
            Action::TargetReads => match state.transaction {
                Transaction::Applied => state.run_target(),
                _ => state.abort_target(),
            },
            Action::Reclaim | Action::Retry => state.reclaim(*self),
            Action::SourceCrashes => {
                state.source = Source::Crashed;
                state.connected = false;
                state.unlock(Side::Source);
            }
            Action::TargetCrashes => {
                state.target = Target::Crashed;
                state.connected = false;
                state.unlock(Side::Target);
            }
            Action::Resolve => match state.ran_there {
                true => state.source = Source::Migrated,
                false => state.reclaim(*self),
            },
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one copy runs", |_, state: &State| !(state.runs_here() && state.runs_there())),
            Property::always("whoever runs holds the disks", |model: &Self, state: &State| {
                model.without_locks
                    || (!state.runs_here() || state.lock == Some(Side::Source))
                        && (!state.runs_there() || state.lock == Some(Side::Target))
            }),
            Property::always("nobody keeps disks that it does not use", |model: &Self, state: &State| {
                match state.lock {
                    _ if model.without_locks => true,
                    Some(Side::Source) => state.runs_here() || state.source == Source::Parked,
                    Some(Side::Target) => matches!(state.target, Target::Prepared | Target::Asking | Target::Running),
                    None => true,
                }
            }),
            Property::always("a guest that runs at the target is not reported as stopped", |_, state: &State| {
                !(state.source == Source::Paused && state.runs_there())
            }),
            Property::always("a guest that ran at the target never runs at the source again", |_, state: &State| {
                !(state.ran_there && state.source == Source::Resumed)
            }),
            Property::always(
                "the source believes that it is migrated only if the guest ran there",
                |_, state: &State| state.source != Source::Migrated || state.ran_there,
            ),
            Property::always(
                "the outcome is indeterminate only after a commit or a transaction",
                |_, state: &State| {
                    let decided = state.commit_sent || state.transaction != Transaction::NotSent;
                    state.source != Source::Indeterminate || decided
                },
            ),
            Property::always("every end is one that the documentation names", |model: &Self, state: &State| {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                let goes_on =
                    |action: &Action| !matches!(action, Action::SourceCrashes | Action::TargetCrashes | Action::Break);
                actions.iter().any(goes_on) || state.is_named_end()
            }),
            Property::sometimes("a migration succeeds", |_, state: &State| {
                state.source == Source::Migrated && state.runs_there()
            }),
            Property::sometimes("a failed migration ends where it began", |_, state: &State| {
                state.source == Source::Resumed && state.target == Target::Aborted
            }),
            Property::sometimes("an outcome is indeterminate", |_, state: &State| {
                state.source == Source::Indeterminate
            }),
        ]
    }
}

impl State {
    /// Whether nothing is left to do: the guest runs, or its loss was a crash, or the embedder was told that it is
    /// stopped.
    fn is_named_end(&self) -> bool {
        let source = matches!(
            self.source,
            Source::Resumed | Source::Migrated | Source::Paused | Source::Indeterminate | Source::Crashed
        );
        source && matches!(self.target, Target::Running | Target::Aborted | Target::Crashed)
    }
}
