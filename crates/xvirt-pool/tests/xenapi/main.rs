//! XenAPI as clients meet it on a socket, with verbs that are made up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bounds;
mod calls;
mod consoles;
mod life;
mod network;
mod support;
mod xml;
