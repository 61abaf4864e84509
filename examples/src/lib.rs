//! Code shared by several programs in this folder. Each program is a file or folder next to this one.

mod guest;
mod options;
mod steps;

pub use guest::Guest;
pub use options::{GuestOptions, host_of_stock_kernels};
pub use steps::Steps;

/// The result of a program, whose error is only printed.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
