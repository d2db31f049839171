//! An endpoint behind a door: a call enters, is counted and let through with the identity of who
//! makes it, or is refused before anything of its body is read.

use actix_web::http::header::AUTHORIZATION;

use super::call::Call;
use super::meter::Meters;
use super::mount::{Answer, Endpoint};
use crate::auth::{Credentials, Guard};

struct Private {
    guard: Option<Guard>,
    meters: Meters,
    endpoint: Box<dyn Endpoint>,
}

/// The endpoint behind its guard, if it has one, and behind the limit of the whole server.
pub(super) fn private(guard: Option<Guard>, endpoint: Box<dyn Endpoint>) -> Box<dyn Endpoint> {
    metered(guard, Meters::default(), endpoint)
}

/// The endpoint behind its guard and behind limits of its own too.
pub(super) fn metered(
    guard: Option<Guard>,
    meters: Meters,
    endpoint: Box<dyn Endpoint>,
) -> Box<dyn Endpoint> {
    Box::new(Private { guard, meters, endpoint })
}

impl Endpoint for Private {
    fn answer(&self, mut call: Call) -> Answer<'_> {
        // Nobody asks, so nobody need be waited for.
        if self.guard.is_none() && self.meters.is_idle(&call.request) {
            return self.endpoint.answer(call);
        }
        Box::pin(async move {
            let request = call.request.clone();
            let shown = || {
                let shown = request.headers().get_all(AUTHORIZATION);
                Credentials::from_authorization(shown)
            };
            let known = self.meters.admit(&request, self.guard.as_ref(), shown).await?;
            call.identity = known.map(|known| known.identity);
            self.endpoint.answer(call).await
        })
    }
}
