//! What happened. `news` are messages of XenAPI, which are in the store and so outlive the service.
//!
//! How every object changes is read from the store itself, by one watch for all callers: `feed` remembers which objects
//! were changed lately and wakes the callers that wait for one of them; `history` makes one event of all changes of an
//! object; `wanted` is what a caller subscribes to, `token` where it has got to; `batch` is what it is given.

mod batch;
mod feed;
mod history;
mod news;
mod token;
mod wanted;

pub(crate) use batch::{Told, batch, old_events};
pub(crate) use feed::{Feed, Found};
pub(crate) use news::{Messages, News, about_vm};
pub(crate) use token::{parse as parse_token, text as token_text};
pub(crate) use wanted::Wanted;
