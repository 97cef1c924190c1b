//! JSON Patch (RFC 6902).

use http::StatusCode;
use serde_json::Value;

use super::fault::Fault;

/// Applies all steps or none.
pub(super) fn apply(mut document: Value, steps: &Value) -> Result<Value, Fault> {
    let steps = steps.as_array().ok_or_else(|| Fault::invalid("A JSON Patch is a list of steps"))?;
    for step in steps {
        document = one(document, step)?;
    }
    Ok(document)
}

fn one(mut document: Value, step: &Value) -> Result<Value, Fault> {
    let text = |name: &str| {
        step.get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| Fault::invalid(format!("A step lacks \"{name}\"")))
    };
    let value = || step.get("value").cloned().ok_or_else(|| Fault::invalid("A step lacks \"value\""));
    let path = text("path")?;
    match text("op")? {
        "add" => add(&mut document, path, value()?)?,
        "remove" => drop(remove(&mut document, path)?),
        "replace" if path.is_empty() => document = value()?,
        "replace" => *document.pointer_mut(path).ok_or_else(|| nowhere(path))? = value()?,
        "move" => {
            let taken = remove(&mut document, text("from")?)?;
            add(&mut document, path, taken)?;
        }
        "copy" => {
            let from = text("from")?;
            let taken = document.pointer(from).cloned().ok_or_else(|| nowhere(from))?;
            add(&mut document, path, taken)?;
        }
        "test" => {
            if document.pointer(path) != Some(&value()?) {
                return Err(unmet(format!("The test of \"{path}\" failed")));
            }
        }
        other => return Err(Fault::invalid(format!("Unknown step \"{other}\""))),
    }
    Ok(document)
}

fn unmet(text: String) -> Fault {
    Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "processing", text)
}

fn nowhere(path: &str) -> Fault {
    unmet(format!("There is nothing at \"{path}\""))
}

fn parent<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), Fault> {
    let (above, name) = path.rsplit_once('/').ok_or_else(|| nowhere(path))?;
    let above = document.pointer_mut(above).ok_or_else(|| nowhere(path))?;
    Ok((above, name.replace("~1", "/").replace("~0", "~")))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), Fault> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (above, name) = parent(document, path)?;
    match above {
        Value::Object(map) => drop(map.insert(name, value)),
        Value::Array(items) if name == "-" => items.push(value),
        Value::Array(items) => {
            let place =
                name.parse().ok().filter(|place| *place <= items.len()).ok_or_else(|| nowhere(path))?;
            items.insert(place, value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(nowhere(path)),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, Fault> {
    let (above, name) = parent(document, path)?;
    match above {
        Value::Object(map) => map.shift_remove(&name).ok_or_else(|| nowhere(path)),
        Value::Array(items) => {
            let place =
                name.parse().ok().filter(|place| *place < items.len()).ok_or_else(|| nowhere(path))?;
            Ok(items.remove(place))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(nowhere(path)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_do_what_rfc_6902_says() {
        let table = [
            (json!([{"op": "add", "path": "/a", "value": 1}]), Some(json!({"a": 1, "l": [1, 2]}))),
            (json!([{"op": "add", "path": "/l/-", "value": 3}]), Some(json!({"l": [1, 2, 3]}))),
            (json!([{"op": "add", "path": "/l/0", "value": 0}]), Some(json!({"l": [0, 1, 2]}))),
            (json!([{"op": "add", "path": "/l/9", "value": 0}]), None),
            (json!([{"op": "remove", "path": "/l/1"}]), Some(json!({"l": [1]}))),
            (json!([{"op": "remove", "path": "/x"}]), None),
            (json!([{"op": "replace", "path": "/l", "value": 5}]), Some(json!({"l": 5}))),
            (json!([{"op": "replace", "path": "/x", "value": 5}]), None),
            (json!([{"op": "move", "from": "/l", "path": "/m"}]), Some(json!({"m": [1, 2]}))),
            (json!([{"op": "copy", "from": "/l/0", "path": "/m~1n"}]), Some(json!({"l": [1, 2], "m/n": 1}))),
            (json!([{"op": "test", "path": "/l/0", "value": 1}]), Some(json!({"l": [1, 2]}))),
            (json!([{"op": "test", "path": "/l/0", "value": 2}]), None),
            (json!({"op": "test"}), None),
        ];
        let wrong: Vec<_> = table
            .into_iter()
            .filter(|(steps, after)| apply(json!({"l": [1, 2]}), steps).ok() != *after)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
