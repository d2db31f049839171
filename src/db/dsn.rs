//! Reads a DSN: the text from the settings enters, the database it names leaves.

use super::error::{ACCEPTED_FORMS, DbError};

/// The database that a DSN names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dsn {
    SqliteFile(String),
    SqliteMemory,
}

/// Nothing of the text is repeated in an error but its scheme: the rest may hold a password.
pub(super) fn parse(text: &str) -> Result<Dsn, DbError> {
    if text == "sqlite::memory:" {
        return Ok(Dsn::SqliteMemory);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(bad(format!("it has no scheme; {ACCEPTED_FORMS}")));
    };
    if !is_scheme(scheme) {
        return Err(bad(format!("its scheme is malformed; {ACCEPTED_FORMS}")));
    }
    if !scheme.eq_ignore_ascii_case("sqlite") {
        let scheme = scheme.to_ascii_lowercase();
        return Err(DbError::UnsupportedBackend { scheme });
    }
    match rest {
        "" => Err(bad(format!("it names no file; {ACCEPTED_FORMS}"))),
        ":memory:" => Ok(Dsn::SqliteMemory),
        // Such parameters could switch durability off behind our back (`nolock`, `immutable`, `mode`).
        path if path.contains('?') => Err(bad("SQLite takes no parameters after `?`".to_owned())),
        path => Ok(Dsn::SqliteFile(path.to_owned())),
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
}

fn bad(reason: String) -> DbError {
    DbError::BadDsn { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_form_names_its_database() {
        for (text, dsn) in [
            ("sqlite://shop.db", Dsn::SqliteFile("shop.db".into())),
            ("sqlite://data/shop.db", Dsn::SqliteFile("data/shop.db".into())),
            ("sqlite:///data/shop.db", Dsn::SqliteFile("/data/shop.db".into())),
            ("sqlite::memory:", Dsn::SqliteMemory),
            ("sqlite://:memory:", Dsn::SqliteMemory),
        ] {
            assert_eq!(parse(text).ok(), Some(dsn), "{text}");
        }
    }
}
