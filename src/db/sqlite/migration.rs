//! Brings a schema up to date: embedded migrations enter, the names of those applied now leave.

use std::error::Error;

use diesel::{
    SqliteConnection,
    migration::{Migration, MigrationSource},
    sqlite::Sqlite,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};

use crate::db::DbError;

type Failure = Box<dyn Error + Send + Sync>;

/// Each migration gets a transaction of its own, so those before a failed one stay applied.
pub(super) fn run_pending(
    conn: &mut SqliteConnection,
    migrations: &EmbeddedMigrations,
) -> Result<Vec<String>, DbError> {
    let pending = pending(conn, migrations).map_err(|error| failed("(all)".into(), &error))?;
    let mut applied = Vec::new();
    for migration in pending {
        let name = migration.name().to_string();
        match apply(conn, migration.as_ref()) {
            Ok(true) => applied.push(name),
            Ok(false) => {}
            Err(error) => return Err(failed(name, &error)),
        }
    }
    Ok(applied)
}

fn pending(
    conn: &mut SqliteConnection,
    migrations: &EmbeddedMigrations,
) -> Result<Vec<Box<dyn Migration<Sqlite>>>, Failure> {
    let applied = conn.applied_migrations()?;
    let mut pending = MigrationSource::<Sqlite>::migrations(migrations)?;
    pending.retain(|migration| !applied.contains(&migration.name().version()));
    pending.sort_by(|a, b| a.name().version().cmp(&b.name().version()));
    Ok(pending)
}

/// Looks again under the write lock: of two processes that start together, the second one finds the work done.
fn apply(conn: &mut SqliteConnection, migration: &dyn Migration<Sqlite>) -> Result<bool, Failure> {
    if !migration.metadata().run_in_transaction() {
        conn.run_migration(migration)?;
        return Ok(true);
    }
    conn.immediate_transaction(|conn| {
        if conn.applied_migrations()?.contains(&migration.name().version()) {
            return Ok(false);
        }
        conn.run_migration(migration)?;
        Ok(true)
    })
}

fn failed(name: String, error: &Failure) -> DbError {
    DbError::Migration { name, reason: error.to_string() }
}
