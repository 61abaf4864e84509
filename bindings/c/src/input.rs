//! What callers pass: checks it and converts it to the library's types.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::fmt;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::slice;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xvirt_core::config::{ByteSize, Descriptor, Uuid};
use xvirt_core::disk::BlockBackend;
use xvirt_core::net::{FrameStream, MacAddress};
use xvirt_core::seed::InterfaceAddress;
use xvirt_core::{Error, ErrorKind, Result};

use crate::backend::XvirtBlockBackend;
use crate::functions::XvirtFrameStream;
use crate::text::{XvirtStringList, XvirtStringPair, XvirtToggle};

/// The most entries of a list. More can only be a mistake, such as a count that was not set.
const MAX_COUNT: usize = 1 << 20;

/// An error for an argument that is not valid.
pub fn invalid(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, what)
}

/// The error for a number that is none of an enum's constants.
pub fn unknown(name: &str, code: u32, at: &At<'_>) -> Error {
    invalid(format!("{at}: {code} is no {name}"))
}

/// Where a value is in the arguments of a call, for messages.
pub struct At<'a> {
    parent: Option<&'a At<'a>>,
    name: &'a str,
    index: Option<usize>,
}

impl<'a> At<'a> {
    /// A parameter.
    pub fn root(name: &'a str) -> Self {
        Self { parent: None, name, index: None }
    }

    /// A member of a struct.
    pub fn field(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), name, index: None }
    }

    /// An entry of a list.
    fn entry(&'a self, index: usize) -> Self {
        Self { parent: Some(self), name: "", index: Some(index) }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (self.parent, self.index) {
            (_, Some(index)) => write!(f, "[{index}]"),
            (Some(_), None) => write!(f, ".{}", self.name),
            (None, None) => f.write_str(self.name),
        }
    }
}

/// A type of the library that C passes as a `C`.
pub trait FromC<C>: Sized {
    /// The value; none if it is not set, which is NULL or 0.
    ///
    /// # Safety
    /// Pointers in it are NULL, or point to what the header says.
    unsafe fn from_c(c: C, at: &At<'_>) -> Result<Option<Self>>;
}

/// A struct whose first member is its size, and whose other members are not set if they are zero.
///
/// # Safety
/// Any bytes are a valid value. The first member is a `usize`.
pub unsafe trait Plain: Copy {}

/// A copy of a struct of the caller, who may have been compiled with a header in which it is smaller or larger.
///
/// # Safety
/// `c` is NULL, or points to a size and that many bytes in all.
pub unsafe fn sized<T: Plain>(c: *const T, at: &At<'_>) -> Result<Option<T>> {
    if c.is_null() {
        return Ok(None);
    }
    // SAFETY: the size is there; the caller may have aligned it badly.
    let size = unsafe { c.cast::<usize>().read_unaligned() };
    let name = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
    if size < size_of::<usize>() || !size.is_multiple_of(align_of::<usize>()) || size > (1 << 16) {
        return Err(invalid(format!("{at}.struct_size is {size}: set it to sizeof({name})")));
    }
    // SAFETY: the caller says that so many bytes are there.
    let bytes = unsafe { slice::from_raw_parts(c.cast::<MaybeUninit<u8>>(), size) };
    let (known, beyond) = bytes.split_at(size.min(size_of::<T>()));
    // SAFETY: members that this library does not know are initialized, like all members.
    if beyond.iter().any(|byte| unsafe { byte.assume_init() } != 0) {
        return Err(invalid(format!("{at}: a member of {name} is set that this version of the library does not know")));
    }
    let mut copy = MaybeUninit::<T>::zeroed();
    // SAFETY: `known` has at most the size of `copy`, and does not overlap it.
    unsafe { ptr::copy_nonoverlapping(known.as_ptr(), copy.as_mut_ptr().cast(), known.len()) };
    // SAFETY: any bytes are a valid value of such a struct.
    Ok(Some(unsafe { copy.assume_init() }))
}

/// The number in an enum or a flag of the caller, which may be any.
pub fn code<E: Copy>(value: MaybeUninit<E>) -> u32 {
    let start = (&raw const value).cast::<u8>();
    match size_of::<E>() {
        // SAFETY: enums and flags are initialized by the caller, and the sizes are those of the types.
        1 => unsafe { u32::from(start.read()) },
        // SAFETY: as above.
        4 => unsafe { start.cast::<u32>().read_unaligned() },
        _ => 0,
    }
}

/// A member or an argument that is required.
pub fn need<T>(value: Option<T>, at: &At<'_>) -> Result<T> {
    value.ok_or_else(|| invalid(format!("{at} is required, but it is NULL or 0")))
}

/// An argument that is required.
pub fn argument<T>(value: Option<T>, name: &str) -> Result<T> {
    need(value, &At::root(name))
}

/// A list of the caller.
///
/// # Safety
/// `items` is NULL or points to `count` values.
pub unsafe fn items<'a, C>(items: *const C, count: usize, at: &At<'_>) -> Result<&'a [C]> {
    if count == 0 {
        return Ok(&[]);
    }
    if items.is_null() {
        return Err(invalid(format!("{at} is NULL, but its count is {count}")));
    }
    if !items.is_aligned() {
        return Err(invalid(format!("{at} is no pointer to such values: it is not aligned")));
    }
    if count > MAX_COUNT {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("{at} has {count} entries; at most {MAX_COUNT} are allowed"),
        ));
    }
    // SAFETY: as for this function.
    Ok(unsafe { slice::from_raw_parts(items, count) })
}

