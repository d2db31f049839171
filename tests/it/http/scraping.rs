//! The metrics as Prometheus reads them: a strict reader of both text formats, and `promtool` where
//! there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

use awc::http::Method;
use callboard::http::{Operations, Routes, Traffic, not_found};
use callboard::settings::Settings;
use callboard::ws::Ws;
use callboard::{App, Breaker, Domain, HandlerError, Policy, Running, secs};
use serde_json::json;

use super::{Answer, PATIENCE, Server, answer, by_policy, events, until};

events! {
    "shop.buy" => Buy { item: String } -> Bought;
    "shop.bought" => Bought { item: String };
    "shop.weigh" => Weigh {} -> Weighed;
    "shop.weighed" => Weighed {};
}

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn domain() -> Domain {
    let policy = Policy::default().breaker(Breaker::consecutive(1).open_for(secs(60)));
    Domain::new("shop")
        .handler(answer(|Buy { item }| match item.as_str() {
            "moon" => Err(HandlerError::not_found("not for sale")),
            _ => Ok(Bought { item }),
        }))
        .handler(by_policy(policy.attempts_max(1), |_: Weigh, _| async {
            Err::<Weighed, _>(HandlerError::retry("no scales"))
        }))
}

fn routes() -> Routes {
    Routes::new().get::<Buy>("/buy/{item}").post::<Weigh>("/weigh")
}

/// The application, with all that it shows.
struct Shop {
    running: Running,
    client: awc::Client,
}

impl Shop {
    async fn start() -> Self {
        let settings = Settings::from_vars([("SERVER_PORT", "0")]).unwrap();
        let app = App::new(settings).mount(domain()).routes(routes()).ws("/ws", Ws::new());
        let running = app.every(secs(60), Bought { item: "rent".into() }).start().await.unwrap();
        Self { running, client: awc::Client::builder().timeout(PATIENCE).finish() }
    }

    async fn call(&self, method: Method, path: &str) -> u16 {
        let url = format!("http://{}{path}", self.running.addresses()[0]);
        let mut response = self.client.request(method, url).send().await.unwrap();
        response.body().await.unwrap();
        response.status().as_u16()
    }

    async fn scrape(&self, accept: &str) -> Answer {
        let url = format!("http://{}/metrics", self.running.addresses()[0]);
        Answer::of(self.client.get(url).insert_header(("accept", accept)).send().await.unwrap())
            .await
    }

    /// Causes something of everything.
    async fn be_busy(&self) {
        assert_eq!(self.call(Method::GET, "/buy/tea").await, 200);
        assert_eq!(self.call(Method::HEAD, "/buy/a%22b").await, 200);
        assert_eq!(self.call(Method::GET, "/buy/moon").await, 404);
        assert_eq!(self.call(Method::DELETE, "/buy/tea").await, 405);
        assert_eq!(self.call(Method::POST, "/weigh").await, 500);
        assert_eq!(self.call(Method::POST, "/weigh").await, 503);
        for path in ["/nowhere", "/nowhere/else", "/buy/a/b"] {
            assert_eq!(self.call(Method::GET, path).await, 404);
        }
        let finished = || {
            let handlers = self.running.bus().metrics().handlers;
            handlers.values().map(|handler| handler.processed).sum::<u64>() >= 5
        };
        until("all deliveries are counted", finished).await;
    }
}

/// A text of metrics, read by its grammar; what breaks a rule panics with the line.
#[derive(Debug, Default)]
struct Scrape {
    /// By name: the type.
    families: BTreeMap<String, String>,
    /// By name and labels.
    samples: BTreeMap<(String, Vec<(String, String)>), f64>,
}

