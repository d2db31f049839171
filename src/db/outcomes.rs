//! The table of outcomes of requests: keys and responses enter, what is known of them leaves. All of
//! its SQL is here.

use diesel::{dsl::sql, prelude::*, query_dsl::methods, sql_types::BigInt};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::SqliteConn;

/// Not a migration: a version of ours among the application's would keep the tools of diesel from
/// taking any of them back. Rows live for a day or so, so another shape can have another name.
///
/// `BYTEA` is what Postgres calls it; SQLite takes any name of a type and keeps the bytes as they are.
/// The index has all that [`totals`] asks for.
const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS callboard_idempotency (
        key BYTEA NOT NULL PRIMARY KEY,
        fingerprint BYTEA NOT NULL,
        token TEXT,
        expires_at BIGINT NOT NULL,
        status INTEGER,
        content_type TEXT,
        body BYTEA,
        bytes BIGINT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS callboard_idempotency_expires_at
        ON callboard_idempotency (expires_at, bytes);
";

/// The rows that one call of [`evict`] takes away at most.
const EVICTED_MAX: i64 = 1_000;

diesel::table! {
    callboard_idempotency (key) {
        key -> Binary,
        fingerprint -> Binary,
        // Of the attempt that holds the key; none once there is an outcome.
        token -> Nullable<Text>,
        // Of the lease or of the outcome, in ms since 1970.
        expires_at -> BigInt,
        // From here on: of the outcome, none while the key is held.
        status -> Nullable<Integer>,
        content_type -> Nullable<Text>,
        body -> Nullable<Binary>,
        bytes -> BigInt,
    }
}

use callboard_idempotency as outcomes;

/// One attempt at a key.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) key: [u8; 32],
    pub(crate) fingerprint: [u8; 32],
    pub(crate) token: String,
}

/// A row, as far as another attempt wants to know it.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = outcomes)]
pub(crate) struct Known {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) status: Option<i32>,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Option<Vec<u8>>,
}

/// What an attempt ended with.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
    /// What it counts for among all.
    pub(crate) bytes: i64,
}

/// How many rows, and what they count for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) rows: i64,
    pub(crate) bytes: i64,
}

/// What was taken away.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evicted {
    pub(crate) total: Total,
    /// Whether an outcome was among it whose time was not over.
    pub(crate) is_early: bool,
}

/// Makes the table, where it is missing.
pub(crate) async fn create(conn: &mut SqliteConn) -> QueryResult<()> {
    conn.batch_execute(CREATE).await
}

/// Takes away some of the rows whose time is over, the oldest first.
pub(crate) async fn purge(conn: &mut SqliteConn, now: i64, rows_max: i64) -> QueryResult<()> {
    let is_over = outcomes::expires_at.le(now);
    let over = outcomes::table.filter(is_over).order(outcomes::expires_at);
    let over: Vec<Vec<u8>> = over.select(outcomes::key).limit(rows_max).load(conn).await?;
    if !over.is_empty() {
        let over = outcomes::table.filter(outcomes::key.eq_any(over).and(is_over));
        diesel::delete(over).execute(conn).await?;
    }
    Ok(())
}

/// Gives the key to the attempt if nobody has it, or if the time of who has it is over: in one
/// statement, so that of several at the same time one gets it.
pub(crate) async fn claim(
    conn: &mut SqliteConn,
    claim: &Claim,
    now: i64,
    until: i64,
) -> QueryResult<bool> {
    let held = (
        outcomes::fingerprint.eq(claim.fingerprint.as_slice()),
        outcomes::token.eq(Some(claim.token.as_str())),
        outcomes::expires_at.eq(until),
        outcomes::status.eq(None::<i32>),
        outcomes::content_type.eq(None::<&str>),
        outcomes::body.eq(None::<&[u8]>),
        outcomes::bytes.eq(0),
    );
    let insert = diesel::insert_into(outcomes::table)
        .values((outcomes::key.eq(claim.key.as_slice()), held))
        .on_conflict(outcomes::key)
        .do_update()
        .set(held);
    let claim = methods::FilterDsl::filter(insert, outcomes::expires_at.le(now));
    Ok(claim.execute(conn).await? == 1)
}