/// Bytes of the caller.
///
/// # Safety
/// `start` is NULL or points to `length` bytes.
pub unsafe fn bytes(start: *const u8, length: usize, at: &At<'_>) -> Result<Option<Vec<u8>>> {
    if start.is_null() {
        return if length == 0 { Ok(None) } else { Err(invalid(format!("{at} is NULL, but its length is {length}"))) };
    }
    if isize::try_from(length).is_err() {
        return Err(invalid(format!("{at} has {length} bytes, which is more than there is memory")));
    }
    // SAFETY: as for this function.
    Ok(Some(unsafe { slice::from_raw_parts(start, length) }.to_vec()))
}

/// Text of the caller.
///
/// # Safety
/// `c` is NULL or points to text that ends with a NUL.
unsafe fn raw_text<'a>(c: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: as for this function.
    (!c.is_null()).then(|| unsafe { CStr::from_ptr(c) }.to_bytes())
}

/// A copy of a descriptor of the caller.
pub fn owned(number: c_int, name: &str) -> Result<OwnedFd> {
    if number < 0 {
        return Err(invalid(format!("{name}: {number} is no descriptor of an open file")));
    }
    // SAFETY: the caller keeps it open during the call, which duplicates it. If it is not open, that fails.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned().map_err(|error| invalid(format!("{name}: descriptor {number}")).because(error))
}

pub fn descriptor(number: c_int, at: &At<'_>) -> Result<Descriptor> {
    Ok(owned(number, &at.to_string())?.into())
}

impl FromC<*const c_char> for String {
    unsafe fn from_c(c: *const c_char, at: &At<'_>) -> Result<Option<Self>> {
        // SAFETY: as for this function.
        let Some(text) = (unsafe { raw_text(c) }) else { return Ok(None) };
        let text = std::str::from_utf8(text).map_err(|error| invalid(format!("{at} is not UTF-8")).because(error))?;
        Ok(Some(text.to_owned()))
    }
}

impl FromC<*const c_char> for PathBuf {
    unsafe fn from_c(c: *const c_char, _: &At<'_>) -> Result<Option<Self>> {
        // SAFETY: as for this function.
        Ok(unsafe { raw_text(c) }.map(|text| Path::new(OsStr::from_bytes(text)).to_owned()))
    }
}

macro_rules! parsed {
    ($($name:ty),*) => {$(
        impl FromC<*const c_char> for $name {
            unsafe fn from_c(c: *const c_char, at: &At<'_>) -> Result<Option<Self>> {
                // SAFETY: as for this function.
                unsafe { parsed(c, at) }
            }
        }
    )*};
}

parsed!(Uuid, IpAddr, Ipv4Addr, MacAddress, InterfaceAddress);

/// # Safety
/// As for [`raw_text`].
unsafe fn parsed<T: FromStr<Err: fmt::Display>>(c: *const c_char, at: &At<'_>) -> Result<Option<T>> {
    // SAFETY: as for this function.
    let Some(text) = (unsafe { String::from_c(c, at) })? else { return Ok(None) };
    text.parse().map(Some).map_err(|error| invalid(format!("{at} is {text:?}, which is not valid: {error}")))
}

