//! Looks variables up: layers of named text enter, typed values, faults and the list of variables
//! leave.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use super::fault::{SettingsError, SettingsFault, SettingsOrigin};
use super::syntax::Syntax;

/// One variable that settings are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// Its name, such as `SERVER_PORT`.
    pub name: &'static str,
    /// The text that stands for it when it is not set.
    pub default: &'static str,
    /// What it sets, with the unit.
    pub meaning: &'static str,
    /// What a value looks like, with the limits.
    pub expects: String,
}

/// Named text from one origin.
pub(super) struct Layer {
    origin: SettingsOrigin,
    values: BTreeMap<String, OsString>,
}

impl Layer {
    /// Takes the pairs; of two with the same name the later wins.
    pub(super) fn new<K, V>(origin: SettingsOrigin, pairs: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<OsString>,
    {
        let pairs = pairs.into_iter();
        let values = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        Self { origin, values }
    }
}

/// A value with what is needed to complain about it.
pub(super) struct Reading<T> {
    pub(super) value: T,
    name: &'static str,
    text: String,
    origin: SettingsOrigin,
    /// False if the value is the default in place of a faulty one.
    sound: bool,
}

impl<T> Reading<T> {
    pub(super) fn is_sound(&self) -> bool {
        self.sound
    }
}

/// Reads one variable after another, and remembers each of them and every fault.
///
/// It never stops at a fault, so that one pass finds all: the built-in default stands for a faulty
/// value until [`finish`](Self::finish) refuses the whole. Without layers it gives the defaults.
#[derive(Default)]
pub(super) struct Reader {
    /// The first layer that has a name wins.
    layers: Vec<Layer>,
    variables: Vec<Variable>,
    faults: Vec<SettingsFault>,
}

impl Reader {
    pub(super) fn new(layers: Vec<Layer>) -> Self {
        Self { layers, ..Self::default() }
    }

    /// Starts with faults that were found while the layers were built.
    pub(super) fn with_faults(self, faults: Vec<SettingsFault>) -> Self {
        Self { faults, ..self }
    }

    /// Reads a variable of which only the value matters.
    pub(super) fn get<T>(
        &mut self,
        name: &'static str,
        default: &'static str,
        syntax: Syntax<T>,
        meaning: &'static str,
    ) -> T {
        self.read(name, default, syntax, meaning).value
    }

    /// Reads a variable that is going to be compared with another.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        default: &'static str,
        syntax: Syntax<T>,
        meaning: &'static str,
    ) -> Reading<T> {
        let built_in = |sound| Reading {
            value: syntax
                .parse(default)
                .expect("a built-in default has the form its own variable expects"),
            name,
            text: default.to_owned(),
            origin: SettingsOrigin::Default,
            sound,
        };
        let reading = match self.look_up(name, &syntax) {
            Ok(Some(reading)) => reading,
            Ok(None) => built_in(true),
            Err(fault) => {
                self.faults.push(fault);
                built_in(false)
            }
        };
        self.variables.push(Variable { name, default, meaning, expects: syntax.expects });
        reading
    }

    fn look_up<T>(
        &self,
        name: &'static str,
        syntax: &Syntax<T>,
    ) -> Result<Option<Reading<T>>, SettingsFault> {
        let mut layers = self.layers.iter();
        let Some((origin, text)) =
            layers.find_map(|layer| Some((layer.origin, layer.values.get(name)?)))
        else {
            return Ok(None);
        };
        let expected = syntax.expects.clone();
        let Some(text) = text.to_str() else {
            return Err(SettingsFault::NotUtf8 { name, origin, expected });
        };
        if text.trim().is_empty() {
            return Err(SettingsFault::Blank { name, origin, expected });
        }
        match syntax.parse(text) {
            Some(value) => {
                Ok(Some(Reading { value, name, text: text.to_owned(), origin, sound: true }))
            }
            None if syntax.secret => Err(SettingsFault::InvalidSecret { name, origin, expected }),
            None => Err(SettingsFault::Invalid { name, value: text.to_owned(), origin, expected }),
        }
    }

    /// Reads a variable that other programs read too: it has no form to be refused for, and a blank
    /// one is as good as none.
    pub(super) fn shared(&mut self, name: &'static str, meaning: &'static str) -> Option<String> {
        let expects = "text".to_owned();
        self.variables.push(Variable { name, default: "", meaning, expects });
        let text = self.layers.iter().find_map(|layer| layer.values.get(name))?.to_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Demands that `holds` is true of two values; `relation` says in words what the first must be
    /// to the other.
    ///
    /// Silent where one of them is faulty already: the default in its place would make a second,
    /// false complaint.
    pub(super) fn require<T>(
        &mut self,
        reading: &Reading<T>,
        relation: &'static str,
        other: &Reading<T>,
        holds: impl Fn(&T, &T) -> bool,
    ) {
        if reading.sound && other.sound && !holds(&reading.value, &other.value) {
            self.faults.push(SettingsFault::Conflict {
                name: reading.name,
                value: reading.text.clone(),
                origin: reading.origin,
                relation,
                other: other.name,
                other_value: other.text.clone(),
                other_origin: other.origin,
            });
        }
    }

    /// Refuses a value that is right alone and wrong beside others; `problem` completes the sentence
    /// "it is set, but …" and says what to do.
    pub(super) fn misplaced<T>(&mut self, reading: &Reading<T>, problem: &'static str) {
        let Reading { name, origin, .. } = *reading;
        self.faults.push(SettingsFault::Misplaced { name, origin, problem });
    }

    /// Refuses the settings if a value is faulty, or a name of one of the groups was never read.
    pub(super) fn finish(mut self) -> Result<(), SettingsError> {
        let unknown = self.unknown_names();
        self.faults.extend(unknown);
        if self.faults.is_empty() {
            return Ok(());
        }
        Err(SettingsError { faults: self.faults })
    }

    pub(super) fn into_variables(self) -> Vec<Variable> {
        self.variables
    }

    fn unknown_names(&self) -> Vec<SettingsFault> {
        let known: BTreeSet<&str> = self.variables.iter().map(|known| known.name).collect();
        let groups = known.iter().filter_map(|name| group(name));
        let groups: BTreeSet<&str> = groups.filter(|group| *group != SHARED_GROUP).collect();
        let in_a_group = |name: &str| group(name).is_some_and(|group| groups.contains(group));
        let mut unknown = Vec::new();
        for layer in &self.layers {
            let names = layer.values.keys();
            for name in names.filter(|name| in_a_group(name) && !known.contains(name.as_str())) {
                unknown.push(SettingsFault::Unknown {
                    name: name.clone(),
                    origin: layer.origin,
                    suggestion: self.nearest(name),
                });
            }
        }
        unknown
    }

    /// Finds the variable that was probably meant.
    ///
    /// A third of the letters may be wrong. Those of the group do not count: they are right, and
    /// would make any two short names of one group look alike.
    fn nearest(&self, name: &str) -> Option<&'static str> {
        let own_part = name.len() - group(name).map_or(0, str::len);
        let distance_max = own_part / 3;
        let known = self.variables.iter().map(|known| known.name);
        known
            .map(|known| (strsim::osa_distance(name, known), known))
            .filter(|(distance, _)| *distance <= distance_max)
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, known)| known)
    }
}

/// The variables that all programs with OpenTelemetry share, most of which are for others.
const SHARED_GROUP: &str = "OTEL_";

/// The first word of a name with its underscore: `DB_` of `DB_DSN`.
fn group(name: &str) -> Option<&str> {
    name.find('_').map(|at| &name[..=at])
}
