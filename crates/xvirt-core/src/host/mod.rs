//! What this host can do, and what to do about what it cannot.