macro_rules! numbers {
    ($($name:ty),*) => {$(
        impl FromC<$name> for $name {
            unsafe fn from_c(c: $name, _: &At<'_>) -> Result<Option<Self>> {
                Ok((c != <$name>::default()).then_some(c))
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, usize, i32, i64, f64);

impl FromC<MaybeUninit<bool>> for bool {
    unsafe fn from_c(c: MaybeUninit<bool>, _: &At<'_>) -> Result<Option<Self>> {
        Ok((code(c) != 0).then_some(true))
    }
}

impl FromC<MaybeUninit<XvirtToggle>> for bool {
    unsafe fn from_c(c: MaybeUninit<XvirtToggle>, at: &At<'_>) -> Result<Option<Self>> {
        match code(c) {
            0 => Ok(None),
            1 => Ok(Some(true)),
            2 => Ok(Some(false)),
            other => Err(unknown("XvirtToggle", other, at)),
        }
    }
}

impl FromC<u64> for Duration {
    unsafe fn from_c(c: u64, _: &At<'_>) -> Result<Option<Self>> {
        Ok((c != 0).then_some(Self::from_nanos(c)))
    }
}

impl FromC<u64> for SystemTime {
    unsafe fn from_c(c: u64, at: &At<'_>) -> Result<Option<Self>> {
        let moment = UNIX_EPOCH.checked_add(Duration::from_nanos(c));
        Ok((c != 0).then_some(need(moment, at)?))
    }
}

impl FromC<u64> for ByteSize {
    unsafe fn from_c(c: u64, _: &At<'_>) -> Result<Option<Self>> {
        Ok((c != 0).then_some(Self::new(c)))
    }
}

impl<C: Copy, T: FromC<C>> FromC<(*const C, usize)> for Vec<T> {
    unsafe fn from_c((start, count): (*const C, usize), at: &At<'_>) -> Result<Option<Self>> {
        // SAFETY: as for this function.
        let entries = unsafe { items(start, count, at) }?;
        let entry = |(index, entry): (usize, &C)| {
            let at = at.entry(index);
            // SAFETY: as for this function.
            need(unsafe { T::from_c(*entry, &at) }?, &at)
        };
        let list: Self = entries.iter().enumerate().map(entry).collect::<Result<_>>()?;
        Ok((!list.is_empty()).then_some(list))
    }
}

impl FromC<*const XvirtStringList> for Vec<String> {
    unsafe fn from_c(c: *const XvirtStringList, at: &At<'_>) -> Result<Option<Self>> {
        // SAFETY: as for this function; a list of text has no size, since it never gets another member.
        let Some(list) = (unsafe { c.as_ref() }) else { return Ok(None) };
        // SAFETY: as above.
        Ok(Some(unsafe { Self::from_c((list.items, list.count), at) }?.unwrap_or_default()))
    }
}

impl FromC<(*const XvirtStringPair, usize)> for BTreeMap<String, String> {
    unsafe fn from_c((start, count): (*const XvirtStringPair, usize), at: &At<'_>) -> Result<Option<Self>> {
        let mut map = Self::new();
        // SAFETY: as for this function.
        for (index, pair) in unsafe { items(start, count, at) }?.iter().enumerate() {
            let at = at.entry(index);
            // SAFETY: as above.
            let (key, value) = unsafe { (String::from_c(pair.key, &at)?, String::from_c(pair.value, &at)?) };
            map.insert(need(key, &at.field("key"))?, need(value, &at.field("value"))?);
        }
        Ok((!map.is_empty()).then_some(map))
    }
}

impl FromC<*const XvirtBlockBackend> for Arc<dyn BlockBackend> {
    unsafe fn from_c(c: *const XvirtBlockBackend, _: &At<'_>) -> Result<Option<Self>> {
        // SAFETY: as for this function.
        Ok(unsafe { c.as_ref() }.map(|backend| Self::clone(&backend.0)))
    }
}

impl FromC<*const XvirtFrameStream> for Arc<FrameStream> {
    unsafe fn from_c(c: *const XvirtFrameStream, _: &At<'_>) -> Result<Option<Self>> {
        // SAFETY: as for this function.
        Ok(unsafe { c.as_ref() }.map(|stream| Self::clone(&stream.0)))
    }
}
