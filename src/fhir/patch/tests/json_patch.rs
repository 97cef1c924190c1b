use super::*;

const BASIC: &str = r#""resourceType":"Basic","id":"b""#;

fn patched(members: &str, patch: &str) -> Result<Value, String> {
    outcome(json(resource_of(BASIC, members).as_bytes(), patch.as_bytes()))
}

fn check(table: &[(&str, &str, &str)]) {
    for (before, patch, after) in table {
        assert_eq!(patched(before, patch), expected(BASIC, after), "{before} {patch}");
    }
}

/// Members, a patch, and the members that result or the error.
const RFC_6902: &[(&str, &str, &str)] = &[
    // Appendix A.1 to A.7
    (r#""foo":"bar""#, r#"[{"op":"add","path":"/baz","value":"qux"}]"#, r#""foo":"bar","baz":"qux""#),
    (
        r#""foo":["bar","baz"]"#,
        r#"[{"op":"add","path":"/foo/1","value":"qux"}]"#,
        r#""foo":["bar","qux","baz"]"#,
    ),
    (r#""foo":"bar","baz":"qux""#, r#"[{"op":"remove","path":"/baz"}]"#, r#""foo":"bar""#),
    (r#""foo":["bar","qux","baz"]"#, r#"[{"op":"remove","path":"/foo/1"}]"#, r#""foo":["bar","baz"]"#),
    (
        r#""baz":"qux","foo":"bar""#,
        r#"[{"op":"replace","path":"/baz","value":"boo"}]"#,
        r#""baz":"boo","foo":"bar""#,
    ),
    (
        r#""foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}"#,
        r#"[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]"#,
        r#""foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}"#,
    ),
    (
        r#""foo":["all","grass","cows","eat"]"#,
        r#"[{"op":"move","from":"/foo/1","path":"/foo/3"}]"#,
        r#""foo":["all","cows","eat","grass"]"#,
    ),
    // A.8 to A.16
    (
        r#""baz":"qux","foo":["a",2,"c"]"#,
        r#"[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]"#,
        r#""baz":"qux","foo":["a",2,"c"]"#,
    ),
    (r#""baz":"qux""#, r#"[{"op":"test","path":"/baz","value":"bar"}]"#, "Test"),
    (
        r#""foo":"bar""#,
        r#"[{"op":"add","path":"/child","value":{"grandchild":{"a":1}}}]"#,
        r#""foo":"bar","child":{"grandchild":{"a":1}}"#,
    ),
    (
        r#""foo":"bar""#,
        r#"[{"op":"add","path":"/baz","value":"qux","xyz":123}]"#,
        r#""foo":"bar","baz":"qux""#,
    ),
    (r#""foo":"bar""#, r#"[{"op":"add","path":"/baz/bat","value":"qux"}]"#, "Missing"),
    (r#""foo":"bar""#, r#"[{"op":"add","path":"/baz","value":"qux","op":"remove"}]"#, "Unreadable"),
    (r#""/":9,"~1":10"#, r#"[{"op":"test","path":"/~01","value":10}]"#, r#""/":9,"~1":10"#),
    (r#""/":9,"~1":10"#, r#"[{"op":"test","path":"/~1","value":9}]"#, r#""/":9,"~1":10"#),
    (r#""/":9,"~1":10"#, r#"[{"op":"test","path":"/~01","value":"10"}]"#, "Test"),
    (r#""foo":["bar"]"#, r#"[{"op":"add","path":"/foo/-","value":{"a":"b"}}]"#, r#""foo":["bar",{"a":"b"}]"#),
    // §4.1: what is there is replaced; §4.5: copied.
    (r#""foo":"bar""#, r#"[{"op":"add","path":"/foo","value":1}]"#, r#""foo":1"#),
    (r#""a":{"b":1}"#, r#"[{"op":"copy","from":"/a","path":"/c"}]"#, r#""a":{"b":1},"c":{"b":1}"#),
    (r#""a":[1]"#, r#"[{"op":"move","from":"/a/0","path":"/a/0"}]"#, r#""a":[1]"#),
    (r#""a":1"#, "[]", r#""a":1"#),
    // §4.6: numbers by value, objects in any order.
    (
        r#""a":{"b":1.50,"c":[]}"#,
        r#"[{"op":"test","path":"/a","value":{"c":[],"b":15e-1}}]"#,
        r#""a":{"b":1.50}"#,
    ),
    (r#""a":[1,2]"#, r#"[{"op":"test","path":"/a","value":[2,1]}]"#, "Test"),
    // §4: refused whole when one operation fails.
    (r#""a":1"#, r#"[{"op":"remove","path":"/a"},{"op":"remove","path":"/a"}]"#, "Missing"),
];

/// RFC 6902 appendix A, and what the rest of the RFC says that has no example there.
#[test]
fn json_patch_does_what_rfc_6902_says() {
    check(RFC_6902);
}

const REFUSED: &[(&str, &str)] = &[
    (r#"{"op":"add"}"#, "Form"),
    (r#"[1]"#, "Form"),
    (r#"[{"op":"add","path":"/a"}]"#, "Form"),
    (r#"[{"op":"Add","path":"/a","value":1}]"#, "Form"),
    (r#"[{"op":"add","path":"a","value":1}]"#, "Form"),
    (r#"[{"op":"add","path":"/a~","value":1}]"#, "Form"),
    (r#"[{"op":"add","path":"/a~2","value":1}]"#, "Form"),
    (r#"[{"op":"add","Path":"/a","value":1}]"#, "Form"),
    (r#"[{"op":"copy","path":"/a"}]"#, "Form"),
    (r#"[{"op":"move","from":"/o","path":"/o/a"}]"#, "Form"),
    (r#"[{"op":"remove","path":"/l/0"}] x"#, "Unreadable"),
    (r#"[{"op":"remove","path":"/a","Op":"add"}]"#, "Unreadable"),
    (r#"[{"op":"add","path":"/n","value":{"a":1,"A":2}}]"#, "Unreadable"),
    (r#"[{"op":"remove","path":"/none"}]"#, "Missing"),
    (r#"[{"op":"replace","path":"/none","value":1}]"#, "Missing"),
    (r#"[{"op":"replace","path":"/l/2","value":1}]"#, "Missing"),
    (r#"[{"op":"remove","path":"/l/-"}]"#, "Missing"),
    (r#"[{"op":"remove","path":"/l/00"}]"#, "Missing"),
    (r#"[{"op":"remove","path":"/l/+0"}]"#, "Missing"),
    (r#"[{"op":"remove","path":"/l/1e0"}]"#, "Missing"),
    (r#"[{"op":"remove","path":"/l/18446744073709551616"}]"#, "Missing"),
    (r#"[{"op":"add","path":"/l/01","value":1}]"#, "Missing"),
    (r#"[{"op":"add","path":"/l/3","value":1}]"#, "Index"),
    (r#"[{"op":"remove","path":"/L"}]"#, "Ambiguous"),
    (r#"[{"op":"add","path":"/O/a","value":1}]"#, "Ambiguous"),
    (r#"[{"op":"add","path":"/Name","value":1}]"#, "Unsupported"),
    (r#"[{"op":"add","path":"/o/","value":1}]"#, "Unsupported"),
    (r#"[{"op":"add","path":"/n","value":null}]"#, "Result"),
    (r#"[{"op":"add","path":"/n","value":{}}]"#, "Result"),
    (r#"[{"op":"add","path":"/n","value":{"a":[]}}]"#, "Result"),
    (r#"[{"op":"add","path":"/l/0","value":null}]"#, "Result"),
    (r#"[{"op":"add","path":"/l/0","value":[1]}]"#, "Result"),
    (r#"[{"op":"remove","path":"/o/b"}]"#, "Result"),
];

/// What is no JSON Patch, and what two servers would not do alike.
#[test]
fn json_patches_that_are_refused() {
    for (patch, error) in REFUSED {
        let before = r#""a":1,"l":[1,2],"o":{"b":1}"#;
        assert_eq!(patched(before, patch), Err((*error).to_owned()), "{patch}");
    }
    for stored in ["", "[]", "{}", r#"{"resourceType":"A","a":1,"a":2}"#, r#"{"resourceType":1}"#] {
        assert_eq!(outcome(json(stored.as_bytes(), b"[]")), Err("Stored".into()), "{stored}");
    }
}

/// REST-14: type and id stay, however they are spelled.
#[test]
fn a_json_patch_never_touches_identity() {
    let patches = [
        r#"[{"op":"replace","path":"","value":{"resourceType":"Basic","id":"x"}}]"#,
        r#"[{"op":"add","path":"","value":{"resourceType":"Basic","id":"b"}}]"#,
        r#"[{"op":"remove","path":""}]"#,
        r#"[{"op":"copy","from":"/o","path":""}]"#,
        r#"[{"op":"move","from":"/o","path":""}]"#,
        r#"[{"op":"move","from":"","path":"/x"}]"#,
        r#"[{"op":"replace","path":"/id","value":"x"}]"#,
        r#"[{"op":"replace","path":"/id","value":"b"}]"#,
        r#"[{"op":"replace","path":"/ID","value":"x"}]"#,
        r#"[{"op":"add","path":"/_id","value":{"id":"x"}}]"#,
        r#"[{"op":"move","from":"/id","path":"/x"}]"#,
        r#"[{"op":"copy","from":"/o/id","path":"/id"}]"#,
        r#"[{"op":"replace","path":"/resourceType","value":"Patient"}]"#,
        r#"[{"op":"remove","path":"/resourcetype"}]"#,
        r#"[{"op":"add","path":"/resourceType/x","value":1}]"#,
    ];
    for patch in patches {
        assert_eq!(patched(r#""o":{"id":"i"}"#, patch), Err("Identity".into()), "{patch}");
    }
    // Asking is not touching, and an element has an id of its own.
    let patch = r#"[{"op":"test","path":"/id","value":"b"},{"op":"replace","path":"/o/id","value":"j"}]"#;
    check(&[(r#""o":{"id":"i"}"#, patch, r#""o":{"id":"j"}"#)]);
}

/// REST-14, REST-40: what a patch might hide from a check of the stored or the submitted content alone.
#[test]
fn what_results_is_seen() {
    let stored = r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p1"},"performer":[{"reference":"Patient/other"}]}"#;
    let subject = |patch: &str| {
        outcome(json(stored.as_bytes(), patch.as_bytes())).map(|result| result["subject"].clone())
    };
    let other = value!({"reference":"Patient/other"});
    for patch in [
        r#"[{"op":"copy","from":"/performer/0","path":"/subject"}]"#,
        r#"[{"op":"remove","path":"/subject"},{"op":"move","from":"/performer/0","path":"/subject"}]"#,
        r#"[{"op":"copy","from":"/performer/0/reference","path":"/subject/reference"}]"#,
        r#"[{"op":"replace","path":"/subject/reference","value":"Patient\/other"}]"#,
        r#"[{"op":"replace","path":"/sub\u006aect","value":{"reference":"Patient/other"}}]"#,
    ] {
        assert_eq!(subject(patch), Ok(other.clone()), "{patch}");
    }
    assert_eq!(subject(r#"[{"op":"remove","path":"/subject"}]"#), Ok(Value::Null));
    let cased = r#"[{"op":"add","path":"/Subject","value":{"reference":"Patient/p1"}}]"#;
    assert_eq!(subject(cased), Err("Ambiguous".into()));
}

/// Lists that a patch empties go, decimals and order stay as written.
#[test]
fn the_result_is_fhir_json() {
    let stored = r#"{"resourceType":"Observation","valueQuantity":{"value":1.50},"category":[{"id":"c"}],"status":"final","_status":{"id":"s"}}"#;
    let result = json(stored.as_bytes(), br#"[{"op":"remove","path":"/category/0"}]"#).expect("applies");
    let expected = stored.replace(r#""category":[{"id":"c"}],"#, "");
    assert_eq!(std::str::from_utf8(&result), Ok(expected.as_str()));
    let names = r#"{"resourceType":"Patient","name":[{"given":["A",null],"_given":[null,{"id":"g"}]}]}"#;
    assert_eq!(json(names.as_bytes(), b"[]").as_deref(), Ok(names.as_bytes()));
}

/// Depth, number and size are bounded.
#[test]
fn a_json_patch_is_limited() {
    let deep = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let add = |value: &str| format!(r#"[{{"op":"add","path":"/x","value":{value}}}]"#);
    assert!(patched("", &add(&deep(90))).is_ok());
    for nested in [deep(100), deep(100_000), "[".repeat(100_000)] {
        assert_eq!(patched("", &add(&nested)), Err("Unreadable".into()));
    }
    let path = "/a".repeat(100_000);
    assert_eq!(patched("", &format!(r#"[{{"op":"remove","path":"{path}"}}]"#)), Err("TooMuch".into()));
    // Each copy doubles what is there.
    let doubling = vec![r#"{"op":"copy","from":"/l","path":"/l/-"}"#; 60].join(",");
    assert_eq!(patched(r#""l":[{"a":1}]"#, &format!("[{doubling}]")), Err("TooMuch".into()));
    let text = "x".repeat(100_000);
    let copies = vec![r#"{"op":"copy","from":"/t","path":"/l/-"}"#; 1000].join(",");
    let stored = format!(r#""t":"{text}","l":[1]"#);
    assert_eq!(patched(&stored, &format!("[{copies}]")), Err("TooMuch".into()));
    for (count, fits) in [(1000, true), (1001, false)] {
        let tests = vec![r#"{"op":"test","path":"/id","value":"b"}"#; count].join(",");
        assert_eq!(patched("", &format!("[{tests}]")).is_ok(), fits, "{count}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(value!(null)),
        Just(value!(true)),
        (0..3u8).prop_map(|it| value!(it)),
        "[a-c]{0,2}".prop_map(|it| value!(it)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("_?[a-c]", inner, 0..3).prop_map(|it| value!(it)),
        ]
    })
}

fn any_pointer() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec!["a", "b", "c", "_a", "0", "1", "-", "id", "~1"]);
    prop::collection::vec(token, 0..4)
        .prop_map(|tokens| tokens.iter().map(|token| format!("/{token}")).collect())
}

fn any_patch() -> impl Strategy<Value = Value> {
    let op = prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]);
    let operation = (op, any_pointer(), any_pointer(), any_value())
        .prop_map(|(op, path, from, it)| value!({"op":op,"path":path,"from":from,"value":it}));
    prop::collection::vec(operation, 0..5).prop_map(Value::from)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is submitted: no panic, and what results is a resource of the same type and id.
    #[test]
    fn json_patches_keep_the_resource(members in any_value(), patch in any_patch()) {
        let mut stored = value!({"resourceType":"Basic","id":"b"});
        if let Some(members) = members.as_object() {
            stored.as_object_mut().expect("an object").extend(members.clone());
        }
        if let Ok(bytes) = json(stored.to_string().as_bytes(), patch.to_string().as_bytes()) {
            let document = element::Document::read(&bytes, Format::Json).expect("a resource");
            prop_assert_eq!(
                (document.root().resource_type(), document.root().id()),
                (Some("Basic"), Some("b"))
            );
        }
    }
}
