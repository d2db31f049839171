//! The fields of an event by its schema, whatever that is put together of: a schema enters; its
//! fields, or itself without some of them, leave.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serde_json::map::Map;

use super::schemas::Schemas;

/// How deep references and alternatives are followed; a recursive type has no end.
const DEPTH_MAX: usize = 8;

/// The fields of one type.
#[derive(Default)]
pub(super) struct Anatomy {
    pub(super) fields: BTreeMap<String, Value>,
    pub(super) required: BTreeSet<String>,
    /// Whether there can be fields of any name.
    pub(super) is_open: bool,
}

/// Whether a reply has a body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Emptiness {
    Never,
    Sometimes,
    Always,
}

impl Anatomy {
    pub(super) fn of(schemas: &Schemas, schema: &Value) -> Self {
        let mut anatomy = Self::default();
        anatomy.add(schemas, schema, 0);
        anatomy
    }

    fn add(&mut self, schemas: &Schemas, schema: &Value, depth: usize) {
        let more = schema.get("additionalProperties");
        self.is_open |=
            schema == &Value::Bool(true) || more.is_some_and(|more| more != &Value::Bool(false));
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, field) in properties.into_iter().flatten() {
            self.add_field(name, field);
        }
        self.required.extend(texts(schema, "required").map(str::to_owned));
        if depth == DEPTH_MAX {
            return;
        }
        for part in target(schemas, schema).into_iter().chain(list(schema, "allOf")) {
            self.add(schemas, part, depth + 1);
        }
        for keyword in ["anyOf", "oneOf"] {
            let mut required: Option<BTreeSet<String>> = None;
            for alternative in list(schema, keyword) {
                let mut one = Self::default();
                one.add(schemas, alternative, depth + 1);
                self.is_open |= one.is_open;
                one.fields.iter().for_each(|(name, field)| self.add_field(name, field));
                required = Some(match required {
                    Some(others) => &others & &one.required,
                    None => one.required,
                });
            }
            self.required.extend(required.unwrap_or_default());
        }
    }

    /// Alternatives that disagree leave a field to be anything.
    fn add_field(&mut self, name: &str, field: &Value) {
        let known = self.fields.entry(name.to_owned()).or_insert_with(|| field.clone());
        if known != field {
            *known = Map::new().into();
        }
    }
}

/// The schema without the fields of these names.
pub(super) fn without(schemas: &Schemas, schema: &Value, names: &[&str]) -> Value {
    without_at(schemas, schema, names, 0)
}

fn without_at(schemas: &Schemas, schema: &Value, names: &[&str], depth: usize) -> Value {
    let Value::Object(own) = schema else { return schema.clone() };
    if depth == DEPTH_MAX {
        return schema.clone();
    }
    let mut object = match target(schemas, schema) {
        Some(target) => match without_at(schemas, target, names, depth + 1) {
            Value::Object(object) => object,
            _ => Map::new(),
        },
        None => Map::new(),
    };
    object
        .extend(own.iter().filter(|(key, _)| *key != "$ref").map(|(k, v)| (k.clone(), v.clone())));
    let remove =
        |object: &mut Map<String, Value>| names.iter().for_each(|n| drop(object.remove(*n)));
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        remove(properties);
    }
    if let Some(Value::Array(required)) = object.get_mut("required") {
        required.retain(|name| name.as_str().is_none_or(|name| !names.contains(&name)));
    }
    if let Some(Value::Array(examples)) = object.get_mut("examples") {
        examples.iter_mut().filter_map(Value::as_object_mut).for_each(remove);
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        if let Some(Value::Array(parts)) = object.get_mut(keyword) {
            for part in parts {
                *part = without_at(schemas, part, names, depth + 1);
            }
        }
    }
    object.into()
}

/// The schema of a value that is there: without the null of an `Option`.
pub(super) fn present(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let Some(object) = schema.as_object_mut() else { return schema };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    for keyword in ["anyOf", "oneOf"] {
        let Some(Value::Array(parts)) = object.get_mut(keyword) else { continue };
        parts.retain(|part| part.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = &parts[..] {
            let mut only = only.clone();
            object.remove(keyword);
            object.append(&mut only);
        }
    }
    schema
}

/// Whether a value of the schema is `null` or `{}`, which leave as no body at all.
pub(super) fn emptiness(schemas: &Schemas, schema: &Value) -> Emptiness {
    emptiness_at(schemas, schema, 0)
}

fn emptiness_at(schemas: &Schemas, schema: &Value, depth: usize) -> Emptiness {
    if depth == DEPTH_MAX || schema.as_object().is_none_or(Map::is_empty) {
        return Emptiness::Sometimes;
    }
    if let Some(target) = target(schemas, schema) {
        return emptiness_at(schemas, target, depth + 1);
    }
    let parts = list(schema, "anyOf").chain(list(schema, "oneOf"));
    let parts: Vec<_> = parts.map(|part| emptiness_at(schemas, part, depth + 1)).collect();
    if let [first, others @ ..] = &parts[..] {
        let agree = others.iter().all(|other| other == first);
        return if agree { *first } else { Emptiness::Sometimes };
    }
    let single = schema.get("type").and_then(Value::as_str);
    let types: Vec<_> = texts(schema, "type").chain(single).collect();
    match types[..] {
        ["null"] => Emptiness::Always,
        ["object"] => {
            let anatomy = Anatomy::of(schemas, schema);
            if !anatomy.required.is_empty() {
                Emptiness::Never
            } else if anatomy.is_open || !anatomy.fields.is_empty() {
                Emptiness::Sometimes
            } else {
                Emptiness::Always
            }
        }
        _ if types.contains(&"null") => Emptiness::Sometimes,
        _ => Emptiness::Never,
    }
}

fn target<'s>(schemas: &'s Schemas, schema: &Value) -> Option<&'s Value> {
    schemas.resolve(schema.get("$ref")?.as_str()?)
}

fn list<'s>(schema: &'s Value, keyword: &str) -> impl Iterator<Item = &'s Value> {
    schema.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

fn texts<'s>(schema: &'s Value, keyword: &str) -> impl Iterator<Item = &'s str> {
    list(schema, keyword).filter_map(Value::as_str)
}
