//! The tables, and how those of older versions become those of this one.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::failure::{damaged, failed};
use crate::{Error, ErrorKind, Result};

/// Marks the file as a store: "xvst".
const APPLICATION: i64 = 0x7876_7374;

/// Each brings the tables to the next version, the first from an empty file to version 1.
///
/// A pair that was replaced or deleted stays, with the revision that ended it, until compaction. So the pairs at revision
/// R are those with `mod_revision <= R AND R < ended`, and the changes of revision R are the pairs that begin or end with
/// it. The index `pair_now` finds the newest pairs without the past, and allows only one for each key.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE store (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        epoch INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        compacted INTEGER NOT NULL,
        last_lease INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE pair (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        create_revision INTEGER NOT NULL,
        mod_revision INTEGER NOT NULL,
        version INTEGER NOT NULL,
        lease INTEGER,
        previous INTEGER,
        ended INTEGER,
        value BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX pair_now ON pair (key) WHERE ended IS NULL;
    CREATE UNIQUE INDEX pair_history ON pair (key, mod_revision, ended);
    CREATE INDEX pair_begun ON pair (mod_revision);
    CREATE INDEX pair_ended ON pair (ended) WHERE ended IS NOT NULL;
    CREATE INDEX pair_lease ON pair (lease) WHERE lease IS NOT NULL AND ended IS NULL;
    CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL) STRICT;
"];

/// Makes the tables of a new store.
pub(super) fn create(connection: &mut Connection, path: &Path) -> Result<()> {
    connection
        .pragma_update(None, "application_id", APPLICATION)
        .map_err(|error| failed("cannot create a store", error))?;
    migrate(connection, path, MIGRATIONS)
}

/// Brings the tables of an existing store to this version.
pub(super) fn upgrade(connection: &mut Connection, path: &Path) -> Result<()> {
    let application = number(connection, "application_id").map_err(|error| cannot_read(path, error))?;
    if application != APPLICATION {
        return Err(damaged(path, "it is a database of another program"));
    }
    if number(connection, "user_version").map_err(|error| cannot_read(path, error))? < 1 {
        return Err(damaged(path, "it has no version"));
    }
    migrate(connection, path, MIGRATIONS)
}

fn cannot_read(path: &Path, error: rusqlite::Error) -> Error {
    failed(&format!("cannot read the store {}", path.display()), error)
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Each step is a transaction, so a store has the tables of one version at any moment.
fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<()> {
    let what = format!("cannot bring the store {} to this version", path.display());
    let failed = |error| failed(&what, error);
    let newest = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    let found = number(connection, "user_version").map_err(failed)?;
    if found > newest {
        let what = format!(
            "the store {} has version {found} of the tables; this version of xvirt knows up to {newest}",
            path.display()
        );
        return Err(Error::new(ErrorKind::Unsupported, what)
            .with_remedy("start the version of xvirt that wrote it, or a newer one"));
    }
    let done = usize::try_from(found).map_err(|_| damaged(path, format!("its version is {found}")))?;
    for (version, step) in (found + 1..).zip(migrations.iter().skip(done)) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        transaction.execute_batch(step).map_err(failed)?;
        transaction.pragma_update(None, "user_version", version).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [&str; 3] = [
        "CREATE TABLE a (x INTEGER)",
        "ALTER TABLE a ADD COLUMN y INTEGER; INSERT INTO a VALUES (1, 2)",
        "CREATE TABLE b (x)",
    ];

    fn version(connection: &Connection) -> i64 {
        number(connection, "user_version").unwrap()
    }

    #[test]
    fn an_older_store_is_migrated_and_a_newer_one_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        let path = Path::new("state.db");
        migrate(&mut connection, path, &STEPS[..1]).unwrap();
        assert_eq!(version(&connection), 1);
        migrate(&mut connection, path, &STEPS).unwrap();
        migrate(&mut connection, path, &STEPS).unwrap();
        assert_eq!(version(&connection), 3);
        assert_eq!(connection.query_row("SELECT sum(y) FROM a", [], |row| row.get::<_, i64>(0)).unwrap(), 2);

        let error = migrate(&mut connection, path, &STEPS[..2]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().ends_with("start the version of xvirt that wrote it, or a newer one"), "{error}");
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let path = Path::new("state.db");
        migrate(&mut connection, path, &[STEPS[0], "CREATE TABLE c (x); CREATE TABLE a (x)"]).unwrap_err();
        assert_eq!(version(&connection), 1);
        assert!(connection.prepare("SELECT * FROM c").is_err());
        migrate(&mut connection, path, &STEPS[..2]).unwrap();
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE store (id)").unwrap();
        let error = upgrade(&mut connection, Path::new("other.db")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("another program"), "{error}");
    }
}
