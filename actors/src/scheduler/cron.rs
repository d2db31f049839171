//! A cron expression with its time zone: text enters, the times that it names leave.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

/// A cron expression in a time zone.
pub(crate) struct Cron {
    pattern: croner::Cron,
    zone: Tz,
    text: String,
}

/// The fields with their values, in order.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    (
        "day of the month",
        "1 to 31, `L` for the last or `15W` for the working day nearest to the 15th",
    ),
    ("month", "1 to 12 or Jan to Dec"),
    ("day of the week", "0 to 7 (0 and 7 are Sunday) or Sun to Sat, `Fri#2` for the second Friday"),
];

const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Cron {
    /// Reads 5 fields, or 6 with seconds first, and the name of a time zone or none for UTC. `now`
    /// is for asking whether the expression ever fires. The error says what is wrong and what to
    /// write.
    pub(crate) fn parse(text: &str, now: Duration) -> Result<Self, String> {
        let mut fields: Vec<&str> = text.split_whitespace().collect();
        let zone = match fields.last().copied().filter(|last| is_zone(last, fields.len())) {
            Some(last) => {
                fields.pop();
                zone(last)?
            }
            None => Tz::UTC,
        };
        let count = fields.len();
        if !matches!(count, 5 | 6) {
            return Err(format!(
                "`{text}` is not of 5 or 6 fields but of {count}; write the minute, hour, day of the \
                 month, month and day of the week, before them the second if it matters, and the \
                 time zone last, as in `0 7 * * Mon-Fri Europe/Berlin`"
            ));
        }
        let pattern = pattern(&fields).map_err(|error| wrong_field(&fields, &error))?;
        let words = text.split_whitespace().collect::<Vec<_>>();
        let cron = Self { pattern, zone, text: words.join(" ") };
        if cron.after(now).is_none() {
            return Err(format!("`{text}` never fires; name a day that some month has"));
        }
        Ok(cron)
    }

    /// The expression, with one space between its words.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The first time after `moment`, both counted from the Unix epoch; none when there is no more.
    pub(crate) fn after(&self, moment: Duration) -> Option<Duration> {
        let seconds = i64::try_from(moment.as_secs()).ok()?;
        let moment = DateTime::from_timestamp(seconds, moment.subsec_nanos())?;
        let next = self.pattern.find_next_occurrence(&moment.with_timezone(&self.zone), false);
        let next = SystemTime::from(next.ok()?.with_timezone(&Utc));
        next.duration_since(SystemTime::UNIX_EPOCH).ok()
    }
}

/// Whether the last of so many words is meant as a time zone. The sixth may be a day of the week.
fn is_zone(word: &str, words: usize) -> bool {
    let parts = || word.split(['-', ',', '/', '#']);
    let is_weekday = |part: &str| {
        let part = part.to_ascii_lowercase();
        let day = part.strip_suffix('l').unwrap_or(&part);
        day.is_empty() || WEEKDAYS.contains(&day) || day.bytes().all(|byte| byte.is_ascii_digit())
    };
    let begins_as_name = word.starts_with(|first: char| first.is_ascii_alphabetic());
    // Of five words the last is a field, unless a zone was written and a field forgotten.
    let has_place = words == 6 || word.parse::<Tz>().is_ok();
    words > 6 || (begins_as_name && !parts().all(is_weekday) && has_place)
}

fn zone(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| {
        let same = |zone: &&Tz| zone.name().eq_ignore_ascii_case(name);
        let meant = TZ_VARIANTS.iter().find(same).map_or("Europe/Berlin", |zone| zone.name());
        let such = if meant.eq_ignore_ascii_case(name) { "" } else { "a name such as " };
        format!("`{name}` is not a time zone; write {such}`{meant}`, or none for UTC")
    })
}

