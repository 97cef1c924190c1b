//! Holds a file against the JSON Schema of the types that read it.
//!
//! Serde stops at its first error. Here every key is looked at by itself: what does not fit becomes a complaint and is
//! taken out, so that the rest can still be read and checked, and all complaints are shown at once.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::complaint::{Complaint, Finding, Place};
use super::file::File;
use super::source::{Source, Writings, Written};
use super::values::{WRITTEN_AS, readable};

/// The JSON Schema of `gateway.toml`, generated from the types that read it.
#[must_use]
pub fn schema() -> Value {
    let generated = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    let mut schema = generated.to_value();
    without_null(&mut schema);
    if let Some(top) = schema.as_object_mut() {
        top.insert("title".to_owned(), "gateway.toml".into());
    }
    schema
}

static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

/// TOML has no null: an optional key is absent. The alternatives that schemars adds for `Option` go.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(members) => members.iter_mut().for_each(without_null),
        Value::Object(members) => {
            members.values_mut().for_each(without_null);
            drop_null_type(members);
            drop_null_branch(members);
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

fn drop_null_type(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    for choices in ["enum", "default"] {
        match schema.get_mut(choices) {
            Some(Value::Array(values)) => values.retain(|value| !value.is_null()),
            Some(Value::Null) => drop(schema.remove(choices)),
            _ => {}
        }
    }
}

fn drop_null_branch(schema: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = schema.get_mut("anyOf") else { return };
    branches.retain(|branch| branch.get("type").is_none_or(|name| name != "null"));
    if let [Value::Object(only)] = branches.as_slice() {
        let only = only.clone();
        schema.remove("anyOf");
        for (name, value) in only {
            schema.entry(name).or_insert(value);
        }
    }
}

/// What came of holding a file against the schema.
pub(super) struct Shaped {
    /// What fits, ready for serde.
    pub(super) fitting: Value,
    /// Every key that is there, fitting or not.
    pub(super) writings: Writings,
    /// What does not fit.
    pub(super) complaints: Vec<Complaint>,
}

/// Looks at every key of the file.
pub(super) fn shape(source: &Source, table: &Spanned<DeTable<'_>>) -> Shaped {
    let mut walk = Walk { source, writings: Writings::new(), complaints: Vec::new() };
    let place = Place { line: 1, column: 1 };
    let fitting = walk.table(&SCHEMA, Here { path: "", place }, table.get_ref());
    Shaped { fitting, writings: walk.writings, complaints: walk.complaints }
}

/// A table's path and place.
#[derive(Clone, Copy)]
struct Here<'a> {
    path: &'a str,
    place: Place,
}

struct Walk<'a> {
    source: &'a Source,
    writings: Writings,
    complaints: Vec<Complaint>,
}

