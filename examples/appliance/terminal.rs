//! The terminal while a guest has it.

use std::io::{self, IsTerminal};

use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Each key goes to the guest at once and unechoed, but Ctrl-C stays this program's. Dropped, all is as before.
#[derive(Debug)]
pub struct Keys {
    before: Option<Termios>,
}

impl Keys {
    /// Begins it, if standard input is a terminal.
    pub fn one_by_one() -> Self {
        let before = io::stdin().is_terminal().then(|| tcgetattr(io::stdin()).ok()).flatten();
        if let Some(mut modes) = before.clone() {
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            modes.input_modes.remove(InputModes::ICRNL);
            // A terminal that cannot do this still works line by line.
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
