//! The bounds of a server.

use std::time::Duration;

/// The bounds of a [`Server`](super::Server). Whatever clients do, it takes no more than these allow: once on the socket,
/// and once from the network, so that strangers keep nobody on the host from his turn.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once, consoles among them. Further ones wait for a moment, and are then refused.
    pub connections: usize,
    /// Connections at once from one address, or one network of IPv6 hosts (/64).
    pub connections_of_address: usize,
    /// Queries at once, which read records. They are over soon, and their answers can be large.
    pub queries: usize,
    /// Changes at once that are over soon: setters, verbs that return a task, and what is asked of tasks.
    pub changes: usize,
    /// Verbs at once that may take long: those that wait for their end, and for events. Each has a thread.
    pub waits: usize,
    /// Passwords that are looked at at once, each with 19 MiB of memory.
    pub logins: usize,
    /// How long the answer to a wrong password is kept back.
    pub login_delay: Duration,
    /// How long a request waits for its turn before it is refused.
    pub turn: Duration,
    /// Bytes of the head of a request.
    pub head: usize,
    /// Bytes of the body of a request.
    pub body: usize,
    /// Bytes of the bodies of all requests that are being read or answered.
    pub bodies: usize,
    /// Bytes of all answers that clients have not taken yet. A larger one waits until it is alone.
    pub answers: usize,
    /// How long a connection may be idle, and how long the head of a request may take to arrive.
    pub idle: Duration,
    /// How long the begin of TLS may take.
    pub handshake: Duration,
    /// How long the body of a request may take to arrive.
    pub receive: Duration,
    /// How long a client may take to read an answer.
    pub send: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_of_address: 128,
            queries: 8,
            changes: 32,
            waits: 256,
            logins: 2,
            login_delay: Duration::from_secs(5),
            turn: Duration::from_secs(30),
            head: 16 << 10,
            body: 1 << 20,
            bodies: 16 << 20,
            answers: 16 << 20,
            idle: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            receive: Duration::from_secs(30),
            send: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// The threads on which verbs run.
    pub(super) fn threads(&self) -> usize {
        let verbs = self.queries.saturating_add(self.changes).saturating_add(self.waits);
        verbs.saturating_add(self.logins).max(1)
    }
}
