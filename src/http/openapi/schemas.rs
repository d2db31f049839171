//! The schemas of all types in one description: types enter one by one, by what they take or by what
//! they give; one table of components with names that do not collide leaves.

use std::collections::{BTreeMap, BTreeSet};

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::map::Map;
use serde_json::{Value, json};

use super::super::percent::decode;
use super::super::types::SchemaOf;

/// Where references to what is taken point until the names are settled.
const TAKEN: &str = "#/taken/";

/// Where references to what is given point until then.
const GIVEN: &str = "#/given/";

/// Where they point in the end.
const COMPONENTS: &str = "#/components/schemas/";

/// What is added to the name of a type that is not given as it is taken.
const GIVEN_SUFFIX: &str = "Output";

/// The integers of Rust, by the format that their schemas name, and their limits.
const LIMITS: &[(&str, i64, u64)] = &[
    ("int32", i32::MIN as i64, i32::MAX as u64),
    ("int64", i64::MIN, i64::MAX as u64),
    ("int", i64::MIN, i64::MAX as u64),
    ("uint32", 0, u32::MAX as u64),
    ("uint64", 0, u64::MAX),
    ("uint", 0, u64::MAX),
];

type Object = Map<String, Value>;

/// One type may be two: a field with a default need not be sent, but is always there in a reply.
pub(super) struct Schemas {
    taken: SchemaGenerator,
    given: SchemaGenerator,
    own: Object,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = |path: &str| {
            let path = path.trim_matches(['#', '/']).to_owned();
            SchemaSettings::draft2020_12().with(|s| {
                s.definitions_path = format!("/{path}").into();
                s.meta_schema = None;
            })
        };
        Self {
            taken: settings(TAKEN).into_generator(),
            given: settings(GIVEN).for_serialize().into_generator(),
            own: Object::new(),
        }
    }

    /// The schema of what the API takes.
    pub(super) fn taken(&mut self, of: SchemaOf) -> Value {
        of(&mut self.taken).to_value()
    }

    /// The schema of what the API gives.
    pub(super) fn given(&mut self, of: SchemaOf) -> Value {
        of(&mut self.given).to_value()
    }

    /// Adds a schema that is made of a type's; gives the reference to it.
    pub(super) fn add(&mut self, name: &str, schema: Value) -> Value {
        let name = vacant(&plain(name), |name| self.own.contains_key(name));
        let reference = format!("#/own/{name}");
        self.own.insert(name, schema);
        json!({ "$ref": reference })
    }

    /// What a type says of itself.
    pub(super) fn described(&self, schema: &Value) -> Option<String> {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let target = reference.and_then(|reference| self.resolve(reference)).unwrap_or(schema);
        Some(target.get("description")?.as_str()?.to_owned())
    }

    /// What a reference refers to.
    pub(super) fn resolve(&self, reference: &str) -> Option<&Value> {
        match reference.strip_prefix(TAKEN) {
            Some(name) => self.taken.definitions().get(&unescaped(name)),
            None => self.given.definitions().get(&unescaped(reference.strip_prefix(GIVEN)?)),
        }
    }

    /// Puts all schemas into the document, and lets every reference in it point there.
    pub(super) fn settle(mut self, mut document: Value) -> Value {
        let taken = self.taken.take_definitions(true);
        let given = self.given.take_definitions(true);
        let twofold = twofold(&taken, &given);
        let mut names = BTreeMap::new();
        let mut schemas = Object::new();
        for (name, schema) in taken {
            let settled = vacant(&plain(&name), |name| schemas.contains_key(name));
            names.insert(format!("{TAKEN}{name}"), settled.clone());
            schemas.insert(settled, schema);
        }
        for (name, schema) in given {
            let known = names.get(&format!("{TAKEN}{name}"));
            let settled = match known {
                Some(known) if !twofold.contains(&name) => known.clone(),
                Some(known) => {
                    vacant(&format!("{known}{GIVEN_SUFFIX}"), |name| schemas.contains_key(name))
                }
                None => vacant(&plain(&name), |name| schemas.contains_key(name)),
            };
            names.insert(format!("{GIVEN}{name}"), settled.clone());
            schemas.entry(settled).or_insert(schema);
        }
        for (name, schema) in self.own {
            let settled = vacant(&name, |name| schemas.contains_key(name));
            names.insert(format!("#/own/{name}"), settled.clone());
            schemas.insert(settled, schema);
        }
        schemas.values_mut().for_each(|schema| visit(schema, &mut exemplify));
        document["components"]["schemas"] = schemas.into();
        visit(&mut document, &mut |object| {
            limit(object);
            if let Some(Value::String(reference)) = object.get_mut("$ref")
                && let Some(name) = names.get(&unescaped(reference))
            {
                *reference = format!("{COMPONENTS}{name}");
            }
        });
        prune(&mut document);
        document
    }
}