impl Walk<'_> {
    fn complain(&mut self, place: Place, finding: Finding, expected: String, mend: String) {
        let file = self.source.name().to_owned();
        self.complaints.push(Complaint { file, place: Some(place), finding, expected, mend });
    }

    /// Records the value; gives it back for serde if it fits.
    fn value(&mut self, schema: &Value, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let written = self.source.written(value);
        self.writings.insert(path.to_owned(), written.clone());
        match self.fit(resolve(schema), path, value) {
            Ok(fitting) => Some(fitting).filter(|fitting| !fitting.is_null()),
            Err(Misfit { expected, mend }) => {
                let finding = Finding::Value { key: path.to_owned(), value: written.value };
                self.complain(written.place, finding, expected, mend);
                None
            }
        }
    }

    fn fit(&mut self, schema: &Value, path: &str, value: &Spanned<DeValue<'_>>) -> Result<Value, Misfit> {
        if let Some(branches) = alternatives(schema) {
            return self.alternative(branches, schema, path, value);
        }
        if let Some(choices) = choices(schema) {
            return choose(&choices, value.get_ref());
        }
        let expects = type_name(schema);
        match (expects, value.get_ref()) {
            ("array", DeValue::Array(members)) => {
                let items = schema.get("items").unwrap_or(&Value::Null);
                let members = members.iter().enumerate();
                let members: Vec<_> = members
                    .map(|(i, member)| self.value(items, &format!("{path}[{}]", i + 1), member))
                    .collect();
                // One member that does not fit takes the list out: the others must keep their numbers.
                Ok(members.into_iter().collect::<Option<Vec<_>>>().map_or(Value::Null, Value::Array))
            }
            ("object", DeValue::Table(table)) => {
                let place = self.source.place(value.span().start);
                Ok(self.table(schema, Here { path, place }, table))
            }
            ("boolean", DeValue::Boolean(flag)) => Ok(Value::Bool(*flag)),
            ("integer", DeValue::Integer(number)) => whole_number(number.as_str(), number.radix()),
            ("number", DeValue::Integer(number)) => real_number(number.as_str()),
            ("number", DeValue::Float(number)) => real_number(number.as_str()),
            ("string", DeValue::String(text)) => match schema.get(WRITTEN_AS).and_then(Value::as_str) {
                Some(written_as) => match readable(written_as, text) {
                    Ok(()) => Ok(Value::String(text.to_string())),
                    Err(expected) => Err(Misfit::new(expected, "write the number and its unit in one word")),
                },
                None => Ok(Value::String(text.to_string())),
            },
            _ => Err(Misfit::of_type(schema, value.get_ref())),
        }
    }

    fn alternative(
        &mut self,
        branches: &[Value],
        schema: &Value,
        path: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Value, Misfit> {
        let toml_type = json_type(value.get_ref());
        if let Some(tag) = branches.iter().find_map(tag) {
            let DeValue::Table(table) = value.get_ref() else {
                return Err(Misfit::new(
                    format!("a table such as `{{ {tag} = … }}`"),
                    "write it in braces, with its keys",
                ));
            };
            return self.tagged(branches, tag, path, (table, value));
        }
        match branches.iter().map(resolve).find(|branch| type_name(branch) == toml_type) {
            Some(branch) => self.fit(branch, path, value),
            None => Err(Misfit::of_type(schema, value.get_ref())),
        }
    }

    /// A table whose `kind` (or the like) says which keys it has.
    fn tagged(
        &mut self,
        branches: &[Value],
        tag: &str,
        path: &str,
        (table, value): (&DeTable<'_>, &Spanned<DeValue<'_>>),
    ) -> Result<Value, Misfit> {
        let place = self.source.place(value.span().start);
        let constant = |branch: &Value| branch.pointer(&format!("/properties/{tag}/const")).cloned();
        let kinds: Vec<Value> = branches.iter().filter_map(constant).collect();
        let key = join(path, tag);
        let Some(kind) = table.get(tag) else {
            let mend = format!("add `{tag} = …` with one of these");
            self.complain(place, Finding::Missing { key }, one_of(&kinds), mend);
            return Ok(Value::Null);
        };
        let chosen = match choose(&kinds, kind.get_ref()) {
            Ok(chosen) => chosen,
            Err(Misfit { expected, mend }) => {
                let written = self.source.written(kind);
                self.complain(written.place, Finding::Value { key, value: written.value }, expected, mend);
                return Ok(Value::Null);
            }
        };
        match branches.iter().find(|branch| constant(branch).as_ref() == Some(&chosen)) {
            Some(branch) => Ok(self.table(branch, Here { path, place }, table)),
            None => Err(Misfit::of_type(branches.first().unwrap_or(&Value::Null), value.get_ref())),
        }
    }

    fn table(&mut self, schema: &Value, here: Here<'_>, table: &DeTable<'_>) -> Value {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let open = schema.get("additionalProperties") != Some(&Value::Bool(false));
        let mut fitting = Map::new();
        let mut misspelt = Vec::new();
        for (name, value) in table {
            let path = join(here.path, name.get_ref());
            match properties.get(name.get_ref().as_ref()) {
                Some(property) => {
                    let fits = self.value(property, &path, value);
                    fitting.extend(fits.map(|value| (name.get_ref().to_string(), value)));
                }
                None if open => drop(self.writings.insert(path, self.source.written(value))),
                None => {
                    misspelt.extend(nearest(name.get_ref(), properties.keys().map(String::as_str)));
                    self.unknown(properties, name, path);
                }
            }
        }
        for (name, property) in properties {
            let required = schema.get("required").and_then(Value::as_array);
            let required = required.is_some_and(|names| names.iter().any(|required| required == name));
            // A misspelt key has its complaint already.
            if required && !table.contains_key(name.as_str()) && !misspelt.contains(&name.as_str()) {
                self.missing(property, name, here);
            }
        }
        Value::Object(fitting)
    }

    fn missing(&mut self, property: &Value, name: &str, here: Here<'_>) {
        let resolved = resolve(property);
        let described = property.get("description").or_else(|| resolved.get("description"));
        let described = described.and_then(Value::as_str).unwrap_or_default();
        let sentence = described.split(['.', ';']).next().unwrap_or_default();
        let example = property.get("examples").and_then(|examples| examples.get(0));
        let mend = match (type_name(resolved), example) {
            (_, Some(example)) => format!("add `{name} = {example}`"),
            ("object", _) => format!("add a table `[{}]`", join(here.path, name)),
            ("array", _) if holds_tables(resolved) && here.path.is_empty() => {
                format!("add a table `[[{name}]]`")
            }
            ("array", _) if holds_tables(resolved) => format!("add `{name} = [{{ … }}]`"),
            _ => format!("add `{name} = …`"),
        };
        let finding = Finding::Missing { key: join(here.path, name) };
        self.complain(here.place, finding, lower_first(sentence), mend);
    }

    fn unknown(
        &mut self,
        properties: &Map<String, Value>,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        path: String,
    ) {
        let place = self.source.place(name.span().start);
        let written = name.get_ref().as_ref();
        let secret = ["_file", "_env"].map(|ending| format!("{written}{ending}"));
        let (expected, mend) = if properties.contains_key(secret.first().map_or("", String::as_str)) {
            ("secrets in files or the environment, never here".to_owned(), secret_mend(&secret))
        } else {
            let known: Vec<&str> = properties.keys().map(String::as_str).collect();
            let expected = format!("one of {}", listed(known.iter().copied()));
            let mend = match nearest(written, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => home_of(written).unwrap_or_else(|| "remove it".to_owned()),
            };
            (expected, mend)
        };
        self.writings.insert(path.clone(), Written { place, value: "***".to_owned() });
        self.complain(place, Finding::Unknown { key: path }, expected, mend);
    }
}

