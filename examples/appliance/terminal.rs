//! The terminal while it belongs to a guest.

use std::io::{self, IsTerminal};

use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Passes each key to the guest immediately and without echo, except that Ctrl-C still interrupts this program.
/// Dropping this restores the terminal.
#[derive(Debug)]
pub struct Keys {
    before: Option<Termios>,
}

impl Keys {
    /// Switches the mode, if standard input is a terminal.
    pub fn one_by_one() -> Self {
        let before = io::stdin().is_terminal().then(|| tcgetattr(io::stdin()).ok()).flatten();
        if let Some(mut modes) = before.clone() {
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            modes.input_modes.remove(InputModes::ICRNL);
            // If the terminal does not support this, it still works line by line.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
        }
        Self { before }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(modes) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
        }
    }
}
