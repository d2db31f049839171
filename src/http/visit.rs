//! A GET that another edge answers, such as a stream of events: a path enters with what answers, a
//! configuration for an actix-web application leaves. Methods, traces, counts and problems are as
//! for every route.

use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};
use callboard_actors::Bus;
use futures_util::future::LocalBoxFuture;

use super::accept;
use super::call::Call;
use super::mount::{Answer, Endpoint, Mount};
use super::path::Pattern;
use super::percent::{BadEncoding, decode_query};
use super::problem::Problem;
use super::traffic::Traffic;

/// A request for something that is not a reply to an event.
pub(crate) struct Visit {
    pub(crate) request: HttpRequest,
}

pub(crate) type Visiting = LocalBoxFuture<'static, Result<HttpResponse, Problem>>;

impl Visit {
    /// Whether it is asked only what a GET would say: the answer has no body.
    pub(crate) fn is_head(&self) -> bool {
        self.request.method() == Method::HEAD
    }

    /// The names and values of the query string, in order.
    ///
    /// # Errors
    /// The problem of one that is not text.
    pub(crate) fn query(&self) -> Result<Vec<(String, String)>, Problem> {
        let query = self.request.uri().query().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode_query(name)?.into_owned(), decode_query(value)?.into_owned()))
        });
        decoded.collect::<Result<_, _>>().map_err(|BadEncoding| Problem::bad_encoding())
    }

    /// Refuses a client that does not take this media type.
    ///
    /// # Errors
    /// The problem of one that does not.
    pub(crate) fn demand(&self, media: &str) -> Result<(), Problem> {
        accept::demand(self.request.headers(), media)
    }
}

/// Says what is wrong with a path, if anything.
pub(crate) fn fault_of_path(path: &str) -> Option<&'static str> {
    Pattern::parse(path).err()
}

/// Answers GET at a path; a faulty path is nowhere.
pub(crate) fn visits<F: Fn(Visit) -> Visiting + Send + Sync + 'static>(
    path: &str,
    bus: Bus,
    traffic: &Traffic,
    answer: F,
) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<F> + 'static {
    let mut mount = Mount::new(bus, false).traced().counted_in(traffic);
    if let Ok(pattern) = Pattern::parse(path) {
        mount.add(Method::GET, path, pattern, Box::new(Visited(answer)));
    }
    mount.into_config()
}

struct Visited<F>(F);

impl<F: Fn(Visit) -> Visiting + Send + Sync> Endpoint for Visited<F> {
    fn answer(&self, call: Call) -> Answer<'_> {
        (self.0)(Visit { request: call.request })
    }
}
