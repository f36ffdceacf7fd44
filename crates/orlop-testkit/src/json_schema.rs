//! Whether a JSON value is what a JSON Schema describes: the keywords that our schemas use, and no
//! others. An unknown one is a fault of the test, so that none is passed over.

use serde_json::Value;

/// What of `value` is not as `schema` says; references lead into `root`.
pub fn faults(root: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    validate(root, schema, value, &mut faults);
    faults
}

fn validate(root: &Value, schema: &Value, value: &Value, faults: &mut Vec<String>) {
    for (keyword, wanted) in object(schema) {
        let valid = |schema: &Value| self::faults(root, schema, value).is_empty();
        let list = || wanted.as_array().unwrap_or_else(|| panic!("{keyword} is no list: {wanted}")).iter();
        let good = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "examples" | "default"
            | "enumDescriptions" | "readOnly" | "x-change" | "then" => true,
            "$ref" => {
                let place = word(wanted).trim_start_matches('#');
                valid(root.pointer(place).unwrap_or_else(|| panic!("{wanted} leads nowhere")))
            }
            "anyOf" => list().any(valid),
            "allOf" => list().all(valid),
            "oneOf" => list().filter(|schema| valid(schema)).count() == 1,
            "if" => !valid(wanted) || valid(&schema["then"]),
            "const" => value == wanted,
            "enum" => list().any(|one| one == value),
            "type" if wanted.is_array() => list().any(|one| is(word(one), value)),
            "type" => is(word(wanted), value),
            "format" => match (word(wanted), value.as_str()) {
                ("uuid", Some(text)) => is_uuid(text),
                // Numbers have their bounds beside it.
                ("uint32" | "uint64" | "double" | "date-time" | "uuid", _) => true,
                (unknown, _) => panic!("the format {unknown} is not known here"),
            },
            "pattern" => {
                let pattern =
                    regex_lite::Regex::new(word(wanted)).unwrap_or_else(|e| panic!("{wanted}: {e}"));
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= number(wanted)),
            "minimum" => value.as_f64().is_none_or(|_| value.as_u64().is_some_and(|n| n >= number(wanted))),
            "maximum" => value.as_u64().is_none_or(|n| n <= number(wanted)),
            "required" => {
                value.as_object().is_none_or(|object| list().all(|key| object.contains_key(word(key))))
            }
            "uniqueItems" => value.as_array().is_none_or(|items| {
                items.iter().enumerate().all(|(place, item)| !items[..place].contains(item))
            }),
            "items" => {
                value.as_array().into_iter().flatten().for_each(|item| validate(root, wanted, item, faults));
                true
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = wanted.get(key) {
                        validate(root, schema, value, faults);
                    }
                }
                true
            }
            "additionalProperties" => {
                assert_eq!(wanted, &Value::Bool(false));
                value
                    .as_object()
                    .is_none_or(|object| object.keys().all(|key| schema["properties"].get(key).is_some()))
            }
            unknown => panic!("the keyword {unknown} is not known here"),
        };
        if !good {
            faults.push(format!("{value} against {keyword}: {wanted}"));
        }
    }
}

fn object(schema: &Value) -> &serde_json::Map<String, Value> {
    schema.as_object().unwrap_or_else(|| panic!("{schema} is no schema"))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not known here"),
    }
}

fn is_uuid(text: &str) -> bool {
    let hyphen = |place: usize| matches!(place, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match hyphen(place) {
            true => byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::faults;

    #[test]
    fn every_keyword_can_refuse() {
        for (schema, good, bad) in [
            (json!({"type": "integer"}), json!(1), json!(1.5)),
            (json!({"type": ["string", "null"]}), json!(null), json!(1)),
            (json!({"anyOf": [{"type": "null"}, {"const": 1}]}), json!(1), json!(2)),
            (json!({"oneOf": [{"type": "integer"}, {"const": 1}]}), json!(2), json!(1)),
            (json!({"enum": ["a", "b"]}), json!("b"), json!("c")),
            (json!({"format": "uuid"}), json!("019a0000-0000-7000-8000-000000000000"), json!("019a0000")),
            (json!({"pattern": "^a$"}), json!("a"), json!("b")),
            (json!({"maxLength": 1}), json!("é"), json!("aa")),
            (json!({"minimum": 2}), json!(2), json!(-2)),
            (json!({"maximum": 2}), json!(2), json!(3)),
            (json!({"required": ["a"]}), json!({"a": 1}), json!({})),
            (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1])),
            (json!({"items": {"type": "null"}}), json!([null]), json!([null, 1])),
            (json!({"properties": {"a": {"type": "null"}}}), json!({"b": 1}), json!({"a": 1})),
            (
                json!({"properties": {"a": {}}, "additionalProperties": false}),
                json!({"a": 1}),
                json!({"b": 1}),
            ),
            (json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}), json!(1), json!(3)),
            (json!({"if": {"minimum": 2}, "then": {"maximum": 3}}), json!(1), json!(4)),
            (json!({"$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}}), json!(null), json!(1)),
        ] {
            assert_eq!(faults(&schema, &schema, &good), [""; 0], "{schema}");
            assert!(!faults(&schema, &schema, &bad).is_empty(), "{schema} takes {bad}");
        }
    }
}