/// Leaves out the schemas that nothing refers to, such as that of an event whose fields are all
/// parameters.
fn prune(document: &mut Value) {
    let Some(Value::Object(schemas)) =
        document["components"].as_object_mut().and_then(|all| all.remove("schemas"))
    else {
        return;
    };
    let mut kept = Object::new();
    let mut next = referred(document);
    while let Some(name) = next.pop() {
        if !kept.contains_key(&name)
            && let Some(schema) = schemas.get(&name)
        {
            next.extend(referred(schema));
            kept.insert(name, schema.clone());
        }
    }
    document["components"]["schemas"] = kept.into();
}

/// The names of the components that a value refers to.
fn referred(value: &Value) -> Vec<String> {
    let mut names = Vec::new();
    visit(&mut value.clone(), &mut |object| {
        let reference = object.get("$ref").and_then(Value::as_str);
        let name = reference.and_then(|reference| reference.strip_prefix(COMPONENTS));
        names.extend(name.map(str::to_owned));
    });
    names
}

/// The names of types that are given in another form than they are taken, themselves or in a part.
fn twofold(taken: &Object, given: &Object) -> BTreeSet<String> {
    let common = || given.iter().filter_map(|(name, out)| Some((name, taken.get(name)?, out)));
    let mut twofold = BTreeSet::new();
    for (name, input, output) in common() {
        let mut input = input.clone();
        visit(&mut input, &mut |object| {
            if let Some(Value::String(reference)) = object.get_mut("$ref") {
                *reference = reference.replacen(TAKEN, GIVEN, 1);
            }
        });
        if input != *output {
            twofold.insert(name.clone());
        }
    }
    loop {
        let mut more = Vec::new();
        for (name, _, output) in common().filter(|(name, ..)| !twofold.contains(*name)) {
            let mut has_one = false;
            visit(&mut output.clone(), &mut |object| {
                let reference = object.get("$ref").and_then(Value::as_str);
                let name = reference.and_then(|reference| reference.strip_prefix(GIVEN));
                has_one |= name.is_some_and(|name| twofold.contains(&unescaped(name)));
            });
            if has_one {
                more.push(name.clone());
            }
        }
        if more.is_empty() {
            return twofold;
        }
        twofold.extend(more);
    }
}

/// Calls the function for each object in a value.
fn visit(value: &mut Value, see: &mut impl FnMut(&mut Object)) {
    match value {
        Value::Object(object) => {
            see(object);
            object.values_mut().for_each(|value| visit(value, see));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, see)),
        _ => {}
    }
}

/// Says how large an integer may be; its format alone is a word of Rust.
fn limit(schema: &mut Object) {
    let format = schema.get("format").and_then(Value::as_str);
    let limits = LIMITS.iter().find(|(name, ..)| format == Some(*name));
    if let Some((_, min, max)) = limits
        && schema.contains_key("type")
    {
        schema.entry("minimum").or_insert_with(|| (*min).into());
        schema.entry("maximum").or_insert_with(|| (*max).into());
    }
}

/// Gives an integer without limits of its own an example: readers would be shown its largest value.
fn exemplify(schema: &mut Object) {
    let format = schema.get("format").and_then(Value::as_str);
    let is_plain = ["format", "type", "minimum", "title", "description"];
    let is_plain = schema.keys().all(|key| is_plain.contains(&&**key));
    let takes_one = schema.get("minimum").is_none_or(|min| min.as_i64().is_some_and(|min| min < 2));
    if LIMITS.iter().any(|(name, ..)| format == Some(*name)) && is_plain && takes_one {
        schema.insert("examples".to_owned(), json!([1]));
    }
}

/// The name in the letters that a component's name may have.
fn plain(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// The name, or with the first number at its end that nobody has.
fn vacant(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !is_taken(name)).unwrap_or_else(|| name.to_owned())
}

/// A name as it was before it became part of a reference.
fn unescaped(name: &str) -> String {
    let decoded = decode(name).unwrap_or(name.into());
    decoded.replace("~1", "/").replace("~0", "~")
}
