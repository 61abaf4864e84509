//! The documentation of the protocol names what the code has.

use crate::migrate::message::Kind;

const PROTOCOL: &str = include_str!("../../../../../docs/migration.md");

#[test]
fn the_documentation_lists_every_message() {
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (number, name) = (cells.next()?.parse::<u8>().ok()?, cells.next()?);
        Some((number, name.strip_prefix('`')?.strip_suffix('`')?.to_owned()))
    };
    let listed: Vec<_> = PROTOCOL.lines().filter_map(row).collect();
    assert_eq!(listed, Kind::ALL.map(|kind| (kind as u8, kind.to_string())));
}
