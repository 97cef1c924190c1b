//! Writes resources as a backend might: JSON or XML, plain or twisted, so that every byte of each is known.

use pforte::fhir::Format;
use serde_json::Value;

use crate::chance::Chance;
use crate::mended;

/// How a resource's text is varied without changing what it says, or only for some readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twist {
    /// A member or element that may occur once is there twice, with other content.
    Doubled,
    /// Characters are written as escapes or character references.
    Escaped,
    /// None.
    Plain,
    /// White space, comments, other quotes.
    Spaced,
    /// JSON: every slash escaped; XML: a namespace prefix.
    Strange,
}

/// A format, and a way of writing it.
#[derive(Debug, Clone, Copy)]
pub struct Pen {
    pub format: Format,
    pub twist: Twist,
}

impl Pen {
    /// Writes as most would.
    pub fn plain(format: Format) -> Self {
        Self { format, twist: Twist::Plain }
    }

    /// Writes as somebody would.
    pub fn any(format: Format, chance: &mut Chance) -> Self {
        let twists = [
            (80, Twist::Plain),
            (6, Twist::Spaced),
            (6, Twist::Escaped),
            (3, Twist::Strange),
            (5, Twist::Doubled),
        ];
        Self { format, twist: chance.weighted(&twists) }
    }

    /// A resource; `Doubled` is written by [`Pen::doubled`].
    pub fn resource(self, value: &Value) -> String {
        match self.format {
            Format::Json => json(value, self.twist),
            Format::Xml => xml(value, self.twist),
        }
    }

    /// A resource in which one member is there twice: as in the value, and as another has it.
    pub fn doubled(self, value: &Value, member: &str, other: &Value) -> String {
        let plain = Self::plain(self.format).resource(value);
        match self.format {
            Format::Json => {
                let first = format!("\"{member}\":{}", value[member]);
                plain.replacen(&first, &format!("\"{member}\":{other},{first}"), 1)
            }
            Format::Xml => {
                let first = format!("<{member}>");
                let mut more = String::new();
                element(&mut more, member, other, "");
                plain.replacen(&first, &format!("{more}{first}"), 1)
            }
        }
    }

