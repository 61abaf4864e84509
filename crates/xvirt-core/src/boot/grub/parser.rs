//! Parses words into commands: `if`, loops, functions, menu entries.
//!
//! Never fails: invalid syntax is skipped, like in GRUB.

use std::rc::Rc;

use super::lexer::{Piece, Token, Word};

/// The nesting limit; deeper commands are skipped.
const MAX_DEPTH: u32 = 48;

pub(super) type Script = Rc<[Command]>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// A command with its arguments and, for menu entries, its block.
    Simple {
        words: Vec<Word>,
        block: Option<Script>,
    },
    /// Conditions with their bodies, and `else`.
    If {
        branches: Vec<(Script, Script)>,
        otherwise: Script,
    },
    /// `while`, or `until` with a negated condition.
    While {
        condition: Script,
        until: bool,
        body: Script,
    },
    For {
        variable: Word,
        words: Vec<Word>,
        body: Script,
    },
    Function {
        name: String,
        body: Script,
    },
}

/// Parses a script.
pub(super) fn parse(tokens: Vec<Token>) -> Script {
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    let mut commands = Vec::new();
    while parser.at < parser.tokens.len() {
        commands.extend(parser.list(&[]));
        // An unexpected token ended the list early; skip it.
        parser.at += 1;
    }
    commands.into()
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// The text of the next token, if it is a word that may be a keyword.
    fn keyword(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) => plain(word),
            _ => None,
        }
    }

    fn word(&mut self) -> Option<Word> {
        let Some(Token::Word(word)) = self.tokens.get(self.at) else { return None };
        self.at += 1;
        Some(Rc::clone(word))
    }

    fn words(&mut self) -> Vec<Word> {
        std::iter::from_fn(|| self.word()).collect()
    }

    /// Consumes this keyword if it is next, possibly after line ends.
    fn take(&mut self, keyword: &str) -> bool {
        let start = self.at;
        self.skip_ends();
        let found = self.keyword() == Some(keyword);
        self.at = if found { self.at + 1 } else { start };
        found
    }

    fn skip_ends(&mut self) {
        while self.peek() == Some(&Token::End) {
            self.at += 1;
        }
    }

    /// Parses commands up to one of the keywords, a closing brace or the end, which are not consumed.
    fn list(&mut self, until: &[&str]) -> Vec<Command> {
        let mut commands = Vec::new();
        self.depth += 1;
        loop {
            self.skip_ends();
            match self.peek() {
                None | Some(Token::Close) => break,
                Some(Token::Open) => self.at += 1,
                Some(Token::End) => {}
                Some(Token::Word(_)) if self.keyword().is_some_and(|keyword| until.contains(&keyword)) => break,
                Some(Token::Word(_)) if self.depth > MAX_DEPTH => self.at += 1,
                Some(Token::Word(_)) => commands.extend(self.command()),
            }
        }
        self.depth -= 1;
        commands
    }

    fn script(&mut self, until: &[&str]) -> Script {
        self.list(until).into()
    }

    /// Parses a block in braces, if it is next.
    fn block(&mut self) -> Option<Script> {
        let start = self.at;
        self.skip_ends();
        if self.peek() != Some(&Token::Open) {
            self.at = start;
            return None;
        }
        self.at += 1;
        let body = self.script(&[]);
        if self.peek() == Some(&Token::Close) {
            self.at += 1;
        }
        Some(body)
    }

    fn command(&mut self) -> Option<Command> {
        let keyword = self.keyword().unwrap_or_default().to_owned();
        match keyword.as_str() {
            "if" => Some(self.conditional()),
            "while" | "until" => {
                self.at += 1;
                let condition = self.script(&["do"]);
                let body = self.loop_body();
                Some(Command::While { condition, until: keyword == "until", body })
            }
            "for" => {
                self.at += 1;
                let variable = self.word()?;
                self.take("in");
                let words = self.words();
                let body = self.loop_body();
                Some(Command::For { variable, words, body })
            }
            "function" => {
                self.at += 1;
                let name = self.word()?;
                let body = self.block()?;
                Some(Command::Function { name: plain(&name)?.to_owned(), body })
            }
            // Left over from a command with invalid syntax.
            "then" | "else" | "elif" | "fi" | "do" | "done" => {
                self.at += 1;
                None
            }
            _ => {
                let words = self.words();
                let block = match self.peek() {
                    Some(Token::Open) => self.block(),
                    _ => None,
                };
                Some(Command::Simple { words, block })
            }
        }
    }

    fn conditional(&mut self) -> Command {
        let mut branches = Vec::new();
        let mut otherwise = Script::default();
        self.at += 1;
        loop {
            let condition = self.script(&["then", "fi"]);
            self.take("then");
            let body = self.script(&["elif", "else", "fi"]);
            branches.push((condition, body));
            if self.take("elif") {
                continue;
            }
            if self.take("else") {
                otherwise = self.script(&["fi"]);
            }
            self.take("fi");
            return Command::If { branches, otherwise };
        }
    }

    fn loop_body(&mut self) -> Script {
        self.skip_ends();
        self.take("do");
        let body = self.script(&["done"]);
        self.take("done");
        body
    }
}

/// The text of an unquoted word without variables.
fn plain(word: &Word) -> Option<&str> {
    match word.as_ref() {
        [Piece::Text { text, quoted: false }] => Some(text),
        _ => None,
    }
}
