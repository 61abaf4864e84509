//! Serves XenAPI by HTTP/1.1: JSON-RPC on `/jsonrpc`, and consoles by `CONNECT /console?ref=…`. So far on a unix socket,
//! whose file says who may connect; a caller there is who the kernel says it is, and sessions are not looked at.
//!
//! One thread (`server`) accepts and does all input and output, with hyper and tokio. Verbs block, so they run on other
//! threads; `admission` says how many may at once, and `limits` has every bound. `connection` is the life of one
//! connection, `handler` answers its requests, `console` carries a console. `json_rpc` reads requests and writes answers,
//! `method` says what a name of a verb means, and `query` reads what follows the question mark of a path: these three are
//! pure, and what strangers send meets them first.

mod admission;
mod connection;
mod console;
mod handler;
pub(crate) mod json_rpc;
mod limits;
pub(crate) mod method;
pub(crate) mod query;
mod server;
mod socket;

pub use limits::Limits;
pub use server::Server;
