//! Counts requests by client before anything else is done for them: a request with its client
//! enters, and leaves counted, or as a refusal that says when to come again.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};
use callboard_actors::{Level, Limiter, Take};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::address::ClientAddress;
use super::digest::Digest;
use super::problem::Problem;
use super::quota::Quota;
use crate::auth::{AuthError, Authenticated, Credentials, Guard, Refused};
use crate::settings::ProxySettings;

/// The limits that count for a request, with what is left of them.
pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What the limits are.
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The longest name of an identity that is kept as it is, in bytes.
const SUBJECT_MAX: usize = 64;

/// One limit and what clients have used of it.
pub(super) struct Meter {
    /// As clients are told.
    name: &'static str,
    pub(super) quota: Quota,
    /// What clients are told of the quota.
    policy: HeaderValue,
    identities: Limiter,
    addresses: Limiter,
    /// By address, the requests whose sender could not prove who it is. Apart from those that need
    /// not prove it: they keep nobody from signing in.
    failures: Limiter,
}

/// The limits that a request has to pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Meters {
    own: SmallVec<[Arc<Meter>; 2]>,
    proxies: Arc<ProxySettings>,
}

/// How a client stands with one limit.
struct Standing {
    meter: Arc<Meter>,
    level: Level,
}

/// What the limits said to a request, for the headers of its response.
struct Standings(SmallVec<[Standing; 2]>);

/// By what a request is counted.
enum Client<'c> {
    Identity(&'c str),
    Address(ClientAddress),
}

impl Meter {
    pub(super) fn new(name: &'static str, quota: Quota) -> Self {
        let limiter = || Limiter::new(quota.as_limit());
        let (identities, addresses, failures) = (limiter(), limiter(), limiter());
        let policy = format!("\"{name}\";q={};w={}", quota.most(), quota.window());
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static(""));
        Self { name, quota, policy, identities, addresses, failures }
    }

    fn of(&self, client: &Client<'_>) -> &Limiter {
        match client {
            Client::Identity(_) => &self.identities,
            Client::Address(_) => &self.addresses,
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, quota, .. } = self;
        f.debug_struct("Meter").field("name", name).field("quota", quota).finish_non_exhaustive()
    }
}

impl Client<'_> {
    /// No longer than some bytes, whatever a provider calls its clients.
    fn key(&self) -> Cow<'_, str> {
        match self {
            Self::Identity(subject) if subject.len() <= SUBJECT_MAX => Cow::Borrowed(subject),
            Self::Identity(subject) => Cow::Owned(Digest::of([subject.as_bytes()]).to_string()),
            Self::Address(address) => Cow::Owned(address.to_string()),
        }
    }
}

impl Meters {
    pub(super) fn new(
        meters: impl IntoIterator<Item = Arc<Meter>>,
        proxies: &Arc<ProxySettings>,
    ) -> Self {
        Self { own: meters.into_iter().collect(), proxies: Arc::clone(proxies) }
    }

    /// Whether there is no limit for this request.
    pub(super) fn is_idle(&self, request: &HttpRequest) -> bool {
        self.own.is_empty() && request.app_data::<Self>().is_none()
    }

    /// Those of the whole server, where it has one, and these.
    fn with_server<'m>(&'m self, request: &'m HttpRequest) -> Cow<'m, Self> {
        match request.app_data::<Self>() {
            None => Cow::Borrowed(self),
            Some(server) if self.own.is_empty() => Cow::Borrowed(server),
            Some(server) => {
                let all = server.own.iter().chain(&self.own).cloned().collect();
                Cow::Owned(Self { own: all, proxies: Arc::clone(&server.proxies) })
            }
        }
    }

    /// Lets a request in, after whom the guard asks where there is one.
    ///
    /// Who has failed to prove who it is too often is refused before it is asked again; attempts
    /// that are under way at the same moment may be more.
    pub(super) async fn admit(
        &self,
        request: &HttpRequest,
        guard: Option<&Guard>,
        credentials: impl FnOnce() -> Result<Credentials, AuthError>,
    ) -> Result<Option<Authenticated>, Problem> {
        if self.is_idle(request) {
            let Some(guard) = guard else { return Ok(None) };
            return Ok(Some(guard.admit(credentials()).await?));
        }
        let all = self.with_server(request);
        let Some(guard) = guard else {
            all.count_address(request)?;
            return Ok(None);
        };
        let address = || ClientAddress::of(request, &all.proxies).to_string();
        all.refuse_guesses(request, address)?;
        let known = guard.identify(credentials()).await.inspect_err(|refused| {
            if let Refused::Unknown(error) = refused
                && error.www_authenticate().is_some()
            {
                all.note_failure(&address());
            }
        })?;
        all.count(request, &Client::Identity(&known.identity.subject))?;
        guard.permit(&known.identity)?;
        Ok(Some(known))
    }