fn secret_mend([file, environment]: &[String; 2]) -> String {
    format!("put it in a file and write `{file} = \"…\"`, or name a variable with `{environment} = \"…\"`")
}

/// A key that exists, but in another table.
fn home_of(key: &str) -> Option<String> {
    let tables = SCHEMA.get("properties").and_then(Value::as_object)?;
    let holds = |schema: &Value| schema.pointer(&format!("/properties/{key}")).is_some();
    let (table, _) = tables.iter().find(|(_, schema)| {
        let schema = resolve(schema);
        holds(schema) || holds(resolve(schema.get("items").unwrap_or(&Value::Null)))
    })?;
    Some(format!("move it to `{table}`"))
}

/// Why a value does not fit, and the mend.
struct Misfit {
    expected: String,
    mend: String,
}

impl Misfit {
    fn new(expected: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { expected: expected.into(), mend: mend.into() }
    }

    fn of_type(schema: &Value, value: &DeValue<'_>) -> Self {
        let expected = match schema.get(WRITTEN_AS).and_then(Value::as_str) {
            Some(written_as) => readable(written_as, "").err().unwrap_or_default().to_owned(),
            None => described_type(schema),
        };
        let mend = match (type_name(schema), value) {
            ("string", DeValue::Integer(_)) if schema.get(WRITTEN_AS).is_some() => {
                "add the unit and double quotes"
            }
            ("string", _) => "write it in double quotes",
            ("array", DeValue::Table(_)) => "write the table's name in double brackets: `[[…]]`",
            ("array", _) => "write it in brackets: `[…]`",
            ("boolean", DeValue::String(_)) => "write it without quotes",
            ("integer" | "number", DeValue::String(_)) => "write the number without quotes",
            ("object", _) => "write it as a table, or in braces: `{ key = value }`",
            _ => "write a value of that kind",
        };
        Self::new(expected, mend)
    }
}

