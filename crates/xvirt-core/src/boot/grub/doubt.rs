//! What depends on a command that only some builds of GRUB have: it may set variables, and decide which part of a script
//! runs. A choice that hangs on it is not made up.

use super::environment::Unknown;
use super::interpreter::Interpreter;
use super::lexer::{Piece, Word};
use super::parser::{Command, Script};

/// The commands that make lines of the menu.
const MENU_COMMANDS: [&str; 8] =
    ["menuentry", "submenu", "source", ".", "configfile", "normal", "blscfg", "bls_import"];

/// Notes an unknown command: it may set each variable that it names.
pub(super) fn command(interpreter: &mut Interpreter<'_, '_>, name: &str, arguments: &[String]) {
    let unknown: Unknown = name.into();
    let is_variable = |word: &&String| {
        word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    for variable in arguments.iter().filter(is_variable) {
        interpreter.environment.doubt(variable, &unknown);
    }
    interpreter.success_unknown = Some(unknown);
}

/// Notes what the branches of an `if` would have done, one of which was taken without knowing.
pub(super) fn other_branches(
    interpreter: &mut Interpreter<'_, '_>,
    branches: &[(Script, Script)],
    otherwise: &Script,
    unknown: &Unknown,
) {
    let scripts = branches.iter().flat_map(|(condition, body)| [condition, body]).chain([otherwise]);
    for script in scripts {
        other_script(interpreter, script, unknown);
    }
}

fn other_script(interpreter: &mut Interpreter<'_, '_>, script: &Script, unknown: &Unknown) {
    for command in script.iter().take_while(|_| interpreter.spend(1)).collect::<Vec<_>>() {
        match command {
            Command::Simple { words, .. } => {
                let mut words = words.iter().filter_map(literal);
                match words.next() {
                    Some("set") => words.for_each(|word| assignment(interpreter, word, unknown)),
                    Some(name) if MENU_COMMANDS.contains(&name) => interpreter.doubt_menu(unknown),
                    Some(word) => assignment(interpreter, word, unknown),
                    None => {}
                }
            }
            Command::If { branches, otherwise } => other_branches(interpreter, branches, otherwise, unknown),
            Command::While { condition, body, .. } => {
                other_script(interpreter, condition, unknown);
                other_script(interpreter, body, unknown);
            }
            Command::For { body, .. } => other_script(interpreter, body, unknown),
            Command::Function { .. } => {}
        }
    }
}

fn assignment(interpreter: &mut Interpreter<'_, '_>, word: &str, unknown: &Unknown) {
    if let Some((name, _)) = word.split_once('=') {
        interpreter.environment.doubt(name, unknown);
    }
}

/// The text at the start of a word.
fn literal(word: &Word) -> Option<&str> {
    match word.first() {
        Some(Piece::Text { text, .. }) => Some(text),
        _ => None,
    }
}
