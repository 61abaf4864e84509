//! Enumerations: closed sets of texts.

/// An enumeration of XenAPI.
#[derive(Debug, PartialEq, Eq)]
pub struct Enumeration {
    /// Its name.
    pub name: &'static str,
    /// Its values, in the order of XenAPI.
    pub values: &'static [&'static str],
}

/// Defines an enumeration with XenAPI's name and spellings, which `Display`, `FromStr` and serde use. Other values are
/// an error.
macro_rules! enumeration {
    ($type:ident = $name:literal { $($variant:ident = $value:literal,)+ }) => {
        #[doc = concat!("`", $name, "`.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum $type {
            $($variant,)+
        }

        impl $type {
            /// Its name and the spellings of its values.
            pub const TABLE: &'static $crate::model::Enumeration =
                &$crate::model::Enumeration { name: $name, values: &[$($value),+] };
            /// All values, in the order of XenAPI.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The spelling of XenAPI.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::model::Malformed;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($value => Ok(Self::$variant),)+
                    _ => Err($crate::model::Malformed::value_of(text, Self::TABLE)),
                }
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(super) use enumeration;
