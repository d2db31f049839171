//! The forms a setting's text can take: text enters, a typed value or nothing leaves.

use std::fmt::Display;
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::proxy::TrustedProxy;

/// Adding a longer time to an instant can overflow on some platforms.
const SECONDS_MAX: u64 = 365 * 24 * 60 * 60;

/// Larger queues overflow the counters of the channels behind them.
const COUNT_MAX: u32 = u32::MAX;

/// A shorter key of HS256 is weaker than the algorithm (RFC 7518, section 3.2).
const SECRET_MIN: usize = 32;

const DSN_SCHEMES: [&str; 3] = ["sqlite:", "postgres:", "postgresql:"];

type Parse<T> = Box<dyn Fn(&str) -> Option<T>>;

/// How the text of one variable becomes a `T`.
pub(super) struct Syntax<T> {
    /// Completes the sentence "expected …".
    pub(super) expects: String,
    /// Whether the text must stay out of messages.
    pub(super) secret: bool,
    parse: Parse<T>,
}

impl<T> Syntax<T> {
    fn new(expects: impl Into<String>, parse: impl Fn(&str) -> Option<T> + 'static) -> Self {
        Self { expects: expects.into(), secret: false, parse: Box::new(parse) }
    }

    pub(super) fn parse(&self, text: &str) -> Option<T> {
        (self.parse)(text)
    }
}

/// Any text. The reader has refused blank text before.
pub(super) fn text(expects: &str) -> Syntax<String> {
    Syntax::new(expects, |text| Some(text.to_owned()))
}

pub(super) fn flag() -> Syntax<bool> {
    Syntax::new("one of 1, 0, true, false, yes, no, on, off", |text| {
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Some(true),
            "0" | "false" | "no" | "off" => Some(false),
            _ => None,
        }
    })
}

pub(super) fn whole<T>(range: RangeInclusive<T>) -> Syntax<T>
where
    T: FromStr + PartialOrd + Display + 'static,
{
    let expects = format!("a whole number from {} to {}", range.start(), range.end());
    Syntax::new(expects, move |text| text.parse().ok().filter(|number| range.contains(number)))
}

/// A number of things or of bytes: at least one.
pub(super) fn count<T>() -> Syntax<T>
where
    T: TryFrom<u32> + 'static,
{
    let whole = whole(1..=COUNT_MAX);
    Syntax::new(whole.expects.clone(), move |text| {
        whole.parse(text).and_then(|number| number.try_into().ok())
    })
}

pub(super) fn seconds() -> Syntax<Duration> {
    let expects = format!("seconds above 0 and up to {SECONDS_MAX}, such as 30 or 0.5");
    Syntax::new(expects, |text| {
        let seconds = text.parse().ok()?;
        // Refuses what is negative, infinite or no number; what is too small rounds to zero.
        let time = Duration::try_from_secs_f64(seconds).ok()?;
        (!time.is_zero() && time <= Duration::from_secs(SECONDS_MAX)).then_some(time)
    })
}

/// Seconds of which there may be none.
pub(super) fn seconds_or_none() -> Syntax<Duration> {
    let expects = format!("seconds from 0 to {SECONDS_MAX}, such as 10 or 0.5");
    Syntax::new(expects, |text| {
        let time = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
        (time <= Duration::from_secs(SECONDS_MAX)).then_some(time)
    })
}

/// The permissions of a file, in octal.
pub(super) fn mode() -> Syntax<u32> {
    Syntax::new("a mode in octal from 0 to 777, such as 660", |text| {
        let is_octal = text.len() <= 4 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let mode = is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
        mode.filter(|mode| *mode <= 0o777)
    })
}

pub(super) fn host() -> Syntax<String> {
    Syntax::new("a host name or an IP address, without a port", |text| {
        // A colon is right only inside an IPv6 address: elsewhere it parts a scheme or a port.
        let plausible = if text.contains(':') {
            text.parse::<Ipv6Addr>().is_ok()
        } else {
            !text.contains(|c: char| c.is_whitespace() || c == '/')
        };
        plausible.then(|| text.to_owned())
    })
}