    /// A bundle; `head` is what stands before its entries.
    pub fn bundle(self, kind: &str, head: &str, entries: &[String]) -> String {
        let list = entries.join(if self.format == Format::Json { "," } else { "" });
        match self.format {
            Format::Json if entries.is_empty() => {
                format!(r#"{{"resourceType":"Bundle","type":"{kind}"{head}}}"#)
            }
            Format::Json => format!(r#"{{"resourceType":"Bundle","type":"{kind}"{head},"entry":[{list}]}}"#),
            Format::Xml => {
                format!(r#"<Bundle xmlns="http://hl7.org/fhir"><type value="{kind}"/>{head}{list}</Bundle>"#)
            }
        }
    }

    /// An entry of these parts, each a member as [`Pen::member`] and its neighbours write it.
    pub fn entry(self, parts: &[String]) -> String {
        let parts = parts.join(if self.format == Format::Json { "," } else { "" });
        match self.format {
            Format::Json => format!("{{{parts}}}"),
            Format::Xml => format!("<entry>{parts}</entry>"),
        }
    }

    /// A member that holds a resource.
    pub fn holding(self, name: &str, resource: &str) -> String {
        match self.format {
            Format::Json => format!(r#""{name}":{resource}"#),
            Format::Xml => format!("<{name}>{resource}</{name}>"),
        }
    }

    /// A plain member, whose value has neither quotes nor angle brackets.
    pub fn member(self, name: &str, value: &str) -> String {
        match self.format {
            Format::Json => format!(r#""{name}":"{value}""#),
            Format::Xml => format!(r#"<{name} value="{}"/>"#, value.replace('&', "&amp;")),
        }
    }

    /// A member of members.
    pub fn group(self, name: &str, parts: &[String]) -> String {
        match self.format {
            Format::Json => format!(r#""{name}":{{{}}}"#, parts.join(",")),
            Format::Xml => format!("<{name}>{}</{name}>", parts.concat()),
        }
    }

    /// What stands before the entries: a total and links, as relation and URL.
    pub fn head(self, total: Option<usize>, links: &[(&str, String)]) -> String {
        let total = total.map(|total| match self.format {
            Format::Json => format!(r#","total":{total}"#),
            Format::Xml => format!(r#"<total value="{total}"/>"#),
        });
        let list: Vec<_> = links
            .iter()
            .map(|(relation, url)| [self.member("relation", relation), self.member("url", url)])
            .map(|parts| match self.format {
                Format::Json => format!("{{{}}}", parts.join(",")),
                Format::Xml => format!("<link>{}</link>", parts.concat()),
            })
            .collect();
        let links = match self.format {
            _ if list.is_empty() => String::new(),
            Format::Json => format!(r#","link":[{}]"#, list.join(",")),
            Format::Xml => list.concat(),
        };
        format!("{}{links}", total.unwrap_or_default())
    }

    /// Parameters with resources in them, every second one in a part of a part.
    pub fn parameters(self, resources: &[String]) -> String {
        let parameters: Vec<_> = resources
            .iter()
            .enumerate()
            .map(|(at, resource)| {
                let inner = vec![self.member("name", "p"), self.holding("resource", resource)];
                match (at % 2, self.format) {
                    (0, Format::Json) => format!("{{{}}}", inner.join(",")),
                    (_, Format::Json) => format!(r#"{{"name":"q","part":[{{{}}}]}}"#, inner.join(",")),
                    (0, Format::Xml) => self.group("parameter", &inner),
                    (_, Format::Xml) => {
                        self.group("parameter", &[self.member("name", "q"), self.group("part", &inner)])
                    }
                }
            })
            .collect();
        match self.format {
            Format::Json => {
                format!(r#"{{"resourceType":"Parameters","id":"o1","parameter":[{}]}}"#, parameters.join(","))
            }
            Format::Xml => {
                let list = parameters.concat();
                format!(r#"<Parameters xmlns="http://hl7.org/fhir"><id value="o1"/>{list}</Parameters>"#)
            }
        }
    }
}

fn json(value: &Value, twist: Twist) -> String {
    match twist {
        Twist::Doubled | Twist::Plain => value.to_string(),
        Twist::Escaped => {
            let text = value.to_string().replace("\"reference\"", "\"re\\u0066erence\"");
            text.replace("\"subject\"", "\"sub\\u006aect\"").replace("\"Patient/p", "\"\\u0050atient/p")
        }
        Twist::Spaced => serde_json::to_string_pretty(value).expect("written"),
        Twist::Strange => value.to_string().replace('/', "\\/"),
    }
}

fn xml(value: &Value, twist: Twist) -> String {
    let prefix = if twist == Twist::Strange && mended::PREFIXED_NAMES { "f:" } else { "" };
    let mut out = String::new();
    resource(&mut out, value, prefix);
    match twist {
        Twist::Doubled | Twist::Plain | Twist::Strange => out,
        Twist::Escaped => out.replace("value=\"Patient/p", "value=\"&#80;atient&#x2F;p"),
        Twist::Spaced => {
            out.replace("/>", " />\n<!-- a < b -->").replace("value=\"Patient/p1\"", "value='Patient/p1'")
        }
    }
}

/// A resource as an element; JSON members become child elements, primitives `value` attributes.
fn resource(out: &mut String, value: &Value, prefix: &str) {
    let kind = value["resourceType"].as_str().expect("a type");
    let namespace = if prefix.is_empty() { "xmlns" } else { "xmlns:f" };
    out.push_str(&format!("<{prefix}{kind} {namespace}=\"http://hl7.org/fhir\">"));
    for (name, value) in value.as_object().expect("an object") {
        if name != "resourceType" {
            element(out, name, value, prefix);
        }
    }
    out.push_str(&format!("</{prefix}{kind}>"));
}

fn element(out: &mut String, name: &str, value: &Value, prefix: &str) {
    if let Some(items) = value.as_array() {
        items.iter().for_each(|item| element(out, name, item, prefix));
    } else if let Some(members) = value.as_object() {
        let url = members.get("url").and_then(Value::as_str).filter(|_| name == "extension");
        let url = url.map(|url| format!(" url=\"{url}\"")).unwrap_or_default();
        out.push_str(&format!("<{prefix}{name}{url}>"));
        if members.contains_key("resourceType") {
            resource(out, value, prefix);
        } else {
            for (inner, value) in members.iter().filter(|(inner, _)| url.is_empty() || *inner != "url") {
                element(out, inner, value, prefix);
            }
        }
        out.push_str(&format!("</{prefix}{name}>"));
    } else if name == "div" {
        out.push_str(value.as_str().expect("text"));
    } else {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        out.push_str(&format!("<{prefix}{name} value=\"{text}\"/>"));
    }
}