/// What is known of a key that another attempt has or had.
pub(crate) async fn find(conn: &mut SqliteConn, claim: &Claim) -> QueryResult<Known> {
    let row = outcomes::table.find(claim.key.as_slice());
    row.select(Known::as_select()).first(conn).await
}

/// Keeps the outcome of the attempt that holds the key; false where it holds it no more.
pub(crate) async fn settle(
    conn: &mut SqliteConn,
    claim: &Claim,
    outcome: Outcome,
    until: i64,
) -> QueryResult<bool> {
    let held = outcomes::table.find(claim.key.as_slice());
    let held = held.filter(outcomes::token.eq(claim.token.as_str()));
    let update = diesel::update(held).set((
        outcomes::token.eq(None::<&str>),
        outcomes::expires_at.eq(until),
        outcomes::status.eq(Some(outcome.status)),
        outcomes::content_type.eq(outcome.content_type),
        outcomes::body.eq(Some(outcome.body)),
        outcomes::bytes.eq(outcome.bytes),
    ));
    Ok(update.execute(conn).await? == 1)
}

/// Forgets a key that the attempt holds; false where it does not.
pub(crate) async fn release(conn: &mut SqliteConn, claim: &Claim) -> QueryResult<bool> {
    let held = outcomes::table.find(claim.key.as_slice());
    let held = held.filter(outcomes::token.eq(claim.token.as_str()));
    Ok(diesel::delete(held).execute(conn).await? == 1)
}

/// Counts all rows: the time it takes grows with them.
pub(crate) async fn totals(conn: &mut SqliteConn) -> QueryResult<Total> {
    let rows = sql::<BigInt>("COUNT(*)");
    let bytes = sql::<BigInt>("CAST(COALESCE(SUM(bytes), 0) AS BIGINT)");
    let (rows, bytes) = outcomes::table.select((rows, bytes)).first(conn).await?;
    Ok(Total { rows, bytes })
}

/// Takes outcomes away, the oldest first, until so much is gone: at most 1 000 with one call, none
/// that is held, and not the one of `claim`.
pub(crate) async fn evict(
    conn: &mut SqliteConn,
    claim: &Claim,
    excess: Total,
    now: i64,
) -> QueryResult<Evicted> {
    let can_go = || {
        let is_over = outcomes::status.is_not_null().or(outcomes::expires_at.le(now));
        outcomes::key.ne(claim.key.as_slice()).and(is_over)
    };
    let oldest = outcomes::table
        .filter(can_go())
        .order((outcomes::expires_at, outcomes::key))
        .select((outcomes::key, outcomes::expires_at, outcomes::bytes))
        .limit(EVICTED_MAX);
    let oldest: Vec<(Vec<u8>, i64, i64)> = oldest.load(conn).await?;
    let (mut evicted, mut last) = (Evicted::default(), None);
    for (key, expires_at, bytes) in oldest {
        let Total { rows: rows_gone, bytes: bytes_gone } = evicted.total;
        if rows_gone >= excess.rows && bytes_gone >= excess.bytes {
            break;
        }
        evicted.total = Total { rows: rows_gone + 1, bytes: bytes_gone + bytes };
        evicted.is_early |= expires_at > now;
        last = Some((expires_at, key));
    }
    if let Some((expires_at, key)) = last {
        let up_to = outcomes::expires_at
            .lt(expires_at)
            .or(outcomes::expires_at.eq(expires_at).and(outcomes::key.le(key)));
        diesel::delete(outcomes::table.filter(can_go().and(up_to))).execute(conn).await?;
    }
    Ok(evicted)
}
