//! Text in lists, and other small types that are the same wherever they occur.

use std::ffi::c_char;

use crate::input::Plain;

/// Some text. It never gets another member.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtStringList {
    /// The texts, each NUL-terminated.
    pub items: *const *const c_char,
    /// Their number.
    pub count: usize,
}

/// A name and its value, both NUL-terminated. Programs make arrays of them, so they never get another member.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtStringPair {
    /// The name.
    pub key: *const c_char,
    /// The value.
    pub value: *const c_char,
}

/// Names and values.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtStringPairList {
    /// The pairs, in the order of their names.
    pub items: *const XvirtStringPair,
    /// Their number.
    pub count: usize,
}

/// A switch that is on or off by default.
#[repr(u32)]
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "it is made from numbers")]
pub enum XvirtToggle {
    /// As by default.
    Default = 0,
    /// On.
    On = 1,
    /// Off.
    Off = 2,
}

// SAFETY: a pointer and a number.
unsafe impl Plain for XvirtStringList {}
