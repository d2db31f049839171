//! The fields of an event as texts can fill them: a JSON schema enters once, a table leaves by
//! which each text of a path or a query becomes the JSON value that its field wants.

use std::collections::HashMap;

use schemars::{JsonSchema, schema_for};
use serde_json::{Number, Value};

/// How deep references and alternatives of a schema are followed; a recursive one has no end.
const DEPTH_MAX: usize = 8;

/// The fields of one type.
pub(super) struct Fields {
    by_name: HashMap<String, Field>,
    shape: Shape,
}

/// What a type is in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// An object with the known fields.
    Object,
    /// An object that takes fields of any name.
    OpenObject,
    /// Nothing at all: a unit struct.
    Unit,
    /// Something that no fields can make.
    Other,
}

/// What one field wants.
///
/// | schema | text | value |
/// |---|---|---|
/// | `integer` | decimal, from -2^63 to 2^64 - 1 | number |
/// | `number` | decimal, exponent allowed, finite | number |
/// | `boolean` | `true`, `false`, `1`, `0` | truth value |
/// | `array` | one item for each time the name is given | array |
/// | nullable, not a string | empty | null |
/// | anything else | any | string |
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    kind: Kind,
    pub(super) is_list: bool,
    is_nullable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Number,
    Boolean,
}

impl Fields {
    pub(super) fn of<T: JsonSchema>() -> Self {
        let schema = schema_for!(T).to_value();
        let root = Schema { node: &schema, root: &schema, depth: 0 };
        let mut fields = Self { by_name: HashMap::new(), shape: root.shape() };
        fields.collect(root);
        fields
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn get(&self, name: &str) -> Option<Field> {
        self.by_name.get(name).copied()
    }

    /// Whether a field of this name can be given.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.shape == Shape::OpenObject || self.by_name.contains_key(name)
    }

    fn collect(&mut self, schema: Schema<'_>) {
        let properties = schema.node.get("properties").and_then(Value::as_object);
        for (name, node) in properties.into_iter().flatten() {
            let field = schema.below(node).field();
            self.by_name
                .entry(name.clone())
                // Alternatives that disagree leave the text to the event's own `Deserialize`.
                .and_modify(|known| {
                    if *known != field {
                        *known = Field::TEXT;
                    }
                })
                .or_insert(field);
        }
        for branch in schema.branches() {
            self.collect(branch);
        }
    }
}

impl Field {
    /// What is assumed of a field that the schema does not describe.
    pub(super) const TEXT: Self = Self { kind: Kind::Text, is_list: false, is_nullable: false };

    /// The value of one text; of one item when the field is a list.
    ///
    /// # Errors
    /// What was expected instead.
    pub(super) fn value(self, text: &str) -> Result<Value, &'static str> {
        if text.is_empty() && self.is_nullable && !self.is_list && self.kind != Kind::Text {
            return Ok(Value::Null);
        }
        match self.kind {
            Kind::Text => Ok(Value::from(text)),
            Kind::Integer => {
                let signed = text.parse::<i64>().map(Value::from).ok();
                let value = signed.or_else(|| text.parse::<u64>().map(Value::from).ok());
                value.ok_or("expected an integer")
            }
            Kind::Number => {
                let number = text.parse().ok().and_then(Number::from_f64);
                number.map(Value::Number).ok_or("expected a number")
            }
            Kind::Boolean => match text {
                "true" | "1" => Ok(Value::Bool(true)),
                "false" | "0" => Ok(Value::Bool(false)),
                _ => Err("expected `true` or `false`"),
            },
        }
    }
}

/// A place in a schema.
#[derive(Clone, Copy)]
struct Schema<'s> {
    node: &'s Value,
    /// Where references are looked up.
    root: &'s Value,
    depth: usize,
}

impl<'s> Schema<'s> {
    fn below(self, node: &'s Value) -> Self {
        Self { node, depth: self.depth + 1, ..self }
    }

    /// The schemas that this one is made of: what it refers to, and its alternatives.
    fn branches(self) -> impl Iterator<Item = Self> {
        let reference = self.node.get("$ref").and_then(Value::as_str);
        let target = reference
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| self.root.pointer(pointer));
        let alternatives = ["allOf", "anyOf", "oneOf"]
            .into_iter()
            .filter_map(move |keyword| self.node.get(keyword)?.as_array())
            .flatten();
        target
            .into_iter()
            .chain(alternatives)
            .filter(move |_| self.depth < DEPTH_MAX)
            .map(move |node| self.below(node))
    }

    /// The names of the types that a value may have.
    fn types(self) -> Vec<&'s str> {
        match self.node.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    fn field(self) -> Field {
        let mut types = self.types();
        let count = types.len();
        types.retain(|name| *name != "null");
        let is_nullable = types.len() < count;
        let kind = match types[..] {
            ["integer"] => Kind::Integer,
            ["number"] => Kind::Number,
            ["boolean"] => Kind::Boolean,
            ["array"] => {
                let item = self.node.get("items");
                let kind = item.map_or(Kind::Text, |item| self.below(item).field().kind);
                return Field { kind, is_list: true, is_nullable };
            }
            [] => return self.field_of_branches(is_nullable),
            _ => Kind::Text,
        };
        Field { kind, is_list: false, is_nullable }
    }

    /// The only branch beside null decides; several leave a text.
    fn field_of_branches(self, is_nullable: bool) -> Field {
        let branches: Vec<_> = self.branches().collect();
        let (nulls, others): (Vec<_>, Vec<_>) =
            branches.into_iter().partition(|branch| branch.types() == ["null"]);
        let only = match others[..] {
            [only] => only.field(),
            _ => Field::TEXT,
        };
        Field { is_nullable: is_nullable || !nulls.is_empty() || only.is_nullable, ..only }
    }

    fn shape(self) -> Shape {
        let more = self.node.get("additionalProperties");
        let types = self.types();
        if self.node == &Value::Bool(true) || more.is_some_and(|more| more != &Value::Bool(false)) {
            Shape::OpenObject
        } else if types.contains(&"object") || self.node.get("properties").is_some() {
            let open = |branch: Self| branch.shape() == Shape::OpenObject;
            if self.branches().any(open) { Shape::OpenObject } else { Shape::Object }
        } else if types == ["null"] {
            Shape::Unit
        } else if types.is_empty() {
            // Of alternatives the most permissive counts: an enum may hold units beside structs.
            let shapes: Vec<_> = self.branches().map(Self::shape).collect();
            [Shape::OpenObject, Shape::Object, Shape::Unit]
                .into_iter()
                .find(|shape| shapes.contains(shape))
                .unwrap_or(Shape::Other)
        } else {
            Shape::Other
        }
    }
}
