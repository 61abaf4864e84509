//! Text that others wrote, in a terminal.

use std::fmt::{self, Display};

/// Text that others wrote, on one line and without characters that control a terminal.
#[derive(Debug)]
pub struct Plain<T>(pub T);

impl<T: Display> Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(&text.replace(|char: char| char.is_control(), " "))
    }
}
