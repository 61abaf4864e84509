//! Asks for a password: never as an argument, which other users of the host could see.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::{Failure, Result};

/// How many bytes of standard input are read at most.
const LONGEST: u64 = 8192;
const END: u8 = 0x03;
const ERASE: [u8; 2] = [0x08, 0x7f];

/// A new password: typed twice without being shown if standard input is a terminal, or else its first line.
pub fn read() -> Result<String> {
    let cannot = |error: io::Error| Failure::new("cannot read a password", error);
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        io::Read::take(io::stdin().lock(), LONGEST).read_line(&mut line).map_err(cannot)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let password = ask("Password: ").map_err(cannot)?;
    if ask("Again: ").map_err(cannot)? != password {
        return Err(Failure::new("cannot take the password", "the two are not the same; try again"));
    }
    Ok(password)
}

/// A line that is typed and not shown.
fn ask(prompt: &str) -> io::Result<String> {
    eprint!("{prompt}");
    io::stderr().flush()?;
    let hidden = Hidden::enter()?;
    let mut typed = Vec::new();
    let outcome = loop {
        let mut byte = [0];
        if rustix::io::read(io::stdin(), &mut byte)? == 0 {
            break Ok(());
        }
        match byte[0] {
            b'\r' | b'\n' => break Ok(()),
            // The terminal would stay as it is if the key ended the program.
            END => break Err(io::Error::other("it was cancelled")),
            byte if ERASE.contains(&byte) => {
                let text = String::from_utf8_lossy(&typed).into_owned();
                typed = text.chars().take(text.chars().count().saturating_sub(1)).collect::<String>().into_bytes();
            }
            byte => typed.push(byte),
        }
    };
    drop(hidden);
    eprintln!();
    outcome?;
    String::from_utf8(typed).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// The terminal while what is typed is not shown. Dropping this restores it.
struct Hidden(Termios);

impl Hidden {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &modes)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
