//! Makes an event from an HTTP call: path parameters, query string and JSON body enter, one typed
//! value leaves, or a problem that names each wrong field.

use std::pin::pin;

use actix_web::http::StatusCode;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::map::{Entry, Map};

use super::call::Call;
use super::fields::{Field, Fields, Shape};
use super::patience::Patience;
use super::percent::{BadEncoding, decode_query};
use super::problem::{FieldError, Problem};

/// The fields of an event on their way into it.
type Object = Map<String, Value>;

/// How serde begins the message about a field that is not there, whose path ends at its parent.
const MISSING: &str = "missing field `";

/// The largest number up to which a float holds every integer, 2^53.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// The longest text of one error, in bytes: serde repeats what the client sent, however long.
const TEXT_MAX: usize = 200;

/// How one route makes its event; prepared once.
///
/// The parts are merged by field name: path beats body beats query.
pub(super) struct Binder {
    /// The names of the path's parameters, in order.
    pub(super) params: Vec<String>,
    pub(super) fields: Fields,
    /// The largest body, in bytes; `None` where a body has no meaning and is not read.
    pub(super) body_max: Option<usize>,
}

impl Binder {
    /// Makes the event, for whose body the patience has to last.
    pub(super) async fn bind<T: DeserializeOwned>(
        &self,
        call: &mut Call,
        patience: &mut Patience,
    ) -> Result<T, Problem> {
        let body = match self.body_max {
            None => Bytes::new(),
            Some(max) => patience.wait(pin!(call.body(max))).await.map_err(|_| late())??,
        };
        match self.read(call, &body) {
            Some(event) => Ok(event),
            None => self.merge(call, &body),
        }
    }

    /// The event as the body alone makes it. Where path or query have a say, or something is wrong,
    /// which [`merge`](Self::merge) then tells, there is none.
    fn read<T: DeserializeOwned>(&self, call: &Call, body: &[u8]) -> Option<T> {
        let takes_fields = matches!(self.fields.shape(), Shape::Object | Shape::OpenObject);
        let is_alone = self.params.is_empty() && call.query().is_empty();
        // A list would do for serde, its items in the order of the fields.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        if !(takes_fields && is_alone && is_object) {
            return None;
        }
        serde_json::from_str(str::from_utf8(body).ok()?).ok()
    }

    fn merge<T: DeserializeOwned>(&self, call: &Call, body: &[u8]) -> Result<T, Problem> {
        let mut object = parse(body)?;
        let mut errors = self.add_query(&mut object, call.query())?;
        for (name, text) in self.params.iter().zip(&call.params) {
            let field = self.fields.get(name).unwrap_or(Field::TEXT);
            match field.value(text) {
                Ok(value) if field.is_list => drop(object.insert(name.clone(), vec![value].into())),
                Ok(value) => drop(object.insert(name.clone(), value)),
                Err(expected) => errors.push(FieldError::new(name, expected)),
            }
        }
        if errors.is_empty() { self.deserialize(object) } else { Err(Problem::invalid(errors)) }
    }

    /// Adds what the query says beyond body and path; returns what did not convert.
    fn add_query(&self, object: &mut Object, query: &str) -> Result<Vec<FieldError>, Problem> {
        let mut errors: Vec<FieldError> = Vec::new();
        if query.is_empty() {
            return Ok(errors);
        }
        let mut given = Object::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            let bad_encoding = |BadEncoding| Problem::bad_encoding();
            let name = decode_query(name).map_err(bad_encoding)?;
            let text = decode_query(text).map_err(bad_encoding)?;
            if object.contains_key(&*name) || self.params.iter().any(|param| *param == name) {
                continue;
            }
            let field = self.fields.get(&name);
            let added = field.unwrap_or(Field::TEXT).value(&text).and_then(|value| {
                let place = given.entry(name.as_ref());
                add(place, field, value)
            });
            if let Err(message) = added
                && errors.iter().all(|error| *error.field != *name)
            {
                errors.push(FieldError::new(name, message));
            }
        }
        object.append(&mut given);
        Ok(errors)
    }

    fn deserialize<T: DeserializeOwned>(&self, object: Object) -> Result<T, Problem> {
        let value = match self.fields.shape() {
            Shape::Unit => Value::Null,
            _ => Value::Object(object),
        };
        let with_integers = with_integers(&value);
        serde_path_to_error::deserialize(value).or_else(|error| {
            if let Some(Ok(event)) = with_integers.map(serde_json::from_value) {
                return Ok(event);
            }
            let mut field = error.path().to_string();
            if field == "." {
                field.clear();
            }
            let message = error.into_inner().to_string();
            let missing = message.strip_prefix(MISSING);
            if let Some((name, _)) = missing.and_then(|rest| rest.split_once('`')) {
                if !field.is_empty() {
                    field.push('.');
                }
                field.push_str(name);
            }
            Err(Problem::invalid(vec![FieldError::new(shortened(field), shortened(message))]))
        })
    }
}

/// The value with an integer for each `2.0`, if there is one: to JSON Schema it is an integer, to
/// serde it is not.
#[allow(clippy::cast_possible_truncation)] // it is a whole number within the limits
fn with_integers(value: &Value) -> Option<Value> {
    match value {
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64()?;
            let is_integer = number.fract() == 0.0 && number.abs() <= INTEGER_MAX;
            is_integer.then(|| Value::from(number as i64))
        }
        Value::Array(items) => {
            let changed: Vec<_> = items.iter().map(with_integers).collect();
            changed.iter().any(Option::is_some).then(|| {
                let pairs = changed.into_iter().zip(items);
                pairs.map(|(changed, item)| changed.unwrap_or_else(|| item.clone())).collect()
            })
        }
        Value::Object(fields) => {
            let mut changed = None;
            for (name, field) in fields {
                if let Some(field) = with_integers(field) {
                    changed.get_or_insert_with(|| fields.clone()).insert(name.clone(), field);
                }
            }
            changed.map(Value::Object)
        }
        _ => None,
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        text.push('…');
    }
    text
}

pub(super) fn late() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout")
        .detail("the body did not arrive in time")
}

/// The object in a body; an empty body has no fields.
fn parse(body: &[u8]) -> Result<Object, Problem> {
    if body.is_empty() {
        return Ok(Object::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::invalid(vec![FieldError::new("", "expected an object")])),
        Err(error) => {
            let problem = Problem::new(StatusCode::BAD_REQUEST, "malformed_json");
            Err(problem.detail(error.to_string()))
        }
    }
}

/// Adds one value of the query to its field. A name that the schema does not know, which may be an
/// alias or nothing at all, becomes a list when it is repeated.
fn add(place: Entry<'_>, field: Option<Field>, value: Value) -> Result<(), &'static str> {
    match (place, field) {
        (Entry::Vacant(place), Some(Field { is_list: true, .. })) => {
            place.insert(vec![value].into());
        }
        (Entry::Vacant(place), _) => {
            place.insert(value);
        }
        (Entry::Occupied(_), Some(Field { is_list: false, .. })) => return Err("given twice"),
        (Entry::Occupied(mut place), _) => match place.get_mut() {
            Value::Array(items) => items.push(value),
            single => *single = vec![single.take(), value].into(),
        },
    }
    Ok(())
}
