//! What happened, for people: messages of XenAPI.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;

use uuid::Uuid;

use crate::model::{DateTime, Message, MessageClass, Ref, Vm};
use crate::objects::{Change, Objects};
use crate::operation::Failure;
use crate::sync::lock;

/// How many messages are kept.
const KEPT: usize = 1000;
/// How many are removed at once when there are more.
const REMOVED_AT_ONCE: usize = 80;

/// What a message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The VM crashed, for this reason.
    Crashed(String),
    /// The VM crashed, and is started again.
    Restarting(String),
    /// The VM crashed too soon after its start to be started again.
    TooSoon(String),
    /// The VM was lost with its host.
    Lost,
    /// The service ended while it started the VM, and the worker has ended as well.
    Interrupted,
    /// The guest crashed, and is kept in memory.
    Preserved,
    /// A request to a disk failed.
    DiskError(String),
    /// Something is missing on the host, without which the VM runs nevertheless.
    Degraded(String),
}

impl News {
    fn name(&self) -> &'static str {
        match self {
            Self::Crashed(_) | Self::Restarting(_) | Self::TooSoon(_) | Self::Preserved => "VM_CRASHED",
            Self::Lost => "VM_LOST_WITH_HOST",
            Self::Interrupted => "VM_START_INTERRUPTED",
            Self::DiskError(_) => "VM_DISK_ERROR",
            Self::Degraded(_) => "VM_DEGRADED",
        }
    }

    fn body(&self) -> String {
        match self {
            Self::Crashed(reason) => format!("{reason}. The VM stays halted, as its actions_after_crash says."),
            Self::Restarting(reason) => format!("{reason}. The VM is started again, as its actions_after_crash says."),
            Self::TooSoon(reason) => format!(
                "{reason}. The VM is not started again, because it ran for too short a time: find the reason, and start it."
            ),
            Self::Lost => "The host was started again while the VM ran.".to_owned(),
            Self::Interrupted => {
                "The host service ended while it started the VM, and the VM's worker has ended as well.".to_owned()
            }
            Self::Preserved => "The guest crashed. The VM is paused, as its actions_after_crash says.".to_owned(),
            Self::DiskError(what) | Self::Degraded(what) => what.clone(),
        }
    }

    fn priority(&self) -> i64 {
        // XenServer's scale, where 1 is the worst.
        match self {
            Self::Degraded(_) => 4,
            Self::Lost => 2,
            _ => 3,
        }
    }
}

/// As the log of the service has it.
impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.body())
    }
}

/// The messages that are kept.
#[derive(Debug, Default)]
pub(crate) struct Messages(Mutex<VecDeque<Uuid>>);

impl Messages {
    /// Remembers the messages of earlier services, oldest first.
    pub(crate) fn remember(&self, messages: impl IntoIterator<Item = Uuid>) {
        lock(&self.0).extend(messages);
    }

    /// Counts a message that was written, and removes the oldest if there are too many.
    pub(crate) fn written(&self, objects: &Objects, uuid: Uuid) -> Result<(), Failure> {
        let old: Vec<Uuid> = {
            let mut kept = lock(&self.0);
            kept.push_back(uuid);
            if kept.len() < KEPT + REMOVED_AT_ONCE {
                return Ok(());
            }
            kept.drain(..REMOVED_AT_ONCE).collect()
        };
        objects.change(|change| {
            old.iter().for_each(|uuid| change.remove(Ref::<Message>::new(*uuid)));
            Ok(())
        })
    }
}

/// Writes a message about a VM, as a part of a change; `uuid` is its own.
pub(crate) fn about_vm(
    change: &mut Change<'_>,
    uuid: Uuid,
    vm: Ref<Vm>,
    news: &News,
    now: DateTime,
) -> Result<(), Failure> {
    let message = Message {
        uuid: uuid.to_string(),
        name: news.name().to_owned(),
        priority: news.priority(),
        cls: MessageClass::Vm,
        obj_uuid: vm.uuid().unwrap_or_default().to_string(),
        timestamp: now,
        body: news.body(),
    };
    change.put(Ref::new(uuid), &message)
}
