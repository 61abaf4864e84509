//! What several of the programs in this folder share; the programs are beside it, one file or folder each.

mod guest;
mod options;
mod steps;

pub use guest::Guest;
pub use options::{GuestOptions, host_of_stock_kernels};
pub use steps::Steps;

/// The result of what a program does: its only use is to be shown.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