impl Scrape {
    #[track_caller]
    fn read(text: &str, is_open: bool) -> Self {
        let mut scrape = Self::default();
        let (mut current, mut has_help, mut has_unit) = (String::new(), false, false);
        assert!(text.ends_with('\n') && !text.contains('\r'), "lines end with a line feed");
        let end = if is_open { "# EOF\n" } else { "" };
        let text = text.strip_suffix(end).expect("it says where it ends");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(is_name(name), "{line}");
                let is_counter_sample = name.ends_with("_total");
                assert_eq!(is_counter_sample, kind == "counter" && !is_open, "{line}");
                let known = scrape.families.insert(name.to_owned(), kind.to_owned());
                assert_eq!(known, None, "twice: {line}");
                (current, has_help, has_unit) = (name.to_owned(), false, false);
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert_eq!((name, has_help), (&*current, false), "{line}");
                assert!(help.ends_with('.'), "{line}");
                has_help = true;
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                assert!(is_open && rest == format!("{current} seconds"), "{line}");
                assert!(current.ends_with("_seconds"), "{line}");
                has_unit = true;
            } else {
                assert!(has_help, "no help before {line}");
                assert_eq!(has_unit, is_open && current.ends_with("_seconds"), "{line}");
                scrape.read_sample(line, &current, is_open);
            }
        }
        scrape.check_histograms();
        scrape
    }

    fn read_sample(&mut self, line: &str, family: &str, is_open: bool) {
        let end = line.find(['{', ' ']).unwrap();
        let (name, rest) = line.split_at(end);
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("not {family}: {line}"));
        let suffixes: &[&str] = match self.families[family].as_str() {
            "counter" if is_open => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(suffixes.contains(&suffix), "{line}");
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => read_labels(rest, line),
            None => (Vec::new(), rest),
        };
        let names: BTreeSet<_> = labels.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), labels.len(), "a label twice: {line}");
        assert_eq!(suffix == "_bucket", labels.iter().any(|(name, _)| name == "le"), "{line}");
        let value = value.strip_prefix(' ').unwrap().parse::<f64>().unwrap();
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let known = self.samples.insert((name.to_owned(), labels), value);
        assert_eq!(known, None, "twice: {line}");
    }

    /// Buckets grow, the last one has everything, and there is a sum.
    fn check_histograms(&self) {
        let histograms = self.families.iter().filter(|(_, kind)| *kind == "histogram");
        for (family, _) in histograms {
            let counts = self.of(&format!("{family}_count"));
            assert!(!counts.is_empty(), "{family}");
            for (labels, count) in counts {
                let mut buckets: Vec<(f64, f64)> = Vec::new();
                for (mut of_bucket, within) in self.of(&format!("{family}_bucket")) {
                    let (_, limit) = of_bucket.pop().unwrap();
                    if of_bucket == labels {
                        buckets.push((limit.parse().unwrap(), within));
                    }
                }
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{buckets:?}");
                assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{family} {labels:?}");
                assert!(self.samples.contains_key(&(format!("{family}_sum"), labels)));
            }
        }
    }

    /// The samples of one name.
    fn of(&self, name: &str) -> Vec<(Vec<(String, String)>, f64)> {
        let samples = self.samples.iter().filter(|((known, _), _)| known == name);
        samples.map(|((_, labels), value)| (labels.clone(), *value)).collect()
    }

    #[track_caller]
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let key = (name.to_owned(), labels.iter().map(owned).collect());
        *self.samples.get(&key).unwrap_or_else(|| panic!("no {key:?} in {:#?}", self.samples))
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with("callboard_") && name.chars().all(plain)
}

/// Reads labels up to the closing brace; what comes after it is left.
fn read_labels<'t>(mut rest: &'t str, line: &str) -> (Vec<(String, String)>, &'t str) {
    let mut labels = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"").unwrap();
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        let (mut value, mut chars) = (String::new(), after.char_indices());
        let end = loop {
            match chars.next().expect("a label ends with its line") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, c @ ('"' | '\\'))) => c,
                    other => panic!("\\{other:?} in {line}"),
                }),
                (_, c) => value.push(c),
            }
        };
        labels.push((name.to_owned(), value));
        rest = &after[end + 1..];
        match rest.split_at(1) {
            (",", more) => rest = more,
            ("}", more) => return (labels, more),
            _ => panic!("{rest} in {line}"),
        }
    }
}

