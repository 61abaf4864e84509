//! References to objects.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::record::Class;
use super::value_error::Malformed;

const PREFIX: &str = "OpaqueRef:";
const NULL: &str = "OpaqueRef:NULL";
/// The length of a UUID with its dashes, in bytes.
const UUID_LENGTH: usize = 36;
/// The class whose references are secrets.
const SECRET: &str = "session";

/// A reference to an object of class `C`, or to none: `OpaqueRef:` and the UUID of the object, or `OpaqueRef:NULL`.
///
/// An empty text is read as the null reference, because clients write it so. The nil UUID is not the UUID of an object,
/// so that it is the null reference too. `Debug` does not show a reference to a session, which is as good as the
/// password of its user.
pub struct Ref<C> {
    uuid: Uuid,
    class: PhantomData<fn() -> C>,
}

impl<C> Ref<C> {
    /// The reference to no object.
    pub const NULL: Self = Self { uuid: Uuid::nil(), class: PhantomData };

    /// The reference to the object with this UUID.
    pub const fn new(uuid: Uuid) -> Self {
        Self { uuid, class: PhantomData }
    }

    /// Whether it refers to no object.
    pub fn is_null(&self) -> bool {
        self.uuid.is_nil()
    }

    /// The UUID of the object, if it refers to one.
    pub fn uuid(&self) -> Option<Uuid> {
        (!self.is_null()).then_some(self.uuid)
    }
}

impl<C> Default for Ref<C> {
    fn default() -> Self {
        Self::NULL
    }
}

impl<C> Clone for Ref<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Ref<C> {}

impl<C> PartialEq for Ref<C> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}

impl<C> Eq for Ref<C> {}

impl<C> PartialOrd for Ref<C> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<C> Ord for Ref<C> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.uuid.cmp(&other.uuid)
    }
}

impl<C> Hash for Ref<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<C> fmt::Display for Ref<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uuid() {
            Some(uuid) => write!(f, "{PREFIX}{uuid}"),
            None => f.write_str(NULL),
        }
    }
}

impl<C: Class> fmt::Debug for Ref<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match C::TABLE.name {
            SECRET if !self.is_null() => write!(f, "{SECRET} OpaqueRef:(secret)"),
            class => write!(f, "{class} {self}"),
        }
    }
}

impl<C> FromStr for Ref<C> {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() || text == NULL {
            return Ok(Self::NULL);
        }
        let uuid = text.strip_prefix(PREFIX).filter(|rest| rest.len() == UUID_LENGTH);
        let uuid = uuid.and_then(|uuid| Uuid::try_parse(uuid).ok());
        uuid.map(Self::new)
            .ok_or_else(|| Malformed::new(text, "a reference", "use OpaqueRef: and a UUID, or OpaqueRef:NULL"))
    }
}

impl<C> Serialize for Ref<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, C> Deserialize<'de> for Ref<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Session, Vm};
    use super::*;

    const UUID: &str = "6d3ab9ad-4b8f-4d77-8cf0-0b3b1f1dd6a1";

    #[test]
    fn a_reference_is_the_uuid_of_its_object() {
        let text = format!("OpaqueRef:{UUID}");
        let vm: Ref<Vm> = text.parse().unwrap();
        assert_eq!((vm.to_string(), vm.uuid().unwrap().to_string()), (text.clone(), UUID.to_owned()));
        assert_eq!(serde_json::to_value(vm).unwrap(), text);
        assert_eq!(format!("{vm:?}"), format!("VM {text}"));
    }

    #[test]
    fn nothing_is_referred_to_by_null_and_by_an_empty_text() {
        for text in ["", "OpaqueRef:NULL", "OpaqueRef:00000000-0000-0000-0000-000000000000"] {
            let none: Ref<Vm> = text.parse().unwrap();
            assert_eq!((none, none.uuid(), none.to_string()), (Ref::NULL, None, NULL.to_owned()), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let braces = format!("OpaqueRef:{{{}}}", &UUID[2..]);
        let short = format!("OpaqueRef:{}", UUID.replace('-', ""));
        for text in [UUID, "OpaqueRef:", "OpaqueRef:1", "Ref:1", "opaqueref:NULL", &braces, &short] {
            let error = text.parse::<Ref<Vm>>().unwrap_err().to_string();
            assert!(error.ends_with("is not a reference; use OpaqueRef: and a UUID, or OpaqueRef:NULL"), "{error}");
        }
    }

    #[test]
    fn the_reference_of_a_session_is_not_shown() {
        let session: Ref<Session> = format!("OpaqueRef:{UUID}").parse().unwrap();
        assert_eq!(format!("{session:?}"), "session OpaqueRef:(secret)");
    }
}
