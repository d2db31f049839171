//! What can go wrong between the framework and a database: causes enter, one closed list of errors leaves.

use std::{any::Any, time::Duration};

use diesel::result::{DatabaseErrorKind, Error as QueryError};

use super::Backend;

/// The DSNs that this build understands.
pub(super) const ACCEPTED_FORMS: &str = "write `sqlite://<path>` or `sqlite::memory:`";

/// A fault of the database, or of the work that was given to it.
///
/// No message carries the DSN or any part of it but a file path or a scheme, so each is safe to log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// The DSN does not have a form that any backend understands.
    #[error("the database DSN cannot be used: {reason}")]
    BadDsn {
        /// What is wrong with it, without quoting it.
        reason: String,
    },

    /// The DSN is well formed, but this build has no code for its backend.
    #[error(
        "the database DSN asks for `{scheme}`, but this build has SQLite only; {ACCEPTED_FORMS}"
    )]
    UnsupportedBackend {
        /// The part of the DSN before `://`.
        scheme: String,
    },

    /// The work was written for another backend than the one the DSN chose.
    #[error("the work wants a {wanted} connection, but this database is {found}")]
    Backend {
        /// The backend of the connection type in the work's signature.
        wanted: Backend,
        /// The backend that the DSN chose.
        found: Backend,
    },

    /// A connection could not be opened or prepared.
    #[error("cannot open the database `{database}`: {reason}")]
    Connect {
        /// The path of the file, or `:memory:`.
        database: String,
        /// What the database answered.
        reason: String,
    },

    /// All connections stayed busy for the longest time that a caller is made to wait.
    #[error(
        "no {access} connection came free within {} s: all {size} stayed busy",
        waited.as_secs_f32()
    )]
    PoolTimeout {
        /// `read` or `write`.
        access: &'static str,
        /// How many connections of that kind there are.
        size: u32,
        /// How long the caller waited.
        waited: Duration,
    },

    /// A migration failed and left no trace; those before it stay applied.
    #[error("migration `{name}` failed: {reason}")]
    Migration {
        /// The name of its folder, or `(all)` when the list of them could not be read.
        name: String,
        /// What the database answered.
        reason: String,
    },

    /// A statement failed.
    #[error("database query failed: {0}")]
    Query(#[from] QueryError),

    /// The work left nested transactions open, so nothing can tell what it wanted kept: all was rolled back.
    ///
    /// This comes from dropping the future of a nested `conn.transaction(..)` before its end, as a timeout does.
    #[error("the work left {open} nested transaction(s) open, so all of it was rolled back")]
    NestedOpen {
        /// How many nested transactions were left.
        open: u32,
    },

    /// The work panicked; what it had written was rolled back.
    #[error("the work on the database panicked: {message}")]
    Panicked {
        /// The text of the panic.
        message: String,
    },

    /// The database was closed before the work could start.
    #[error("the database is closed")]
    Closed,
}

impl DbError {
    /// Tells whether a row was refused because a unique column or a primary key already holds its value.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Query(error) if is_unique_violation(error))
    }

    pub(super) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no text".to_owned());
        Self::Panicked { message }
    }
}

/// Asks of a plain diesel error what [`DbError::is_unique_violation`] asks of a [`DbError`].
#[must_use]
pub fn is_unique_violation(error: &QueryError) -> bool {
    matches!(error, QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _))
}
