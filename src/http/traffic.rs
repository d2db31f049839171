//! How long requests took: a route and the status of each answer enter, a histogram by route and
//! class of status leaves. What is not a declared route is one series, so that clients cannot make
//! more of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use actix_web::http::StatusCode;
use parking_lot::Mutex;

/// What the method is called where a path is known and has no endpoint of that method, and where
/// nothing is at a path.
const OTHER_METHOD: &str = "other";

/// What the route is called where nothing is at a path.
const UNKNOWN_PATH: &str = "unknown";

/// The longest durations of the buckets, in milliseconds; what takes longer has a bucket of its own.
pub(super) const LIMITS_MS: [u64; 13] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/// The classes of status, as labels: the first digit tells which.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The durations of HTTP requests by route: a cheap handle to counters that its clones share.
///
/// Give the same one to [`Routes::counted_in`](super::Routes::counted_in), which counts, and to
/// [`Operations::traffic`](super::Operations::traffic), whose `/metrics` shows it. An
/// [`App`](crate::App) does that itself. There is one series for each declared method and path, one
/// for all other methods of each path, and one for all unknown paths.
#[derive(Clone, Default)]
pub struct Traffic {
    all: Arc<Mutex<Vec<Arc<Series>>>>,
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").field("series", &self.all.lock().len()).finish_non_exhaustive()
    }
}

impl Traffic {
    /// The series of a declared method and path.
    pub(super) fn series(&self, method: &str, route: &str) -> Arc<Series> {
        let mut all = self.all.lock();
        if let Some(known) = all.iter().find(|known| known.is(method, route)) {
            return Arc::clone(known);
        }
        let (method, route) = (method.to_owned(), route.to_owned());
        let series = Arc::new(Series { method, route, classes: Default::default() });
        all.push(Arc::clone(&series));
        series
    }

    /// The series of all methods of a declared path that have no endpoint.
    pub(super) fn other_methods(&self, route: &str) -> Arc<Series> {
        self.series(OTHER_METHOD, route)
    }

    /// The series of all paths that nobody declared.
    pub(super) fn unknown_path(&self) -> Arc<Series> {
        self.series(OTHER_METHOD, UNKNOWN_PATH)
    }

    /// What was counted, in the order of routes and methods.
    pub(super) fn snapshot(&self) -> Vec<Counted> {
        let mut all = self.all.lock().clone();
        all.sort_by(|a, b| (&a.route, &a.method).cmp(&(&b.route, &b.method)));
        all.iter().flat_map(|series| series.counted()).collect()
    }
}

/// The counters of one route.
#[derive(Default)]
pub(super) struct Series {
    method: String,
    route: String,
    classes: [Class; CLASSES.len()],
}

#[derive(Default)]
struct Class {
    counts: [AtomicU64; LIMITS_MS.len() + 1],
    sum_ns: AtomicU64,
}

/// The requests of one route that were answered with one class of status.
pub(super) struct Counted {
    pub(super) method: String,
    pub(super) route: String,
    pub(super) class: &'static str,
    /// By bucket; the last one has what took longer than any limit.
    pub(super) counts: [u64; LIMITS_MS.len() + 1],
    pub(super) sum: Duration,
}

impl Series {
    /// Counts one answer. What has no class cannot be sent.
    pub(super) fn record(&self, status: StatusCode, took: Duration) {
        let digit = usize::from(status.as_u16() / 100);
        let Some(class) = digit.checked_sub(1).and_then(|at| self.classes.get(at)) else {
            return;
        };
        let bucket = LIMITS_MS.partition_point(|limit| Duration::from_millis(*limit) < took);
        class.counts[bucket].fetch_add(1, Relaxed);
        // Enough for five centuries.
        class.sum_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    fn is(&self, method: &str, route: &str) -> bool {
        self.method == method && self.route == route
    }

    fn counted(&self) -> Vec<Counted> {
        let classes = CLASSES.into_iter().zip(&self.classes);
        let counted = classes.map(|(class, counters)| Counted {
            method: self.method.clone(),
            route: self.route.clone(),
            class,
            counts: counters.counts.each_ref().map(|count| count.load(Relaxed)),
            sum: Duration::from_nanos(counters.sum_ns.load(Relaxed)),
        });
        counted.filter(|counted| counted.counts.iter().any(|count| *count > 0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_counted_in_the_first_bucket_that_holds_it() {
        let traffic = Traffic::default();
        let series = traffic.series("GET", "/a/{b}");
        for micros in [0, 1_000, 1_001, 10_000_000, 10_000_001] {
            series.record(StatusCode::OK, Duration::from_micros(micros));
        }
        series.record(StatusCode::NOT_FOUND, Duration::from_millis(30));
        let counted = traffic.snapshot();
        assert_eq!(counted.iter().map(|c| c.class).collect::<Vec<_>>(), ["2xx", "4xx"]);
        let ok = &counted[0];
        assert_eq!((ok.method.as_str(), ok.route.as_str()), ("GET", "/a/{b}"));
        assert_eq!(ok.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(ok.sum, Duration::from_micros(20_002_002));
        assert_eq!(counted[1].counts[5], 1);
    }

    #[test]
    fn a_route_that_is_installed_twice_is_one_series() {
        let traffic = Traffic::default();
        let both = ["GET", "GET", "POST"].map(|method| traffic.series(method, "/a"));
        both[0].record(StatusCode::OK, Duration::ZERO);
        both[1].record(StatusCode::OK, Duration::ZERO);
        assert_eq!(traffic.all.lock().len(), 2);
        assert_eq!(traffic.snapshot()[0].counts[0], 2);
    }
}
