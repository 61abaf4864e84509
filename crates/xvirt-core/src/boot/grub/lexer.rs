//! GRUB's shell syntax: splits text into words, separators and braces.

use std::rc::Rc;

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Literal text; quoted text is never split and is never a keyword.
    Text { text: String, quoted: bool },
    /// `$name` or `${name}`; if quoted, its value is not split into words.
    Variable { name: String, quoted: bool },
}

/// A word before expansion.
pub(super) type Word = Rc<[Piece]>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    /// The end of a line, or a semicolon.
    End,
    Open,
    Close,
}

/// The tokens of a script, at most `most`. Never fails: an open quote ends with the text.
pub(super) fn tokens(script: &str, most: usize) -> Vec<Token> {
    let mut lexer = Lexer { rest: script.chars().peekable(), tokens: Vec::new(), pieces: Vec::new() };
    lexer.run(most);
    lexer.tokens
}

struct Lexer<'s> {
    rest: std::iter::Peekable<std::str::Chars<'s>>,
    tokens: Vec<Token>,
    /// The current word.
    pieces: Vec<Piece>,
}

impl Lexer<'_> {
    fn run(&mut self, most: usize) {
        while self.tokens.len() < most
            && let Some(c) = self.rest.next()
        {
            match c {
                ' ' | '\t' | '\r' => self.end_word(),
                '\n' | ';' => self.end_with(Token::End),
                '{' => self.end_with(Token::Open),
                '}' => self.end_with(Token::Close),
                '#' if self.pieces.is_empty() => while self.rest.next_if(|c| *c != '\n').is_some() {},
                '\'' => self.single_quoted(),
                '"' => self.double_quoted(),
                '\\' => match self.rest.next() {
                    None | Some('\n') => {}
                    Some(escaped) => self.text(escaped, true),
                },
                '$' => self.variable(false),
                c => self.text(c, false),
            }
        }
        self.end_word();
    }

    fn end_word(&mut self) {
        if !self.pieces.is_empty() {
            self.tokens.push(Token::Word(self.pieces.drain(..).collect()));
        }
    }

    fn end_with(&mut self, token: Token) {
        self.end_word();
        self.tokens.push(token);
    }

    fn text(&mut self, c: char, is_quoted: bool) {
        match self.pieces.last_mut() {
            Some(Piece::Text { text, quoted }) if *quoted == is_quoted => text.push(c),
            _ => self.pieces.push(Piece::Text { text: c.into(), quoted: is_quoted }),
        }
    }

    /// Empty quotes form a word as well.
    fn start_quoted(&mut self) {
        self.pieces.push(Piece::Text { text: String::new(), quoted: true });
    }

    fn single_quoted(&mut self) {
        self.start_quoted();
        while let Some(c) = self.rest.next().filter(|c| *c != '\'') {
            self.text(c, true);
        }
    }

    fn double_quoted(&mut self) {
        self.start_quoted();
        while let Some(c) = self.rest.next() {
            match c {
                '"' => return,
                '$' => self.variable(true),
                '\\' => match self.rest.next() {
                    None | Some('\n') => {}
                    Some(escaped @ ('$' | '"' | '\\')) => self.text(escaped, true),
                    Some(other) => {
                        self.text('\\', true);
                        self.text(other, true);
                    }
                },
                c => self.text(c, true),
            }
        }
    }

    /// Parses what follows a dollar sign: a name, a name in braces, or a special name; otherwise the sign is literal.
    fn variable(&mut self, quoted: bool) {
        let mut name = String::new();
        match self.rest.peek().copied() {
            Some('{') => {
                self.rest.next();
                name.extend(std::iter::from_fn(|| self.rest.next().filter(|c| *c != '}')));
            }
            Some(c) if c.is_ascii_digit() || matches!(c, '@' | '*' | '#' | '?') => {
                self.rest.next();
                name.push(c);
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                name.extend(std::iter::from_fn(|| self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_')));
            }
            // `$"…"` marks translatable text.
            Some('"' | '\'') if !quoted => return,
            _ => return self.text('$', quoted),
        }
        self.pieces.push(Piece::Variable { name, quoted });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(script: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text { text, quoted: true } => format!("'{text}'"),
            Piece::Text { text, quoted: false } => text.clone(),
            Piece::Variable { name, quoted: true } => format!("\"${name}\""),
            Piece::Variable { name, quoted: false } => format!("${name}"),
        };
        let show = |token: &Token| match token {
            Token::Word(pieces) => pieces.iter().map(piece).collect::<String>(),
            Token::End => ";".into(),
            Token::Open => "{".into(),
            Token::Close => "}".into(),
        };
        tokens(script, usize::MAX).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_split_as_grub_does() {
        let cases = [
            ("set default=\"0\"\n", "set default='0' ;"),
            ("a  b\tc;d", "a b c ; d"),
            ("if [ \"${x}\" ]; then", "if [ ''\"$x\" ] ; then"),
            ("x$grub_platform-y $1 $", "x$grub_platform-y $1 $"),
            ("'a $b'\"c $d\"e", "'a $b''c '\"$d\"e"),
            ("a\\ b c\\\nd", "a' 'b cd"),
            ("a # no\nb#yes", "a ; b#yes"),
            ("($root)'/boot/grub'", "($root)'/boot/grub'"),
            ("\"\\$x \\\" \\n\"", "'$x \" \\n'"),
            ("''", "''"),
            ("\"open", "'open'"),
            ("${open", "$open"),
            ("\\", ""),
            ("menuentry 'x' {linux}", "menuentry 'x' { linux }"),
        ];
        for (script, expected) in cases {
            assert_eq!(shape(script), expected, "{script}");
        }
    }
}