#[actix_web::test]
async fn both_formats_follow_their_grammar_and_say_the_same() {
    let shop = Shop::start().await;
    shop.be_busy().await;
    let mut names = Vec::new();
    for (accept, content_type, is_open) in [
        ("text/plain", PROMETHEUS, false),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", OPENMETRICS, true),
    ] {
        let answer = shop.scrape(accept).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), content_type);
        assert_eq!(answer.header("vary"), "accept");
        let scrape = Scrape::read(answer.text(), is_open);
        let metrics = shop.running.bus().metrics();
        let handlers = metrics.handlers;
        let counted = scrape.of("callboard_deliveries_total");
        assert_eq!(counted.len(), handlers.len());
        for (labels, value) in counted {
            let handler = &handlers[&labels[0].1];
            assert_eq!(handler.processed.to_string(), value.to_string(), "{labels:?}");
            let labels = [("handler", labels[0].1.as_str())];
            let count = scrape.value("callboard_delivery_duration_seconds_count", &labels);
            assert_eq!(count.to_string(), value.to_string(), "{labels:?}");
        }
        assert!(metrics.requested > 0 && metrics.dead_letters > 0);
        for (name, labels, expected) in [
            ("callboard_events_requested_total", &[][..], metrics.requested),
            ("callboard_dead_letters", &[], metrics.dead_letters as u64),
            ("callboard_schedules", &[], 1),
            ("callboard_running", &[], 1),
            ("callboard_ws_sessions", &[("path", "/ws")], 0),
        ] {
            assert_eq!(scrape.value(name, labels).to_string(), expected.to_string(), "{name}");
        }
        let open: Vec<_> = (scrape.of("callboard_breaker_state").into_iter())
            .filter_map(|(labels, value)| (value > 0.0).then(|| labels[1].1.clone()))
            .collect();
        assert_eq!(open, ["open"], "one handler has a breaker, and it has failed once");
        names.push(scrape.samples.into_keys().map(|(name, _)| name).collect::<BTreeSet<_>>());
    }
    assert_eq!(names[0], names[1]);
    shop.running.stop().await.unwrap();
}

#[actix_web::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let shop = Shop::start().await;
    shop.be_busy().await;
    let scrape = Scrape::read(shop.scrape("text/plain").await.text(), false);
    let name = "callboard_http_request_duration_seconds_count";
    let counted = scrape.of(name).into_iter().map(|(labels, value)| {
        let values: Vec<_> = labels.into_iter().map(|(_, value)| value).collect();
        format!("{} {value}", values.join(" "))
    });
    let expected = [
        "GET /buy/{item} 2xx 2",
        "GET /buy/{item} 4xx 1",
        "POST /weigh 5xx 2",
        "other /buy/{item} 4xx 1",
        "other unknown 4xx 3",
    ];
    assert_eq!(counted.collect::<Vec<_>>(), expected);
    let again = Scrape::read(shop.scrape("text/plain").await.text(), false);
    let labels = [("method", "GET"), ("route", "/metrics"), ("status", "2xx")];
    assert_eq!(
        again.value(name, &labels).to_string(),
        "1",
        "the first look is counted by the second"
    );
    shop.running.stop().await.unwrap();
}

#[actix_web::test]
async fn who_does_not_ask_for_text_gets_json() {
    let shop = Shop::start().await;
    for accept in ["*/*", "application/json", "text/html,*/*;q=0.8", "text/plain;q=0.1,*/*"] {
        let json = shop.scrape(accept).await.ok(200);
        assert_eq!(json["requested"], 0, "{accept}");
    }
    shop.running.stop().await.unwrap();
}

#[actix_web::test]
async fn routes_of_an_embedding_application_are_counted_where_it_says() {
    let runtime = routes().declare(callboard::Runtime::new().mount(domain()));
    let runtime = runtime.start().await.unwrap();
    let (bus, traffic) = (runtime.bus(), Traffic::default());
    let api = routes().counted_in(&traffic).install(bus.clone());
    let watch = Operations::new(bus.clone()).traffic(&traffic).install();
    let app = move || {
        let scope = actix_web::web::scope("/v1").configure(api.clone());
        let app = actix_web::App::new().service(scope).configure(watch.clone());
        app.default_service(not_found(bus.clone()))
    };
    let server: Server = super::serve!(runtime, app());
    server.get("/v1/buy/tea").await.ok(200);
    let request = server.request(Method::GET, "/metrics");
    let request = request.insert_header(("accept", "text/plain"));
    let answer = Answer::of(request.send().await.unwrap()).await;
    let scrape = Scrape::read(answer.text(), false);
    let labels = [("method", "GET"), ("route", "/buy/{item}"), ("status", "2xx")];
    let name = "callboard_http_request_duration_seconds_count";
    assert_eq!(scrape.value(name, &labels).to_string(), "1");
    assert_eq!(server.post("/v1/weigh", &json!({})).await.status, 500);
}

#[actix_web::test]
async fn promtool_finds_nothing_wrong() {
    let shop = Shop::start().await;
    shop.be_busy().await;
    let text = shop.scrape("text/plain").await;
    shop.running.stop().await.unwrap();
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("SKIPPED: no promtool here; the package `prometheus` has it");
            return;
        }
        child => child.unwrap(),
    };
    child.stdin.take().unwrap().write_all(&text.body).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{}", text.text());
}
