//! Output for people and for programs.

use std::io::Write as _;

use serde::Serialize;

use crate::failure::{Failure, Result};
use crate::plain::Plain;

/// How results are printed.
#[derive(Debug)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// Prints a value as JSON, or else what `text` makes.
    pub fn print(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if !self.json {
            return print(&text());
        }
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new("cannot write JSON", error))?;
        print(&format!("{text}\n"))
    }
}

/// The most characters of a cell. What is longer is cut; JSON has it whole.
const WIDEST: usize = 60;

/// Rows under a head, with columns as wide as they need to be.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = std::iter::once(head.iter().map(ToString::to_string).collect())
        .chain(rows.iter().map(|row| row.iter().map(|cell| cut(Plain(cell).to_string())).collect()))
        .collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A text that fits into a cell.
fn cut(text: String) -> String {
    match text.char_indices().nth(WIDEST) {
        Some(_) => text.chars().take(WIDEST - 1).chain(['…']).collect(),
        None => text,
    }
}

/// Lines of names and values; those whose value is empty are left out.
pub fn lines(values: &[(&str, String)]) -> String {
    let values = values.iter().filter(|(_, value)| !value.is_empty());
    values.map(|(name, value)| format!("{name:14} {}\n", Plain(value))).collect()
}

/// Prints text.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // The reader may have closed the pipe.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new("standard output", error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be_and_control_nothing() {
        let rows = [vec!["a\x1b[2J".to_owned(), "1".to_owned()], vec!["ä".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "N"], &rows), "NAME   N\na [2J  1\nä\n");
        let long = table(&["NAME"], &[vec!["a".repeat(100_000)]]);
        assert_eq!(long, format!("NAME\n{}…\n", "a".repeat(WIDEST - 1)));
        assert_eq!(lines(&[("name", "x\ny".to_owned()), ("none", String::new())]), "name           x y\n");
    }
}
