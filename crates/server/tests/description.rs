//! The OpenAPI description: current in the repository, whole, and true about who is refused.

use serde_json::Value;
use stead_server::http::openapi::{describe, policies};

fn checked_in() -> Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

#[test]
fn the_file_in_the_repository_is_current() {
    assert!(checked_in() == describe(), "openapi.json is not current: run `cargo xtask openapi`");
}

#[test]
fn the_docs_say_of_every_route_who_may_call_it_about_what() {
    let page = include_str!("../../../docs/api-design.md");
    assert!(page.contains(&policies()), "docs/api-design.md needs this table of who may what:\n{}", policies());
}

#[test]
fn every_reference_leads_somewhere_and_every_answer_is_described() {
    fn walk(value: &Value, root: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(root.pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                members.values().for_each(|member| walk(member, root));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, root)),
            _ => {}
        }
    }
    let root = describe();
    walk(&root, &root);
    for (path, methods) in root["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.values().all(|response| response["description"].is_string()), "{method} {path}");
            if !operation["security"].as_array().unwrap().is_empty() {
                for status in ["401", "403", "404", "405", "413", "415", "422", "429"] {
                    assert!(responses.contains_key(status), "{method} {path} does not tell of {status}");
                }
            }
        }
    }
}

#[test]
fn headings_come_in_the_order_of_the_page_and_no_schema_is_called_after_a_container() {
    let root = describe();
    let tags: Vec<_> = root["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    assert_eq!(tags[0], "Service Accounts");
    for methods in root["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            assert!(tags.contains(&operation["tags"][0].as_str().unwrap()), "{operation}");
            for parameter in operation["parameters"].as_array().unwrap() {
                let schema = &parameter["schema"];
                assert!(schema["type"].is_string() && parameter["required"].is_boolean(), "{parameter}");
            }
        }
    }
    let schemas = root["components"]["schemas"].as_object().unwrap();
    for name in ["Vec", "BTreeMap", "Option"] {
        assert!(!schemas.contains_key(name), "a schema is called {name}");
    }
}
