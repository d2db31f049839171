//! The settings of repeated requests: a reader enters, a filled group leaves.

use std::time::Duration;

use super::reader::Reader;
use super::syntax::{count, seconds};

/// How long and how many outcomes of requests with an `Idempotency-Key` are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdempotencySettings {
    /// `SERVER_IDEMPOTENCY_TTL`: how long an outcome is kept, in seconds, up to a year; 86400.
    pub ttl: Duration,
    /// `SERVER_IDEMPOTENCY_MAX`: the keys known at once; 10000.
    pub entries_max: usize,
    /// `SERVER_IDEMPOTENCY_BYTES_MAX`: what all outcomes take, in bytes; 64 MiB.
    pub bytes_max: usize,
}

impl IdempotencySettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            ttl: reader.get(
                "SERVER_IDEMPOTENCY_TTL",
                "86400.0",
                seconds(),
                "time that an outcome is kept for repeated requests, in seconds",
            ),
            entries_max: reader.get(
                "SERVER_IDEMPOTENCY_MAX",
                "10000",
                count(),
                "keys of requests known at once",
            ),
            bytes_max: reader.get(
                "SERVER_IDEMPOTENCY_BYTES_MAX",
                "67108864",
                count(),
                "room for outcomes of requests, in bytes",
            ),
        }
    }
}

impl Default for IdempotencySettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}
