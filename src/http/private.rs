//! An endpoint behind a door: a call enters, is let through with the identity of who makes it, or is
//! refused before anything of its body is read.

use actix_web::http::header::AUTHORIZATION;

use super::call::Call;
use super::mount::{Answer, Endpoint};
use crate::auth::{Credentials, Guard};

struct Private {
    guard: Guard,
    endpoint: Box<dyn Endpoint>,
}

/// The endpoint behind its guard, if it has one.
pub(super) fn private(guard: Option<Guard>, endpoint: Box<dyn Endpoint>) -> Box<dyn Endpoint> {
    match guard {
        Some(guard) => Box::new(Private { guard, endpoint }),
        None => endpoint,
    }
}

impl Endpoint for Private {
    fn answer(&self, mut call: Call) -> Answer<'_> {
        Box::pin(async move {
            let shown = call.request.headers().get_all(AUTHORIZATION);
            let credentials = Credentials::from_authorization(shown);
            call.identity = Some(self.guard.admit(credentials).await?.identity);
            self.endpoint.answer(call).await
        })
    }
}
