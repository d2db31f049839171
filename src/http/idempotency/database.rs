//! Outcomes in the application's database: they outlive the process, and processes share them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Begun, Complaint, IdempotencyAttempt, IdempotencyError, IdempotencyFuture, IdempotencyStore,
    StoredResponse,
};
use crate::db::outcomes::{self, Claim, Known, Outcome, Total};
use crate::db::{Db, DbError, SqliteConn};
use crate::settings::IdempotencySettings;

/// The rows whose time is over that each request with a key clears away at most. It adds one.
const EXPIRED_MAX: i64 = 16;

/// The part of the room that may be filled before all rows are counted again.
const SHARE: i64 = 64;

/// The most keys that may be added before all rows are counted again.
const SHARE_MAX: i64 = 256;

/// Keeps outcomes in a table of the application's database, `callboard_idempotency`.
///
/// After a restart, and in each process on the same database, a repeated request gets the answer of
/// the first one.
///
/// ```
/// use callboard::{db::{Db, DbError}, http::{DbIdempotency, Routes}, settings::Settings};
///
/// # #[actix_web::main]
/// # async fn main() -> Result<(), DbError> {
/// let mut settings = Settings::default();
/// settings.db.dsn = "sqlite::memory:".to_owned().into();
/// let db = Db::connect(&settings.db).await?;
/// let outcomes = DbIdempotency::open(&db, &settings.server.idempotency).await?;
/// let routes = Routes::new().idempotency_store(outcomes);
/// # Ok(()) }
/// ```
///
/// A first request takes two transactions, each of which is on the disk when it returns; a repeated
/// one writes nothing. Responses lie in the table as they were sent, under hashes of client and key.
/// Services on one database share the keys of one client.
///
/// # Time
///
/// A lease and the time of an outcome end by the wall clock, which all processes go by. The clocks of
/// several machines may differ by 10 s: that much longer than a request a lease lasts.
///
/// # Limits
///
/// They are those of the settings, for the whole table:
///
/// | limit | when it is reached |
/// |---|---|
/// | `ttl` | the outcome is as good as gone; later requests with keys delete it, 16 rows each at most |
/// | `entries_max` | the oldest outcomes leave early, which the log says; keys that are held never do, and where all are, it is [`Full`](Begun::Full) |
/// | `bytes_max` | the oldest outcomes leave early; one that is larger than all the room is not kept |
///
/// Rows are counted again when a process has filled 1/64 of the room, or 256 keys, so each process
/// may exceed the limits by that much.
///
/// # Errors
///
/// While the database does not answer, requests with a key are refused with 503
/// `idempotency_unavailable`: at once where it is closed, after 5 s where another process keeps it
/// locked, and after [`POOL_WAIT_MAX`](crate::db::POOL_WAIT_MAX) where this one keeps it busy.
#[derive(Debug)]
pub struct DbIdempotency {
    db: Db,
    limits: Limits,
    /// What may be added before all rows are counted again.
    spare: Mutex<Total>,
    complaint: Mutex<Complaint>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    ttl: Duration,
    most: Total,
    share: Total,
}

/// What became of a claim.
enum Claimed {
    Held,
    Known(Known),
    NoRoom,
}

/// What counting all rows has led to.
struct Room {
    spare: Total,
    has_early: bool,
}

impl DbIdempotency {
    /// A store with these limits, in this database. It makes its table, where that is missing, apart
    /// from the application's migrations.
    ///
    /// # Errors
    /// What keeps the table from being made, as for [`Db::transaction`].
    ///
    /// # Cancel safety
    /// Safe at any point.
    pub async fn open(db: &Db, limits: &IdempotencySettings) -> Result<Self, DbError> {
        let create = async |conn: &mut SqliteConn| Ok::<_, DbError>(outcomes::create(conn).await?);
        db.transaction(create).await?;
        let limits = Limits::new(limits);
        let (db, spare, complaint) = (db.clone(), Mutex::default(), Mutex::default());
        Ok(Self { db, limits, spare, complaint })
    }

