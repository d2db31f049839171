//! How many requests one client may make in a time: what an author or the settings say.

use std::time::Duration;

use callboard_actors::{RateLimit, secs};

use crate::settings::RateSettings;

/// The longest time that is counted: a year, as in the settings.
const PER_MAX: Duration = Duration::from_hours(365 * 24);

/// How many requests one client may make in a time.
///
/// A client is an identity, where a request has one, else an address: one of IPv4, or the 64 first
/// bits of one of IPv6. Each has a bucket of tokens; a request takes one out, and they come back
/// evenly.
///
/// ```
/// # use callboard::{Replies, http::{Quota, Route, Routes}};
/// # fn example<FindItem: Replies, PlaceOrder: Replies>() -> Routes {
/// Routes::new()
///     .get::<FindItem>("/items/{sku}")
///     .route(Route::post::<PlaceOrder>("/orders").rate_limit(Quota::per_minute(30).burst(5)))
///     .rate_limit(Quota::per_second(50))
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// How many requests one client may make in one period. At least 1.
    pub requests: u32,
    /// The period. More than zero, at most a year.
    pub per: Duration,
    /// How many may come at once after a pause. At least 1. Default: those of one period.
    pub burst: Option<u32>,
    /// How many identities are counted at once, and how many addresses. At least 1. One that was
    /// idle until its tokens were back makes room; where there is none, a client that is not counted
    /// yet is refused with 503. Default 100 000, which take up to 20 MB.
    pub clients_max: usize,
}

impl Quota {
    /// So many requests in each `per`.
    pub fn new(requests: u32, per: Duration) -> Self {
        Self { requests, per, burst: None, clients_max: 100_000 }
    }

    /// So many requests in each second.
    pub fn per_second(requests: u32) -> Self {
        Self::new(requests, secs(1))
    }

    /// So many requests in each minute.
    pub fn per_minute(requests: u32) -> Self {
        Self::new(requests, secs(60))
    }

    /// So many requests in each hour.
    pub fn per_hour(requests: u32) -> Self {
        Self::new(requests, secs(3600))
    }

    /// Sets [`burst`](Self::burst), in requests.
    pub fn burst(mut self, requests: u32) -> Self {
        self.burst = Some(requests);
        self
    }

    /// Sets [`clients_max`](Self::clients_max).
    pub fn clients_max(mut self, clients: usize) -> Self {
        self.clients_max = clients;
        self
    }

    /// The one of the settings, if they have one.
    pub(super) fn configured(settings: &RateSettings) -> Option<Self> {
        let RateSettings { limit, per, burst, clients_max, .. } = *settings;
        Some(Self { requests: limit?, per, burst, clients_max })
    }

    /// What is wrong with the values, if anything.
    pub(super) fn fault(&self) -> Option<&'static str> {
        if self.requests == 0 || self.burst == Some(0) {
            Some("the rate limit lets nothing in: it has 0 requests")
        } else if self.per.is_zero() || self.per > PER_MAX {
            Some("the period of the rate limit is 0, or longer than a year")
        } else if self.clients_max == 0 {
            Some("the rate limit's clients_max is 0: nobody could be counted")
        } else {
            None
        }
    }

    /// The most requests at once.
    pub(super) fn most(&self) -> u32 {
        self.burst.unwrap_or(self.requests)
    }

    /// In which time they are all back, in whole seconds, at least 1.
    pub(super) fn window(&self) -> u64 {
        let whole = self.per.as_nanos() * u128::from(self.most());
        let nanos = whole.div_ceil(u128::from(self.requests.max(1)));
        u64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(u64::MAX).max(1)
    }

    pub(super) fn as_limit(&self) -> RateLimit {
        let limit = RateLimit::new(self.requests, self.per).burst(self.most());
        limit.refusing().keys_max(self.clients_max)
    }
}
