//! Which traces are recorded: what the caller decided and the trace id enter, yes or no leaves.

/// The traces that are recorded, as the settings `OTEL_TRACES_SAMPLER` and
/// `OTEL_TRACES_SAMPLER_ARG` say. The same trace gets the same answer everywhere and at any time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampler {
    /// Whether the caller's decision counts.
    is_parent_based: bool,
    /// Of the traces that nobody has decided on, how many of 2^63 are recorded.
    threshold: u64,
}

/// Of all, which is the default.
const ALL: u64 = 1 << 63;

impl Default for Sampler {
    fn default() -> Self {
        Self { is_parent_based: true, threshold: ALL }
    }
}

impl Sampler {
    /// Reads what the settings say; the second value is what is wrong with it.
    pub(crate) fn parse(name: Option<&str>, argument: Option<&str>) -> (Self, Option<String>) {
        let Some(name) = name else { return (Self::default(), None) };
        let plain = name.strip_prefix("parentbased_");
        let is_parent_based = plain.is_some();
        let (threshold, fault) = match plain.unwrap_or(name) {
            "always_on" => (ALL, None),
            "always_off" => (0, None),
            "traceidratio" => ratio(argument),
            _ => {
                let known = "always_on, always_off, traceidratio or one of them after parentbased_";
                return (
                    Self::default(),
                    Some(format!("OTEL_TRACES_SAMPLER is \"{name}\", expected {known}")),
                );
            }
        };
        (Self { is_parent_based, threshold }, fault)
    }

    /// Whether a trace is recorded; `parent` is what the caller decided.
    pub(crate) fn takes(self, parent: Option<bool>, trace_id: u128) -> bool {
        if let Some(is_sampled) = parent.filter(|_| self.is_parent_based) {
            return is_sampled;
        }
        // As the SDKs do: by the lower half, of which all bits are random.
        (trace_id & u128::from(u64::MAX)) >> 1 < u128::from(self.threshold)
    }
}

/// The threshold of a ratio, all for one that is none.
fn ratio(argument: Option<&str>) -> (u64, Option<String>) {
    let Some(argument) = argument else { return (ALL, None) };
    match argument.parse::<f64>() {
        // 2^63 times at most 1 fits.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => ((ratio * ALL as f64) as u64, None),
        _ => {
            let text = "expected a number from 0 to 1, such as 0.1";
            (ALL, Some(format!("OTEL_TRACES_SAMPLER_ARG is \"{argument}\", {text}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(name: &str, argument: Option<&str>) -> Sampler {
        let (sampler, fault) = Sampler::parse(Some(name), argument);
        assert_eq!(fault, None);
        sampler
    }

    #[test]
    fn the_callers_decision_counts_where_the_sampler_is_based_on_it() {
        let of = |sampler: Sampler| [Some(true), Some(false), None].map(|p| sampler.takes(p, 7));
        assert_eq!(of(Sampler::default()), [true, false, true]);
        assert_eq!(of(sampler("parentbased_always_on", None)), [true, false, true]);
        assert_eq!(of(sampler("parentbased_always_off", None)), [true, false, false]);
        assert_eq!(of(sampler("parentbased_traceidratio", Some("0"))), [true, false, false]);
        assert_eq!(of(sampler("always_on", None)), [true; 3]);
        assert_eq!(of(sampler("always_off", None)), [false; 3]);
        assert_eq!(of(sampler("traceidratio", Some("1"))), [true; 3]);
    }

    #[test]
    fn a_ratio_takes_its_part_of_the_traces() {
        let quarter = sampler("parentbased_traceidratio", Some("0.25"));
        let random = fastrand_like(10_000);
        let taken = random.iter().filter(|id| quarter.takes(None, **id)).count();
        assert!((2_000..3_000).contains(&taken), "{taken}");
        let half = sampler("traceidratio", Some("0.5"));
        assert!(random.iter().all(|id| !quarter.takes(None, *id) || half.takes(None, *id)));
    }

    /// Numbers whose lower halves are spread evenly.
    fn fastrand_like(n: u128) -> Vec<u128> {
        (0..n).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).collect()
    }

    #[test]
    fn what_is_no_sampler_is_told_and_the_default_stands_for_it() {
        let (sampler, fault) = Sampler::parse(Some("jaeger_remote"), None);
        assert_eq!(sampler, Sampler::default());
        assert!(fault.unwrap().starts_with("OTEL_TRACES_SAMPLER is \"jaeger_remote\", expected"));
        for argument in ["1.1", "-0.1", "half", "NaN"] {
            let (sampler, fault) = Sampler::parse(Some("traceidratio"), Some(argument));
            assert!(sampler.takes(None, u128::MAX), "{argument}");
            assert!(fault.unwrap().contains("expected a number from 0 to 1"), "{argument}");
        }
    }
}
