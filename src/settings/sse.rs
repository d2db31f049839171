//! The settings of streams of events: a reader enters, a group leaves.

use std::time::Duration;

use super::reader::Reader;
use super::syntax::{count, seconds};

/// The limits of streams of server-sent events.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SseSettings {
    /// `SSE_STREAMS_MAX`: the streams open at once; 10000.
    pub streams_max: usize,
    /// `SSE_QUEUE_MAX`: the events that wait for one client; 256.
    pub queue_max: usize,
    /// `SSE_REPLAY_MAX`: the latest events kept for clients that come back, of all permitted names
    /// together; 1000.
    pub replay_max: usize,
    /// `SSE_ROOMS_MAX`: the rooms of one stream; 64.
    pub rooms_max: usize,
    /// `SSE_HEARTBEAT`: the time between two signs of life, in seconds, up to a year; 15.
    pub heartbeat: Duration,
    /// `SSE_RETRY`: how long a client that lost its stream waits before it comes back, in seconds,
    /// up to a year; 3.
    pub retry: Duration,
}

impl SseSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            streams_max: reader.get("SSE_STREAMS_MAX", "10000", count(), "streams open at once"),
            queue_max: reader.get(
                "SSE_QUEUE_MAX",
                "256",
                count(),
                "events that wait for one client",
            ),
            replay_max: reader.get(
                "SSE_REPLAY_MAX",
                "1000",
                count(),
                "latest events kept for clients that come back",
            ),
            rooms_max: reader.get("SSE_ROOMS_MAX", "64", count(), "rooms of one stream"),
            heartbeat: reader.get(
                "SSE_HEARTBEAT",
                "15.0",
                seconds(),
                "time between two signs of life, in seconds",
            ),
            retry: reader.get(
                "SSE_RETRY",
                "3.0",
                seconds(),
                "time after which a client that lost its stream comes back, in seconds",
            ),
        }
    }
}

impl Default for SseSettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}