fn resolve(schema: &Value) -> &Value {
    let reference = schema.get("$ref").and_then(Value::as_str);
    match reference.and_then(|reference| SCHEMA.pointer(reference.strip_prefix('#')?)) {
        Some(definition) => definition,
        None => schema,
    }
}

/// The branches of a union; a list of constants is no union but [`choices`].
fn alternatives(schema: &Value) -> Option<&[Value]> {
    let branches = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
    let constants = branches.iter().all(|branch| branch.get("const").is_some());
    (!constants).then_some(branches.as_slice())
}

fn choices(schema: &Value) -> Option<Vec<Value>> {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return Some(values.clone());
    }
    if let Some(constant) = schema.get("const") {
        return Some(vec![constant.clone()]);
    }
    let branches = schema.get("oneOf")?.as_array()?;
    branches.iter().map(|branch| branch.get("const").cloned()).collect()
}

fn tag(branch: &Value) -> Option<&str> {
    let properties = branch.get("properties")?.as_object()?;
    properties.iter().find(|(_, schema)| schema.get("const").is_some()).map(|(name, _)| name.as_str())
}

fn choose(choices: &[Value], value: &DeValue<'_>) -> Result<Value, Misfit> {
    let written = match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Array(_)
        | DeValue::Datetime(_)
        | DeValue::Float(_)
        | DeValue::Integer(_)
        | DeValue::Table(_) => Value::Null,
    };
    if choices.contains(&written) {
        return Ok(written);
    }
    let text = value.as_float().map(|float| float.as_str()).or_else(|| value.as_str()).unwrap_or_default();
    let mend = match nearest(text, choices.iter().filter_map(Value::as_str)) {
        Some(near) => format!("write `\"{near}\"`"),
        None => "write one of these".to_owned(),
    };
    Err(Misfit::new(one_of(choices), mend))
}

fn one_of(choices: &[Value]) -> String {
    let written = choices.iter().map(Value::to_string).collect::<Vec<_>>();
    match written.as_slice() {
        [only] => format!("`{only}`"),
        several => format!("one of {}", listed(several.iter().map(String::as_str))),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The known word that was probably meant.
pub(super) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = written.to_lowercase().replace('-', "_");
    known
        .map(|name| (strsim::damerau_levenshtein(&folded, &name.to_lowercase().replace('-', "_")), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1) && !written.is_empty())
        .min()
        .map(|(_, name)| name)
}

fn whole_number(digits: &str, radix: u32) -> Result<Value, Misfit> {
    let number = u64::from_str_radix(digits, radix).ok().map(Value::from);
    number.ok_or_else(|| Misfit::new("a whole number that is not negative", "write such a number"))
}

fn real_number(digits: &str) -> Result<Value, Misfit> {
    let number = digits.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    number.map(Value::Number).ok_or_else(|| Misfit::new("a decimal number", "write one such as `0.5`"))
}

fn holds_tables(schema: &Value) -> bool {
    schema.get("items").is_some_and(|items| type_name(resolve(items)) == "object")
}

fn type_name(schema: &Value) -> &str {
    schema.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn described_type(schema: &Value) -> String {
    let alternatives = alternatives(schema).unwrap_or_default();
    if !alternatives.is_empty() {
        return alternatives
            .iter()
            .map(|branch| described_type(resolve(branch)))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    match type_name(schema) {
        "array" => match type_name(resolve(schema.get("items").unwrap_or(&Value::Null))) {
            "string" => "a list of strings",
            "object" => "a list of tables",
            _ => "a list",
        },
        "boolean" => "`true` or `false`",
        "integer" => "a whole number",
        "number" => "a number",
        "object" => "a table",
        "string" => "a string",
        _ => "another kind of value",
    }
    .to_owned()
}

fn json_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "array",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "date",
        DeValue::Float(_) => "number",
        DeValue::Integer(_) => "integer",
        DeValue::String(_) => "string",
        DeValue::Table(_) => "object",
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn lower_first(sentence: &str) -> String {
    let mut letters = sentence.chars();
    let second_is_capital = letters.clone().nth(1).is_some_and(char::is_uppercase);
    match letters.next() {
        Some(first) if !second_is_capital => first.to_lowercase().chain(letters).collect(),
        _ => sentence.to_owned(),
    }
}