pub(super) fn dsn() -> Syntax<SecretString> {
    let [first, second, third] = DSN_SCHEMES;
    let expects = format!("a DSN of the form {first}…, {second}… or {third}…");
    let plausible = |text: &str| {
        DSN_SCHEMES
            .iter()
            .filter_map(|scheme| text.strip_prefix(scheme))
            .any(|rest| !rest.trim().is_empty())
    };
    let parse = move |text: &str| plausible(text).then(|| SecretString::from(text));
    Syntax { secret: true, ..Syntax::new(expects, parse) }
}

pub(super) fn origins() -> Syntax<Vec<String>> {
    let expects = "origins such as https://shop.example, separated by commas, without paths";
    Syntax::new(expects, |text| match text {
        // Only the built-in default is empty: the reader refuses it elsewhere.
        "" => Some(Vec::new()),
        list => list.split(',').map(|item| origin(item.trim())).collect(),
    })
}

/// Origins, or `*` alone for any.
pub(super) fn origins_or_any() -> Syntax<Vec<String>> {
    let some = origins();
    let expects = format!("{}, or * alone for any", some.expects);
    Syntax::new(expects, move |text| match text.trim() {
        "*" => Some(vec!["*".to_owned()]),
        _ => some.parse(text),
    })
}

/// Addresses, networks and `unix`.
pub(super) fn trusted_proxies() -> Syntax<Vec<TrustedProxy>> {
    let expects = "addresses, networks such as 10.0.0.0/8 and unix, separated by commas";
    Syntax::new(expects, |text| match text {
        // Only the built-in default is empty: the reader refuses it elsewhere.
        "" => Some(Vec::new()),
        list => list.split(',').map(|item| item.trim().parse().ok()).collect(),
    })
}

/// Methods of HTTP, in upper case.
pub(super) fn methods() -> Syntax<Vec<String>> {
    Syntax::new("methods such as GET and POST, separated by commas", |text| {
        let method = |item: &str| {
            let is_word = !item.is_empty() && item.bytes().all(|b| b.is_ascii_uppercase());
            is_word.then(|| item.to_owned())
        };
        text.split(',').map(|item| method(item.trim())).collect()
    })
}

/// Names of headers, held in lower case.
pub(super) fn header_names() -> Syntax<Vec<String>> {
    Syntax::new("names of headers such as content-type, separated by commas", |text| {
        let name = |item: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            let is_word = !item.is_empty() && item.bytes().all(plain);
            is_word.then(|| item.to_ascii_lowercase())
        };
        text.split(',').map(|item| name(item.trim())).collect()
    })
}

/// Accepts what a browser can send in an `Origin` header: anything else would never match.
fn origin(text: &str) -> Option<String> {
    let (scheme, host) = text.split_once("://")?;
    let foreign = |c: char| c.is_whitespace() || "/?#@*\\".contains(c);
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let host_ok = !host.is_empty() && !host.contains(foreign);
    (scheme_ok && host_ok).then(|| text.to_ascii_lowercase())
}

/// What may be left unset. Only the built-in default is empty: the reader refuses it elsewhere.
pub(super) fn optional<T: 'static>(syntax: Syntax<T>) -> Syntax<Option<T>> {
    let Syntax { expects, secret, parse } = syntax;
    let parse: Parse<Option<T>> = Box::new(move |text| match text {
        "" => Some(None),
        text => parse(text).map(Some),
    });
    Syntax { expects, secret, parse }
}

pub(super) fn secret() -> Syntax<SecretString> {
    let expects = format!(
        "a secret of at least {SECRET_MIN} bytes, such as the output of `openssl rand -base64 48`"
    );
    let parse = |text: &str| (text.len() >= SECRET_MIN).then(|| SecretString::from(text));
    Syntax { secret: true, ..Syntax::new(expects, parse) }
}

/// Seconds without decimals, of which 0 is one.
pub(super) fn whole_seconds(range: RangeInclusive<u64>) -> Syntax<Duration> {
    let whole = whole(range);
    let expects = format!("{}, in seconds", whole.expects);
    Syntax::new(expects, move |text| whole.parse(text).map(Duration::from_secs))
}

/// One word of a closed list, in any case.
pub(super) fn word<T: Copy + 'static, const N: usize>(words: [(&'static str, T); N]) -> Syntax<T> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    Syntax::new(format!("one of {}", names.join(", ")), move |text| {
        words.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
    })
}
