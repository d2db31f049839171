//! Who a client is that stays for longer than a request, and until when: a request enters, somebody
//! known, somebody unknown or a problem leaves.

use std::time::{Duration, SystemTime};

use actix_web::http::StatusCode;
use actix_web::{HttpMessage, HttpRequest};
use callboard_actors::Identity;

use crate::auth::{AuthError, Credentials, Guard};
use crate::http::{self, Problem};

/// How often the clock of the day is looked at, at least: it can be set, and stands still on no
/// machine that sleeps.
const CLOCK_LOOK: Duration = Duration::from_mins(1);

/// Who stands at the door, if anybody; or why nobody may come in.
pub(crate) type Door = Result<Option<Guard>, &'static str>;

/// Who a client is, as the server established it.
#[derive(Default)]
pub(crate) struct Visitor {
    pub(crate) identity: Option<Identity>,
    /// Until when that holds.
    pub(crate) expires_at: Option<SystemTime>,
}

impl Visitor {
    /// Finds out who comes; where nobody stands at the door, a middleware may have.
    pub(crate) async fn receive(
        door: &Door,
        request: &HttpRequest,
        shown: impl FnOnce() -> Result<Credentials, AuthError>,
    ) -> Result<Self, Problem> {
        let Ok(guard) = door else {
            // The log named the fault when the route was installed.
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "bad_route"));
        };
        if let Some(known) = http::admit(request, guard.as_ref(), shown).await? {
            return Ok(Self { identity: Some(known.identity), expires_at: known.expires_at });
        }
        let identity = request.extensions().get::<Identity>().cloned();
        Ok(Self { identity, expires_at: None })
    }

    /// How long to wait before looking again whether the proof still holds: nothing once it does
    /// not, `None` where it holds for good.
    pub(crate) fn next_look(&self) -> Option<Duration> {
        let left = self.expires_at?.duration_since(SystemTime::now());
        Some(left.unwrap_or_default().min(CLOCK_LOOK))
    }
}
