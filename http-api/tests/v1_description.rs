//! `/api/v1/openapi.json`: it describes what is served, and all of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod asked;

use std::collections::BTreeSet;

use asked::{Answer, objects};
use axum::http::StatusCode;
use serde_json::Value;
use streamdb_query::{LossLine, ObjectLine, PARAMETERS, StreamRow};
use streamdb_storage::LossAround;

const KINDS: [&str; 2] = ["streams", "objects"];

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// What the schema says and what is served: every field of a row is described, and what is required is there.
#[test]
fn the_description_is_of_what_is_served() {
    let server = objects();
    let described = server.get("/api/v1/openapi.json");
    assert_eq!((described.status, described.header("content-type")), (StatusCode::OK, "application/json"));
    let described = described.json();
    assert_eq!(described["openapi"], "3.1.0");
    assert_eq!(described.get("security"), None, "without tokens nobody needs one");
    assert!(!described.to_string().contains("null"), "what is absent is left out");
    let schemas = described["components"]["schemas"].as_object().unwrap();
    let sha256 = "3b5b3f10d270e202a89e8e3258c236ad27d1d4a473f746d6befcf0ec07e24b77";
    for (uri, schema) in [
        ("streams?limit=1".to_owned(), "StreamPage"),
        ("objects?limit=1".to_owned(), "ObjectPage"),
        ("objects".to_owned(), "ObjectPage"),
        (format!("objects/{sha256}"), "Content"),
        ("objects?limit=x".to_owned(), "Problem"),
    ] {
        let answer = server.get(&format!("/api/v1/{uri}"));
        assert_fits(&answer.json(), &schemas[schema], schemas, schema);
    }
    let lines = server.get("/api/v1/streams?format=ndjson&limit=1").text();
    let end: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_fits(&end, &schemas["LastLine"], schemas, "LastLine");
    // Every reference leads somewhere, and every parameter is there.
    let text = described.to_string();
    for name in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(schemas.contains_key(name), "{name}");
    }
    for kind in KINDS {
        let parameters = described["paths"][format!("/{kind}")]["get"]["parameters"].as_array().unwrap();
        let names: Vec<&str> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(names, [PARAMETERS, &["format"]].concat());
    }
}

/// The fields of rows that have everything, and those of their schemas, are the same.
#[test]
fn schemas_of_rows_have_their_fields_and_no_others() {
    let server = objects();
    let described = server.get("/api/v1/openapi.json").json();
    let fields = |schema: &str| -> BTreeSet<String> {
        described["components"]["schemas"][schema]["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let full = |row: Value| -> BTreeSet<String> { row.as_object().unwrap().keys().cloned().collect() };
    let mut streams = Vec::new();
    let visit = &mut |info: streamdb_storage::StreamInfo| {
        streams.push(info);
        Ok(())
    };
    server.store.streams(visit, &mut |error| panic!("{error}")).unwrap();
    let mut stream = StreamRow::of(&streams[0]);
    stream.peer_oid.get_or_insert_with(String::new);
    (stream.vlan, stream.dropped, stream.conflict) = (Some(1), Some(stream.start), true);
    let loss = || {
        let (from, to) = (streams[0].first, streams[0].last);
        Some(LossLine::of(&LossAround { from, to, frames: 9, kernel: 1, interface: 0, shed: 0 }))
    };
    stream.loss = loss();
    assert_eq!(full(serde_json::to_value(stream).unwrap()), fields("StreamRow"));
    let mut object =
        streamdb_derive::objects(&server.store, &streams[0], &mut streamdb_derive::Rows::new()).unwrap().remove(0);
    let text = || Some("x".to_owned());
    (object.method, object.host, object.uri, object.declared_type) = (text(), text(), text(), text());
    (object.filename, object.reason, object.xor_key, object.conflict) = (text(), text(), Some(vec![1]), true);
    object.status = Some(200);
    let digests = streamdb_types::Digests { md5: [0; 16], sha1: [0; 20], sha256: [0; 32] };
    (object.digests, object.digests_encoded) = (Some(digests), Some(digests));
    let line = ObjectLine { verdicts: vec!["yara:x".to_owned()], loss: loss(), ..ObjectLine::of(&object) };
    assert_eq!(full(serde_json::to_value(line).unwrap()), fields("ObjectLine"));
}

/// As much of JSON Schema as the description uses for answers.
fn assert_fits(value: &Value, schema: &Value, schemas: &serde_json::Map<String, Value>, place: &str) {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/components/schemas/")) {
        return assert_fits(value, &schemas[name], schemas, name);
    }
    let fits = match schema["type"].as_str().unwrap_or_else(|| panic!("{place}: {schema}")) {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("{place}: {other}"),
    };
    assert!(fits, "{place}: {value} does not fit {schema}");
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
        assert!(regex::Regex::new(pattern).unwrap().is_match(text), "{place}: {text} {pattern}");
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let described =
            schema["properties"].get(name).or(others).unwrap_or_else(|| panic!("{place}.{name} is not described"));
        assert_fits(field, described, schemas, &format!("{place}.{name}"));
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(required.as_str().unwrap()).is_some(), "{place}: {required} is missing in {value}");
    }
    for item in value.as_array().into_iter().flatten() {
        assert_fits(item, &schema["items"], schemas, place);
    }
}
