//! Serves XenAPI by HTTP/1.1: XML-RPC, JSON-RPC on `/jsonrpc`, and consoles by `CONNECT /console?ref=…`; on a unix socket,
//! whose file says who may connect and where the kernel says who a caller is, and on ports of TCP, with TLS or without, where
//! a session says that.
//!
//! One thread (`server`) accepts and does all input and output, with hyper and tokio. Verbs block, so they run on other
//! threads; `admission` says how many may at once, `room` how many connections there are, and `limits` has every bound.
//! `listener` accepts, `certificate` is what TLS shows, `connection` is the life of one connection. `handler` answers its
//! requests, `login` those that make a session, `console` carries a console; `authentication` says who asks for what is no
//! verb, and `throttle` how often a login may fail.
//!
//! `rpc` reads requests and writes answers in two notations, which are `json_rpc` and `xml_rpc`; `method`
//! says what a name of a verb means, and `query` reads what follows the question mark of a path. These are
//! pure, and what strangers send meets them first.

mod admission;
mod authentication;
mod certificate;
mod connection;
mod console;
mod handler;
pub(crate) mod json_rpc;
mod limits;
mod listener;
mod login;
pub(crate) mod method;
pub(crate) mod query;
mod room;
pub(crate) mod rpc;
mod server;
mod socket;
mod throttle;
pub(crate) mod xml_rpc;

pub use certificate::Certificate;
#[cfg(feature = "host")]
pub(crate) use certificate::replace as install_certificate;
pub use limits::Limits;
pub use listener::Listeners;
pub use server::Server;
