//! Who calls a verb.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::model::{Ref, RoleName, Roles, User};

/// Who calls a verb.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// A program on this host that may do everything: the user with this number (`SO_PEERCRED`), or the program that
    /// holds the host itself.
    Local {
        /// The number of the user.
        uid: u32,
    },
    /// Whoever has a session.
    Session {
        /// What the session stands for.
        session: Arc<Identity>,
        /// Where the call comes from; `None` on the socket of this host.
        from: Option<IpAddr>,
    },
}

/// What a session stands for. The reference of the session, which is a secret, is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The UUID in the record of the session.
    pub session: Uuid,
    /// Who has logged in.
    pub who: Who,
}

/// Who has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Who {
    /// A program on this host that may do everything: the user of the operating system with this number.
    Local(u32),
    /// A user of the pool.
    User {
        /// The user.
        user: Ref<User>,
        /// The name that it logs in with.
        name: String,
        /// What it may do.
        role: RoleName,
    },
}

/// A wish to log in.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Login {
    /// The name of the user.
    pub user: String,
    /// The password.
    pub password: String,
    /// The name that the client gives itself.
    pub originator: String,
    /// Who wishes it, if the kernel says that: the user with this number, on the socket of this host.
    pub local: Option<u32>,
    /// Where it comes from; `None` on the socket of this host.
    pub from: Option<IpAddr>,
}

impl Caller {
    /// Whether somebody with one of these roles may do what it wishes to do.
    pub fn has_one_of(&self, roles: Roles) -> bool {
        self.role().is_none_or(|role| roles.contains(role))
    }

    /// Its role; `None` if it may do everything.
    pub fn role(&self) -> Option<RoleName> {
        match self {
            Self::Local { .. } => None,
            Self::Session { session, .. } => match &session.who {
                Who::Local(_) => None,
                Who::User { role, .. } => Some(*role),
            },
        }
    }

    /// The failure if its role does not allow what it wishes to do.
    #[cfg(any(feature = "host", feature = "xenapi"))]
    pub(crate) fn permission_denied(&self, permission: &str, roles: Roles) -> super::Failure {
        let role = self.role().map_or("none", RoleName::as_str);
        let allowed =
            roles.iter().filter(|role| *role != RoleName::ClientCert).map(RoleName::as_str).collect::<Vec<_>>();
        let allowed = if allowed.is_empty() { "root on the host itself".to_owned() } else { allowed.join(", ") };
        let message = format!("the role {role} does not allow this; it takes one of: {allowed}");
        super::Failure::new("RBAC_PERMISSION_DENIED", [permission.to_lowercase(), message])
    }

    /// Where the call comes from; `None` on this host.
    pub fn from(&self) -> Option<IpAddr> {
        match self {
            Self::Local { .. } => None,
            Self::Session { from, .. } => *from,
        }
    }
}

impl Login {
    /// A wish with a name and a password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        let (user, password) = (user.into(), password.into());
        Self { user, password, originator: String::new(), local: None, from: None }
    }
}

/// For logs and records: `uid 0`, or `user alice` and the UUID of the user.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { uid } => write!(f, "uid {uid}"),
            Self::Session { session, .. } => session.who.fmt(f),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(uid) => write!(f, "uid {uid}"),
            Self::User { user, name, .. } => write!(f, "user {name} {}", user.uuid().unwrap_or_default()),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, originator, local, from, .. } = self;
        let mut shown = f.debug_struct("Login");
        shown.field("user", user).field("originator", originator).field("local", local).field("from", from);
        shown.finish_non_exhaustive()
    }
}
