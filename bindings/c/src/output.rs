//! What calls return: results in arenas of their own, text and bytes, numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xvirt_core::config::{ByteSize, Descriptor, Uuid};
use xvirt_core::disk::BlockBackend;
use xvirt_core::net::{FrameStream, MacAddress};
use xvirt_core::seed::InterfaceAddress;
use xvirt_core::{Error, ErrorKind, Result};

use crate::arena::Arena;
use crate::backend::XvirtBlockBackend;
use crate::functions::XvirtFrameStream;
use crate::input::invalid;
use crate::text::{XvirtStringList, XvirtStringPair, XvirtStringPairList, XvirtToggle};

/// A type of the library that C gets as a `C`, whose parts are in an arena.
pub trait ToC<C> {
    fn to_c(&self, arena: &Arena) -> C;
}

/// A type of the library that is a struct in C.
pub trait Struct {
    type C: Copy + 'static;

    fn to_struct(&self, arena: &Arena) -> Self::C;
}

impl<T: Struct> ToC<*const T::C> for T {
    fn to_c(&self, arena: &Arena) -> *const T::C {
        arena.keep(self.to_struct(arena))
    }
}

impl<C, T: ToC<*const C>> ToC<*const C> for Option<T> {
    fn to_c(&self, arena: &Arena) -> *const C {
        self.as_ref().map_or(ptr::null(), |value| value.to_c(arena))
    }
}

impl<E: Copy, T: ToC<MaybeUninit<E>>> ToC<MaybeUninit<E>> for Option<T> {
    fn to_c(&self, arena: &Arena) -> MaybeUninit<E> {
        self.as_ref().map_or(number(0), |value| value.to_c(arena))
    }
}

macro_rules! same {
    ($($name:ty),*) => {$(
        impl ToC<$name> for $name {
            fn to_c(&self, _: &Arena) -> $name {
                *self
            }
        }
    )*};
}

same!(u8, u16, u32, u64, usize, i32, i64, f64);

macro_rules! text {
    ($($name:ty),*) => {$(
        impl ToC<*const c_char> for $name {
            fn to_c(&self, arena: &Arena) -> *const c_char {
                arena.text(&self.text())
            }
        }
    )*};
}

text!(String, &str, Cow<'_, str>, PathBuf, Uuid, IpAddr, Ipv4Addr, MacAddress, InterfaceAddress);

/// What is text in C.
pub trait Text {
    fn text(&self) -> Cow<'_, [u8]>;
}

macro_rules! shown {
    ($($name:ty),*) => {$(
        impl Text for $name {
            fn text(&self) -> Cow<'_, [u8]> {
                self.to_string().into_bytes().into()
            }
        }
    )*};
}

shown!(Uuid, IpAddr, Ipv4Addr, MacAddress, InterfaceAddress);

macro_rules! as_bytes {
    ($($name:ty => $bytes:expr),*) => {$(
        impl Text for $name {
            fn text(&self) -> Cow<'_, [u8]> {
                let bytes: fn(&Self) -> &[u8] = $bytes;
                bytes(self).into()
            }
        }
    )*};
}

as_bytes!(
    str => |text| text.as_bytes(),
    String => |text| text.as_bytes(),
    Cow<'_, str> => |text| text.as_bytes(),
    Path => |path| path.as_os_str().as_bytes(),
    PathBuf => |path| path.as_os_str().as_bytes()
);

impl<T: Text + ?Sized> Text for &T {
    fn text(&self) -> Cow<'_, [u8]> {
        (**self).text()
    }
}

impl ToC<*const XvirtStringList> for Vec<String> {
    fn to_c(&self, arena: &Arena) -> *const XvirtStringList {
        arena.keep(XvirtStringList { items: arena.list(self.iter()), count: self.len() })
    }
}

/// The number of a descriptor, which stays the library's.
impl ToC<c_int> for Descriptor {
    fn to_c(&self, _: &Arena) -> c_int {
        self.as_fd().as_raw_fd()
    }
}

impl ToC<MaybeUninit<bool>> for bool {
    fn to_c(&self, _: &Arena) -> MaybeUninit<bool> {
        flag(*self)
    }
}

