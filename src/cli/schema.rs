//! `pforte schema`: the JSON Schema of `gateway.toml`, for editors and other checkers.

use std::io::{self, Write};

use crate::config;

/// Prints the schema, generated from the types that read the file.
///
/// # Errors
///
/// When `out` cannot be written.
pub fn schema(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{:#}", config::schema())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_one_json_document_with_a_description_for_every_key() {
        let mut out = Vec::new();
        schema(&mut out).expect("written");
        let schema: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        let mut bare = Vec::new();
        undescribed(&schema, "", &mut bare);
        assert!(bare.is_empty(), "no description: {bare:?}");
    }

    fn undescribed(schema: &serde_json::Value, path: &str, bare: &mut Vec<String>) {
        let Some(members) = schema.as_object() else { return };
        for (name, part) in members {
            if name == "properties" {
                for (key, property) in part.as_object().into_iter().flatten() {
                    if property.get("description").is_none() && property.get("const").is_none() {
                        bare.push(format!("{path}/{key}"));
                    }
                }
            }
            undescribed(part, &format!("{path}/{name}"), bare);
        }
        for (i, branch) in schema.get("oneOf").and_then(|b| b.as_array()).into_iter().flatten().enumerate() {
            undescribed(branch, &format!("{path}/oneOf/{i}"), bare);
        }
    }
}