    async fn claim(&self, attempt: &IdempotencyAttempt) -> Result<Claimed, DbError> {
        let (claim, limits) = (claim_of(attempt), self.limits);
        let now = millis(attempt.at);
        let until = later(now, attempt.lease);
        let has_room = self.take(Total { rows: 1, bytes: 0 });
        let work = async move |conn: &mut SqliteConn| {
            outcomes::purge(conn, now, EXPIRED_MAX).await?;
            if !outcomes::claim(conn, &claim, now, until).await? {
                return Ok((Claimed::Known(outcomes::find(conn, &claim).await?), None));
            }
            if has_room {
                return Ok((Claimed::Held, None));
            }
            let room = limits.make_room(conn, &claim, now).await?;
            if room.is_none() {
                outcomes::release(conn, &claim).await?;
                return Ok((Claimed::NoRoom, None));
            }
            Ok::<_, DbError>((Claimed::Held, room))
        };
        let (claimed, room) = self.db.transaction(work).await?;
        self.note(room);
        Ok(claimed)
    }

    async fn settle(
        &self,
        attempt: &IdempotencyAttempt,
        response: StoredResponse,
    ) -> Result<bool, DbError> {
        let bytes = count(response.size());
        if bytes > self.limits.most.bytes {
            self.free(attempt).await?;
            return Ok(false);
        }
        let (claim, limits) = (claim_of(attempt), self.limits);
        let now = millis(attempt.at);
        let until = later(now, limits.ttl);
        let has_room = self.take(Total { rows: 0, bytes });
        let StoredResponse { status, content_type, body } = response;
        let outcome =
            Outcome { status: i32::from(status), content_type, body: body.to_vec(), bytes };
        let work = async move |conn: &mut SqliteConn| {
            let is_kept = outcomes::settle(conn, &claim, outcome, until).await?;
            let room = if is_kept && !has_room {
                limits.make_room(conn, &claim, now).await?
            } else {
                None
            };
            Ok::<_, DbError>((is_kept, room))
        };
        let (is_kept, room) = self.db.transaction(work).await?;
        self.note(room);
        Ok(is_kept)
    }

    async fn free(&self, attempt: &IdempotencyAttempt) -> Result<(), DbError> {
        let claim = claim_of(attempt);
        let work = async move |conn: &mut SqliteConn| Ok(outcomes::release(conn, &claim).await?);
        self.db.transaction(work).await.map(|_: bool| ())
    }

    /// Whether so much more is sure to fit; it counts as added then.
    fn take(&self, added: Total) -> bool {
        let mut spare = self.spare.lock();
        let fits = spare.rows >= added.rows && spare.bytes >= added.bytes;
        if fits {
            spare.rows -= added.rows;
            spare.bytes -= added.bytes;
        }
        fits
    }

    fn note(&self, room: Option<Room>) {
        let Some(room) = room else { return };
        *self.spare.lock() = room.spare;
        if room.has_early {
            self.complaint.lock().make(Instant::now());
        }
    }
}

impl Limits {
    fn new(limits: &IdempotencySettings) -> Self {
        let most = Total { rows: count(limits.entries_max), bytes: count(limits.bytes_max) };
        let share = Total { rows: (most.rows / SHARE).min(SHARE_MAX), bytes: most.bytes / SHARE };
        Self { ttl: limits.ttl, most, share }
    }

    /// Counts all rows, and takes away the oldest outcomes if they are too many, a share more than
    /// it must. None where a key is too many and nothing can leave.
    async fn make_room(
        &self,
        conn: &mut SqliteConn,
        claim: &Claim,
        now: i64,
    ) -> Result<Option<Room>, DbError> {
        let (Self { most, share, .. }, mut total) = (self, outcomes::totals(conn).await?);
        let mut has_early = false;
        if total.rows > most.rows || total.bytes > most.bytes {
            let too_many = |is, most, share| if is > most { is - most + share } else { 0 };
            let excess = Total {
                rows: too_many(total.rows, most.rows, share.rows),
                bytes: too_many(total.bytes, most.bytes, share.bytes),
            };
            let gone = outcomes::evict(conn, claim, excess, now).await?;
            if total.rows > most.rows && gone.total.rows == 0 {
                return Ok(None);
            }
            total.rows -= gone.total.rows;
            total.bytes -= gone.total.bytes;
            has_early = gone.is_early;
        }
        let spare = Total {
            rows: (most.rows - total.rows).clamp(0, share.rows),
            bytes: (most.bytes - total.bytes).clamp(0, share.bytes),
        };
        Ok(Some(Room { spare, has_early }))
    }
}