impl ToC<u64> for Duration {
    fn to_c(&self, _: &Arena) -> u64 {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl ToC<u64> for SystemTime {
    fn to_c(&self, arena: &Arena) -> u64 {
        self.duration_since(UNIX_EPOCH).unwrap_or_default().to_c(arena)
    }
}

impl ToC<u64> for ByteSize {
    fn to_c(&self, _: &Arena) -> u64 {
        self.bytes()
    }
}

impl ToC<*const XvirtBlockBackend> for Arc<dyn BlockBackend> {
    fn to_c(&self, arena: &Arena) -> *const XvirtBlockBackend {
        arena.keep(XvirtBlockBackend(Arc::clone(self)))
    }
}

impl ToC<*const XvirtFrameStream> for Arc<FrameStream> {
    fn to_c(&self, arena: &Arena) -> *const XvirtFrameStream {
        arena.keep(XvirtFrameStream(Arc::clone(self)))
    }
}

pub fn flag(value: bool) -> MaybeUninit<bool> {
    MaybeUninit::new(value)
}

pub fn toggle(on: bool) -> MaybeUninit<XvirtToggle> {
    MaybeUninit::new(if on { XvirtToggle::On } else { XvirtToggle::Off })
}

/// A number as an enum of C, which may have no constant for it.
pub fn number<E: Copy>(number: u32) -> MaybeUninit<E> {
    const { assert!(size_of::<E>() == size_of::<u32>()) };
    let mut value = MaybeUninit::<E>::uninit();
    // SAFETY: the size is that of the number, and whoever reads the value reads a number.
    unsafe { value.as_mut_ptr().cast::<u32>().write_unaligned(number) };
    value
}

/// The place of a result, which is required. It is cleared at once, so that it is defined after a failure.
pub fn out<'a, T>(place: Option<&'a mut T>, empty: T, name: &str) -> Result<&'a mut T> {
    let place = place.ok_or_else(|| invalid(format!("{name} is NULL: it must point to where the result goes")))?;
    *place = empty;
    Ok(place)
}

/// A result, with what it points to.
#[repr(C)]
struct Owned<C> {
    value: C,
    arena: Arena,
}

/// Hands over a result.
fn put_owned<C>(place: &mut *mut C, arena: Arena, value: C) {
    *place = Box::into_raw(Box::new(Owned { value, arena })).cast();
}

pub fn put_record<T: Struct>(place: &mut *mut T::C, value: &T) {
    let arena = Arena::new();
    let value = value.to_struct(&arena);
    put_owned(place, arena, value);
}

/// A struct of a list: a pointer and a count.
pub trait List {
    type Item: Copy + 'static;

    fn new(items: *const Self::Item, count: usize) -> Self;
}

macro_rules! list {
    ($name:ident, $item:ty) => {
        impl crate::output::List for $name {
            type Item = $item;

            fn new(items: *const $item, count: usize) -> Self {
                Self { items, count }
            }
        }
    };
}

pub(crate) use list;

list!(XvirtStringPairList, XvirtStringPair);
list!(XvirtStringList, *const c_char);

pub fn put_list<'a, L: List, T: ToC<L::Item> + 'a>(place: &mut *mut L, values: impl ExactSizeIterator<Item = &'a T>) {
    let (arena, count) = (Arena::new(), values.len());
    let list = L::new(arena.list(values), count);
    put_owned(place, arena, list);
}

/// A list of handles, which the list owns.
pub fn put_handles<H: 'static, L: List<Item = *const H>>(place: &mut *mut L, handles: impl Iterator<Item = H>) {
    let arena = Arena::new();
    let handles: Vec<*const H> = handles.map(|handle| arena.keep(handle)).collect();
    let count = handles.len();
    let start = if count == 0 { ptr::null() } else { handles.as_ptr() };
    arena.keep(handles);
    put_owned(place, arena, L::new(start, count));
}

pub fn put_pairs(place: &mut *mut XvirtStringPairList, pairs: &BTreeMap<String, String>) {
    let arena = Arena::new();
    let list = XvirtStringPairList::new(arena.pairs(pairs), pairs.len());
    put_owned(place, arena, list);
}

/// Frees a result.
///
/// # Safety
/// `result` is NULL, or comes from one of these functions and is used for the last time.
pub unsafe fn free<C>(result: *mut C) {
    if !result.is_null() {
        // SAFETY: as for this function; the result is the first member of what was allocated.
        drop(unsafe { Box::from_raw(result.cast::<Owned<C>>()) });
    }
}

/// Hands over text, which the caller frees with `xvirt_free`.
pub fn put_text(place: &mut *mut c_char, value: &(impl Text + ?Sized)) -> Result<()> {
    let text = value.text();
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    *place = allocated(text)?.cast();
    Ok(())
}

/// Hands over bytes, which the caller frees with `xvirt_free`.
pub fn put_bytes(place: &mut *mut u8, length: &mut usize, bytes: &[u8]) -> Result<()> {
    *place = allocated(bytes)?;
    *length = bytes.len();
    Ok(())
}

/// A copy of bytes, with a NUL after them.
fn allocated(bytes: &[u8]) -> Result<*mut u8> {
    // SAFETY: it has no requirements.
    let start = unsafe { libc::malloc(bytes.len() + 1) }.cast::<u8>();
    if start.is_null() {
        return Err(Error::new(
            ErrorKind::OutOfMemory,
            format!("there is no memory for a result of {} bytes", bytes.len()),
        ));
    }
    // SAFETY: that many bytes and one more were allocated.
    unsafe {
        ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len());
        start.add(bytes.len()).write(0);
    }
    Ok(start)
}