    fn count_address(&self, request: &HttpRequest) -> Result<(), Problem> {
        let address = ClientAddress::of(request, &self.proxies);
        self.count(request, &Client::Address(address))
    }

    /// Takes a token of each limit, or of none.
    fn count(&self, request: &HttpRequest, client: &Client<'_>) -> Result<(), Problem> {
        let (key, now) = (client.key(), Instant::now());
        let mut taken = Standings(SmallVec::new());
        for meter in &self.own {
            let (take, level) = meter.of(client).take_and_level(&key, now);
            taken.add(meter, level);
            let refusal = match take {
                Take::Now => continue,
                // Nobody waits for a token here.
                Take::After(retry_after) | Take::Refused { retry_after } => exceeded(retry_after),
                Take::NoRoom { retry_after } => {
                    let clients_max = meter.quota.clients_max;
                    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "clients_max")
                        .detail("too many clients are counted just now")
                        .internal(format!("{clients_max} clients are counted"))
                        .retry_after(retry_after)
                }
            };
            let before = self.own.iter().take(taken.0.len() - 1);
            before.for_each(|meter| meter.of(client).put_back(&key));
            request.extensions_mut().insert(taken);
            return Err(refusal);
        }
        request.extensions_mut().insert(taken);
        Ok(())
    }

    fn refuse_guesses(
        &self,
        request: &HttpRequest,
        address: impl FnOnce() -> String,
    ) -> Result<(), Problem> {
        if self.own.iter().all(|meter| meter.failures.is_empty()) {
            return Ok(());
        }
        let (address, now) = (address(), Instant::now());
        for meter in &self.own {
            let level = meter.failures.level(&address, now);
            if level.left == 0 {
                let mut standings = Standings(SmallVec::new());
                standings.add(meter, level);
                request.extensions_mut().insert(standings);
                return Err(exceeded(level.next_after));
            }
        }
        Ok(())
    }

    /// Where there is no room to note it, other failures have taken it: the refusal stands.
    fn note_failure(&self, address: &str) {
        let now = Instant::now();
        for meter in &self.own {
            meter.failures.take(address, now);
        }
    }
}

impl Standings {
    fn add(&mut self, meter: &Arc<Meter>, level: Level) {
        self.0.push(Standing { meter: Arc::clone(meter), level });
    }
}

/// Lets a request in that is counted by the limit of the whole server alone.
pub(crate) async fn admit(
    request: &HttpRequest,
    guard: Option<&Guard>,
    credentials: impl FnOnce() -> Result<Credentials, AuthError>,
) -> Result<Option<Authenticated>, Problem> {
    Meters::default().admit(request, guard, credentials).await
}

/// Counts a request that nothing else counts, by its address.
pub(super) fn count(request: &HttpRequest) -> Result<(), Problem> {
    let meters = request.app_data::<Meters>();
    meters.map_or(Ok(()), |meters| meters.count_address(request))
}

/// Tells the client how it stands with the limits that its request was counted by
/// (draft-ietf-httpapi-ratelimit-headers).
pub(crate) fn tell(request: &HttpRequest, headers: &mut HeaderMap) {
    let extensions = request.extensions();
    let Some(Standings(standings)) = extensions.get::<Standings>() else { return };
    let mut limits = String::with_capacity(64);
    for Standing { meter, level } in standings {
        let reset = if level.left == 0 { level.next_after } else { level.full_after };
        let (mut left, mut seconds) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (left, seconds) = (left.format(level.left), seconds.format(whole_seconds(reset)));
        let comma = if limits.is_empty() { "\"" } else { ", \"" };
        limits.extend([comma, meter.name, "\";r=", left, ";t=", seconds]);
    }
    let policies = match &standings[..] {
        [only] => Ok(only.meter.policy.clone()),
        all => {
            let policies = all.iter().filter_map(|standing| standing.meter.policy.to_str().ok());
            HeaderValue::try_from(policies.collect::<Vec<_>>().join(", "))
        }
    };
    for (name, value) in
        [(RATE_LIMIT, HeaderValue::try_from(limits)), (RATE_LIMIT_POLICY, policies)]
    {
        if let Ok(value) = value
            && !value.is_empty()
        {
            headers.insert(name, value);
        }
    }
}

fn exceeded(retry_after: Duration) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "quota_exceeded")
        .detail("there were too many requests of this client")
        .retry_after(retry_after)
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
