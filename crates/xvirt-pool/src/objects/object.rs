//! Which object a key of the store is about.

use uuid::Uuid;

use crate::model::{CLASSES, ClassTable};

/// Its references are secrets.
const SECRET: &str = "session";

/// An object of which events tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Object {
    /// The number of its class in [`CLASSES`].
    pub(crate) class: u8,
    pub(crate) uuid: Uuid,
}

impl Object {
    pub(crate) fn table(self) -> Option<&'static ClassTable> {
        CLASSES.get(usize::from(self.class)).copied()
    }

    /// The object whose record has this key.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
        let (class, uuid) = key.strip_prefix('/')?.strip_suffix("/record")?.split_once('/')?;
        let uuid = Uuid::try_parse(uuid).ok()?;
        Some(Self { class: class_number(class)?, uuid })
    }
}

/// The number of a class, by its name in any case, if events tell of it.
pub(crate) fn class_number(name: &str) -> Option<u8> {
    let number = CLASSES.iter().position(|table| table.name.eq_ignore_ascii_case(name) && table.name != SECRET)?;
    u8::try_from(number).ok()
}
