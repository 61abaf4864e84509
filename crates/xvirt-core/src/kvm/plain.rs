//! Structures of KVM as their bytes (Linux `arch/x86/include/uapi/asm/kvm.h`), for saved state.
//!
//! They are part of the kernel's interface to programs, so their layout does not change.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Writes the bytes of `value`.
pub(crate) fn serialize<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: IntoBytes + Immutable,
    S: Serializer,
{
    serializer.serialize_bytes(value.as_bytes())
}

/// Reads a value from exactly as many bytes as it has.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromBytes,
    D: Deserializer<'de>,
{
    struct Bytes<T>(PhantomData<T>);

    impl<T: FromBytes> Visitor<'_> for Bytes<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} bytes", size_of::<T>())
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<T, E> {
            T::read_from_bytes(bytes).map_err(|_| E::invalid_length(bytes.len(), &self))
        }
    }

    deserializer.deserialize_bytes(Bytes(PhantomData))
}