fn claim_of(attempt: &IdempotencyAttempt) -> Claim {
    let IdempotencyAttempt { key, fingerprint, token, .. } = attempt.clone();
    Claim { key, fingerprint, token }
}

fn told(known: Known, attempt: &IdempotencyAttempt) -> Result<Begun, IdempotencyError> {
    if known.fingerprint != attempt.fingerprint {
        return Ok(Begun::Reused);
    }
    let Some(status) = known.status else { return Ok(Begun::InProgress) };
    let status = u16::try_from(status).map_err(|_| {
        let reason = format!("{status} in the table is no status of a response");
        IdempotencyError { reason }
    })?;
    let body = known.body.unwrap_or_default().into();
    Ok(Begun::Done(StoredResponse { status, content_type: known.content_type, body }))
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` gives it
fn failed(error: DbError) -> IdempotencyError {
    IdempotencyError { reason: error.to_string() }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A time in ms since 1970.
fn millis(time: SystemTime) -> i64 {
    later(0, time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn later(time: i64, wait: Duration) -> i64 {
    time.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

impl IdempotencyStore for DbIdempotency {
    fn begin<'a>(&'a self, attempt: &'a IdempotencyAttempt) -> IdempotencyFuture<'a, Begun> {
        Box::pin(async move {
            match self.claim(attempt).await.map_err(failed)? {
                Claimed::Held => Ok(Begun::First),
                Claimed::Known(known) => told(known, attempt),
                Claimed::NoRoom => Ok(Begun::Full),
            }
        })
    }

    fn finish<'a>(
        &'a self,
        attempt: &'a IdempotencyAttempt,
        outcome: StoredResponse,
    ) -> IdempotencyFuture<'a, bool> {
        Box::pin(async move { self.settle(attempt, outcome).await.map_err(failed) })
    }

    fn release<'a>(&'a self, attempt: &'a IdempotencyAttempt) -> IdempotencyFuture<'a, ()> {
        Box::pin(async move { self.free(attempt).await.map_err(failed) })
    }
}

#[cfg(test)]
mod tests {
    use callboard_actors::secs;
    use futures_util::future::join_all;
    use tempfile::TempDir;

    use super::*;
    use crate::settings::Settings;

    const START: i64 = 1_800_000_000_000;

    /// A database in a file, which any number of handles can open as processes do.
    struct File {
        folder: TempDir,
        limits: IdempotencySettings,
    }

    impl File {
        fn new(entries_max: usize, bytes_max: usize) -> Self {
            let limits = IdempotencySettings { ttl: secs(100), entries_max, bytes_max };
            Self { folder: TempDir::new().unwrap(), limits }
        }

        async fn open(&self) -> DbIdempotency {
            let mut settings = Settings::default().db;
            settings.dsn = format!("sqlite://{}/it.db", self.folder.path().display()).into();
            let db = Db::connect(&settings).await.unwrap();
            DbIdempotency::open(&db, &self.limits).await.unwrap()
        }
    }

    impl DbIdempotency {
        async fn total(&self) -> Total {
            let totals = async |conn: &mut SqliteConn| Ok(outcomes::totals(conn).await?);
            self.db.read(totals).await.map_err(failed).unwrap()
        }

        async fn complete(&self, key: u16, at: u64) {
            let attempt = attempt(key, "a", at);
            assert_eq!(self.begin(&attempt).await, Ok(Begun::First));
            assert_eq!(self.finish(&attempt, response(744)).await, Ok(true));
        }
    }

    /// So many seconds after the start.
    fn attempt(key: u16, token: &str, at: u64) -> IdempotencyAttempt {
        let ([high, low], token) = (key.to_be_bytes(), token.to_owned());
        let at = UNIX_EPOCH + Duration::from_millis(START.unsigned_abs()) + secs(at);
        let mut key = [high; 32];
        key[0] = low;
        IdempotencyAttempt { key, fingerprint: [1; 32], token, lease: secs(10), at }
    }

    fn response(len: usize) -> StoredResponse {
        StoredResponse::new(201).body("", vec![b' '; len])
    }

    #[actix_web::test]
    async fn of_two_processes_one_gets_a_key() {
        let file = File::new(1_000, 1_000_000);
        let stores = [file.open().await, file.open().await];
        for key in 0..40 {
            let tokens = ["a", "b", "c", "d"];
            let attempts: Vec<_> = tokens.iter().map(|token| attempt(key, token, 0)).collect();
            let begun = attempts.iter().zip(stores.iter().cycle());
            let begun = join_all(begun.map(|(attempt, store)| store.begin(attempt))).await;
            let is_first = |begun: &Result<_, _>| *begun == Ok(Begun::First);
            let holder = begun.iter().position(is_first).unwrap();
            let others = begun.iter().filter(|begun| **begun == Ok(Begun::InProgress)).count();
            assert_eq!(others, 3, "{begun:?}");
            // The other process may end what the one has begun: the token is what counts.
            let other = &stores[(holder + 1) % 2];
            let late = &attempts[(holder + 1) % 4];
            assert_eq!(other.finish(late, response(1)).await, Ok(false));
            assert_eq!(other.finish(&attempts[holder], response(2)).await, Ok(true));
            for store in &stores {
                let again = store.begin(late).await;
                assert_eq!(again, Ok(Begun::Done(response(2))));
            }
        }
    }

    #[actix_web::test]
    async fn what_is_known_outlives_the_process() {
        let file = File::new(1_000, 1_000_000);
        let store = file.open().await;
        store.complete(1, 0).await;
        assert_eq!(store.begin(&attempt(2, "dead", 0)).await, Ok(Begun::First));
        store.db.close().await;
        let store = file.open().await;
        assert_eq!(store.begin(&attempt(2, "next", 9)).await, Ok(Begun::InProgress));
        assert_eq!(store.begin(&attempt(2, "next", 10)).await, Ok(Begun::First));
        assert_eq!(store.finish(&attempt(2, "dead", 11), response(1)).await, Ok(false));
        assert_eq!(store.begin(&attempt(1, "b", 99)).await, Ok(Begun::Done(response(744))));
        assert_eq!(store.begin(&attempt(1, "c", 100)).await, Ok(Begun::First), "its time is over");
    }

    #[actix_web::test]
    async fn what_is_over_goes_away_bit_by_bit() {
        let file = File::new(1_000, 1_000_000);
        let store = file.open().await;
        for key in 0..40 {
            store.complete(key, 0).await;
        }
        assert_eq!(store.total().await, Total { rows: 40, bytes: 40_000 });
        store.begin(&attempt(100, "a", 99)).await.unwrap();
        assert_eq!(store.total().await.rows, 41, "nothing is over");
        for rows in [26, 11, 4, 5] {
            let key = 101 + u16::try_from(rows).unwrap();
            assert_eq!(store.begin(&attempt(key, "a", 100)).await, Ok(Begun::First));
            assert_eq!(store.total().await.rows, rows);
        }
        assert_eq!(store.total().await.bytes, 0);
    }

    #[actix_web::test]
    async fn of_two_processes_each_exceeds_the_room_by_a_share_at_most() {
        let file = File::new(128, 1_000_000);
        let stores = [file.open().await, file.open().await];
        for key in 0..400 {
            stores[usize::from(key % 2)].complete(key, 0).await;
            assert!(stores[0].total().await.rows <= 128 + 2 * 2, "after {key}");
        }
        assert!(stores[0].total().await.rows >= 120, "no more leave than need to");
        let file = File::new(10_000, 64_000);
        let stores = [file.open().await, file.open().await];
        for key in 0..200 {
            stores[usize::from(key % 2)].complete(key, 0).await;
            assert!(stores[0].total().await.bytes <= 64_000 + 2 * 1_000, "after {key}");
        }
        assert!(stores[0].total().await.bytes >= 60_000, "no more leave than need to");
    }

    #[actix_web::test]
    async fn a_database_that_fails_is_an_error() {
        let file = File::new(10, 1_000);
        let store = file.open().await;
        let held = attempt(1, "a", 0);
        assert_eq!(store.begin(&held).await, Ok(Begun::First));
        store.db.close().await;
        let error = IdempotencyError { reason: "the database is closed".to_owned() };
        assert_eq!(store.begin(&attempt(2, "b", 0)).await, Err(error.clone()));
        assert_eq!(store.finish(&held, response(1)).await, Err(error.clone()));
        assert_eq!(store.finish(&held, response(1_000)).await, Err(error.clone()), "too large");
        assert_eq!(store.release(&held).await, Err(error));
    }
}