fn pattern(fields: &[&str]) -> Result<croner::Cron, String> {
    if let Some(alias) = fields.iter().find(|field| field.contains('@')) {
        return Err(format!("`{alias}` is an alias"));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    parser.parse(&fields.join(" ")).map_err(|error| match error {
        CronError::ComponentError(reason) => reason,
        CronError::IllegalCharacters(_) => "neither a number nor a name of the field".to_owned(),
        error => error.to_string(),
    })
}

/// Tries each field among fields that allow anything, to name the one that is wrong.
fn wrong_field(fields: &[&str], error: &str) -> String {
    let places = FIELDS.iter().skip(FIELDS.len() - fields.len());
    for (at, (field, (name, values))) in fields.iter().zip(places).enumerate() {
        let mut alone = vec!["*"; fields.len()];
        alone[at] = field;
        if let Err(error) = pattern(&alone) {
            let error = error.trim_end_matches('.');
            return format!(
                "the {name} `{field}` is wrong ({error}); write {values}, `*`, a list `1,2`, a range \
                 `1-5` or a step `*/5`"
            );
        }
    }
    format!("`{}` is wrong ({error})", fields.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Duration {
        let time = DateTime::parse_from_rfc3339(text).unwrap();
        Duration::from_secs(u64::try_from(time.timestamp()).unwrap())
    }

    fn check_reason(expression: &str, reason: &str) {
        let found = Cron::parse(expression, moment("2026-01-01T00:00:00Z")).map(|cron| cron.text);
        assert!(found.as_ref().is_err_and(|e| e.contains(reason)), "`{expression}`: {found:?}");
    }

    #[test]
    #[rustfmt::skip] // A table.
    fn a_bad_expression_is_refused_with_what_to_write() {
        check_reason("", "not of 5 or 6 fields but of 0; write");
        check_reason("0 7 * *", "not of 5 or 6 fields but of 4; write");
        check_reason("@daily", "not of 5 or 6 fields but of 1; write");
        check_reason("0 7 * * * 2026 UTC UTC", "not of 5 or 6 fields but of 7; write");
        check_reason("61 7 * * *", "the minute `61` is wrong");
        check_reason("0 25 * * *", "write 0 to 23");
        check_reason("99 0 7 * * *", "the second `99` is wrong");
        check_reason("0 7 * * Mun", "the day of the week `Mun` is wrong (neither a number");
        check_reason("0 7 * * UTC", "not of 5 or 6 fields but of 4");
        check_reason("0 7 * * * Mun", "`Mun` is not a time zone");
        check_reason("*/0 7 * * *", "the minute `*/0` is wrong (Step cannot be zero)");
        check_reason("0 7 * * Mun UTC", "the day of the week `Mun` is wrong");
        check_reason("0 7 * Foo *", "the month `Foo` is wrong");
        check_reason("0 7 0 * *", "the day of the month `0` is wrong");
        check_reason("0 7 @ * *", "the day of the month `@` is wrong");
        check_reason("0 7 * * Mon-Fri Europe/Berln", "`Europe/Berln` is not a time zone; write a name such as");
        check_reason("0 7 * * Mon-Fri europe/berlin", "write `Europe/Berlin`");
        check_reason("0 0 7 * * Mon-Fri 7", "`7` is not a time zone");
        check_reason("0 0 30 2 *", "never fires");
        check_reason("0 0 31 4,6 * UTC", "never fires");
    }

    #[test]
    #[rustfmt::skip] // A table.
    fn the_last_word_is_a_zone_unless_it_is_a_day_of_the_week() {
        let next = |expression| {
            let cron = Cron::parse(expression, moment("2026-01-01T00:00:00Z")).unwrap();
            cron.after(moment("2026-01-01T00:00:00Z")).unwrap()
        };
        assert_eq!(next("0 7 * * *"), moment("2026-01-01T07:00:00Z"));
        assert_eq!(next("0 7 * * * Europe/Berlin"), moment("2026-01-01T06:00:00Z"));
        assert_eq!(next("0 7 * * Sat CET"), moment("2026-01-03T06:00:00Z"));
        assert_eq!(next("5 0 7 * * Sat"), moment("2026-01-03T07:00:05Z"));
        assert_eq!(next("5 0 7 * * Sat-Sun,Tue"), moment("2026-01-03T07:00:05Z"));
        assert_eq!(next("5 0 7 * * Fri#2"), moment("2026-01-09T07:00:05Z"));
        assert_eq!(next("5 0 7 * * Fri#L"), moment("2026-01-30T07:00:05Z"));
        assert_eq!(next("0 7 1 * +Sun"), moment("2026-02-01T07:00:00Z"));
        assert_eq!(next("5 0 7 L * * Asia/Tokyo"), moment("2026-01-30T22:00:05Z"));
        assert_eq!(next("0 0 29 2 *"), moment("2028-02-29T00:00:00Z"));
    }

    #[test]
    fn the_time_after_a_part_of_a_second_is_not_before_it() {
        let cron = Cron::parse("* * * * * *", moment("2026-01-01T00:00:00Z")).unwrap();
        let half = moment("2026-01-01T00:00:00Z") + Duration::from_millis(500);
        assert_eq!(cron.after(half), Some(moment("2026-01-01T00:00:01Z")));
    }

    #[test]
    fn after_the_last_year_nothing_comes() {
        let cron = Cron::parse("* * * * *", moment("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(cron.after(moment("9999-01-01T00:00:00Z")), None);
        assert_eq!(cron.after(Duration::MAX), None);
    }
}
