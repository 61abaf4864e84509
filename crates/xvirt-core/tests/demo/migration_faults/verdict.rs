//! What must hold however a migration ends, as the model in `proofs/migration` says.

use super::cases::{Case, Decider, Fault, Scenario, Side};

/// How a side ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    #[default]
    NotYet,
    Migrated,
    Resumed,
    Paused,
    Indeterminate,
    Running,
    Aborted,
    Killed,
}

/// What has happened.
#[derive(Debug, Default)]
pub struct Facts {
    pub source: End,
    pub target: End,
    /// The fault of the case has happened.
    pub hit: bool,
    /// Whom the store names at the end.
    pub owner: Option<Side>,
    /// The guest was stopped at the source, and its disks closed.
    released: bool,
    /// The source has taken the guest back.
    reclaimed: bool,
    /// The source has sent the commit.
    committed: bool,
    /// The phases in which the target was.
    asked: bool,
}

impl Facts {
    pub fn have_ended(&self) -> bool {
        self.source != End::NotYet && self.target != End::NotYet
    }

    /// Takes what a side said.
    pub fn note(&mut self, side: usize, word: &str) {
        match word {
            "phase Released" => self.released = true,
            "phase Reclaiming" => self.reclaimed = true,
            "phase Asking" => self.asked = true,
            "has committed" => self.committed = true,
            "commits" => assert!(self.released && !self.reclaimed, "a commit before the disks are closed: {self:?}"),
            word => {
                let Some(end) = word.strip_prefix("ended ") else { return };
                let ended = if side == Side::Source as usize { &mut self.source } else { &mut self.target };
                // What it said before does not count any more, and may arrive late.
                if *ended == End::Killed {
                    return;
                }
                *ended = match end.split(' ').next() {
                    Some("Migrated") => End::Migrated,
                    Some("Resumed") => End::Resumed,
                    Some("Paused") => End::Paused,
                    Some("Indeterminate") => End::Indeterminate,
                    Some("Running") => End::Running,
                    Some("Aborted") => End::Aborted,
                    Some("Killed") => End::Killed,
                    _ => panic!("{word}"),
                };
            }
        }
    }

    /// Whether the target had the right to run the guest.
    fn may_run_there(&self) -> bool {
        self.committed || self.owner == Some(Side::Target)
    }

    /// Whether the guest runs at the target, or may have run before the target was killed.
    pub fn may_have_run_there(&self) -> bool {
        self.target == End::Running || self.target == End::Killed && self.may_run_there()
    }

    pub fn check(&self, case: &Case) {
        if self.target == End::Running {
            assert!(self.released && !self.reclaimed, "the source did not stop for good: {self:?}");
            assert!(self.may_run_there(), "the target runs without a commit: {self:?}");
            assert!(!self.asked || self.owner == Some(Side::Target), "the store does not name the target: {self:?}");
        }
        match self.source {
            End::Migrated => {
                assert!(self.committed && matches!(self.target, End::Running | End::Killed), "{self:?}");
            }
            End::Resumed | End::Paused => {
                assert_ne!(self.target, End::Running, "{self:?}");
                assert_ne!(self.owner, Some(Side::Target), "taken back from its owner: {self:?}");
                assert!(!self.committed || self.target == End::Aborted, "taken back after the commit: {self:?}");
            }
            End::Indeterminate => {
                let lost = case.decider == Decider::LostStore;
                assert!(self.may_run_there() || lost, "only a commit makes it indeterminate: {self:?}");
            }
            End::Killed => assert_eq!(case.fault, Fault::Kill(Side::Source), "{self:?}"),
            end => panic!("{end:?} at the source"),
        }
        if self.source == End::Paused {
            let held = matches!(case.fault, Fault::Lock | Fault::Hide | Fault::Stop(Side::Target) | Fault::Hold);
            assert!(held, "nothing keeps the source from opening its disks: {self:?}");
        }
        self.check_expected(case);
    }

    /// What this fault has to lead to.
    fn check_expected(&self, case: &Case) {
        let ends = (self.source, self.target);
        match case.fault {
            // The disks' blocks are there, and the target writes nothing else.
            Fault::Fill if case.scenario == Scenario::Good && case.decider != Decider::LostStore => {
                assert_eq!(ends, (End::Migrated, End::Running), "on a full file system");
            }
            Fault::Kill(Side::Target) if case.is_early() => assert_eq!(ends, (End::Resumed, End::Killed)),
            Fault::Kill(Side::Source) if case.is_early() => assert_eq!(ends, (End::Killed, End::Aborted)),
            Fault::Cut | Fault::Lose if case.is_early() => assert_eq!(ends, (End::Resumed, End::Aborted)),
            _ => {}
        }
        if case.scenario != Scenario::Good {
            assert_ne!(self.target, End::Running, "{self:?}");
        }
    }
}
