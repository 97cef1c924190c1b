//! A case of the catalogue, and the request it stands for.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::fixture;
use crate::grants::{self, Holder};
use crate::house::House;

#[derive(Debug, Deserialize)]
pub struct Case {
    pub id: String,
    pub class: String,
    pub request: Wanted,
    pub token: String,
    pub expected: Expected,
}

#[derive(Debug, Deserialize)]
pub struct Wanted {
    method: String,
    target: String,
    headers: Map<String, Value>,
    body: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Expected {
    pub status: Vec<Value>,
    pub upstream: String,
    #[serde(default)]
    pub must_not_contain: Vec<String>,
}

/// A request ready to be sent.
#[derive(Debug)]
pub struct Asked {
    /// For people.
    pub words: String,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Option<Vec<u8>>,
    pub holder: Holder,
}

impl Asked {
    /// A GET with a token.
    pub fn get(house: &House, target: &str, holder: &Holder) -> Self {
        let token = house.token(holder).unwrap_or_default();
        Self {
            words: format!("GET {target}"),
            method: "GET".to_owned(),
            target: target.to_owned(),
            headers: vec![("Authorization".to_owned(), format!("Bearer {token}").into_bytes())],
            body: None,
            holder: holder.clone(),
        }
    }

    /// Whether HTTP/2 has words for it.
    pub fn fits_http2(&self) -> bool {
        let hop = ["connection", "transfer-encoding", "host", "content_length"];
        self.target.starts_with('/')
            && !self.target.starts_with("//")
            && !self.headers.iter().any(|(name, _)| hop.contains(&name.to_ascii_lowercase().as_str()))
    }

    /// Whether a decision about it is recorded: not for public documents.
    pub fn is_audited(&self) -> bool {
        !self.target.contains("/metadata") && !self.target.contains(".well-known")
    }
}

impl Case {
    /// The whole catalogue.
    pub fn all() -> Vec<Self> {
        let text = include_str!("cases.jsonl");
        text.lines().map(|line| serde_json::from_str(line).expect("a case")).collect()
    }

    /// The request; none when the case says it in words that nobody here reads.
    pub fn asked(&self, house: &House) -> Option<Asked> {
        let holder = grants::holder(&self.token)?;
        let token = house.token(&holder);
        let victim = house.token(&Holder {
            claims: Some(pforte::demo::authorization::Claims::new("patient/*.rs").with("patient", "p2")),
            sees_all: true,
        });
        let fill = |text: &str| {
            let text = text
                .replace("<T1>", token.as_deref().unwrap_or("eyJ"))
                .replace("gw.test", &house.authority());
            text.replace("<T-p2>", victim.as_deref().unwrap_or_default())
        };
        let mut headers = Vec::new();
        for (name, value) in &self.request.headers {
            let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            for value in &values {
                headers.push((name.clone(), fill(value.as_str()?).into_bytes()));
            }
        }
        let bearer = token.as_ref().filter(|_| !self.request.headers.contains_key("Authorization"));
        headers
            .extend(bearer.map(|token| ("Authorization".to_owned(), format!("Bearer {token}").into_bytes())));
        let mut asked = Asked {
            words: format!("{} {} {} as {}", self.id, self.request.method, self.request.target, self.token),
            method: self.request.method.clone(),
            target: fill(&self.request.target),
            headers,
            body: self.request.body.as_deref().map(|body| fill(body).into_bytes()),
            holder,
        };
        // What the backend says stands behind the target.
        if crate::answers::of(&self.id).is_some()
            && let Some((target, _)) = asked.target.split_once(" (")
        {
            asked.target = target.to_owned();
        }
        self.specially(&mut asked);
        let open = |text: &str| {
            text.contains('<')
                && !text.contains("xmlns")
                && !text.contains("<!DOCTYPE")
                && !text.contains("<script")
        };
        let words = asked.target.contains(" (") || open(&asked.target);
        let body = asked.body.as_ref().is_some_and(|body| open(&String::from_utf8_lossy(body)));
        (!words && !body).then_some(asked)
    }

    /// What a case says in words.
    fn specially(&self, asked: &mut Asked) {
        let own = fixture::own_observation().to_string();
        let page = "11111111-2222-3333-4444-555555555555";
        let body: Option<Vec<u8>> = match self.id.as_str() {
            "HDR-046" => Some(b"\x97\x81\xa3\x89\x85\x95\xa3~\x97\xf2".to_vec()),
            "HDR-052" => Some(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec()),
            "HDR-056" => Some(own.replace("Patient/p1", "Patient/p2").into_bytes()),
            "BNDL-030" => {
                let entry = json!({"request": {"method": "GET", "url": "Patient/p1"}});
                Some(json!({"resourceType": "Bundle", "type": "batch", "entry": vec![entry; 10_001]}).to_string().into_bytes())
            }
            "PARS-007" => Some([b"\xEF\xBB\xBF", own.as_bytes()].concat()),
            "PARS-008" => Some(own.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            "PARS-009" => Some(format!("{own} {own}").into_bytes()),
            "PARS-010" => Some(own.replacen('}', ",}", 1).into_bytes()),
            "PARS-011" => Some(format!("// comment\n{own}").into_bytes()),
            "PARS-014" => {
                let digits = "1".repeat(1_000_000);
                Some(format!("{{\"resourceType\":\"Observation\",\"valueQuantity\":{{\"value\":{digits}}}}}").into_bytes())
            }
            "PARS-017" => Some("{\"a\":".repeat(100_000).into_bytes()),
            "PARS-018" => {
                let mut wide = fixture::own_observation();
                wide["extension"] = vec![json!({"url": "urn:x", "valueBoolean": true}); 100_000].into();
                Some(wide.to_string().into_bytes())
            }
            "PARS-021" => Some(b"<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><Observation xmlns=\"http://hl7.org/fhir\">&e;</Observation>".to_vec()),
            "CTRL-020" => Some(own.into_bytes()),
            "CTRL-022" => {
                let entry = json!({"request": {"method": "GET", "url": "Patient/p1"}});
                Some(json!({"resourceType": "Bundle", "type": "batch", "entry": vec![entry; 20]}).to_string().into_bytes())
            }
            _ => None,
        };
        if body.is_some() {
            asked.body = body;
        }
        match self.id.as_str() {
            "HDR-058" => {
                asked.headers = swapped(asked, "X-Big", &[("X-Big".to_owned(), vec![b'x'; 20 * 1024])])
            }
            "HDR-059" => {
                let many: Vec<_> =
                    (0..300).map(|number| (format!("X-Many-{number}"), b"x".to_vec())).collect();
                asked.headers = swapped(asked, "<300 distinct headers>", &many);
            }
            "PAR-037" => {
                let codes: Vec<String> = (0..2000).map(|number| format!("code=c{number}")).collect();
                asked.target = format!("/fhir/Observation?{}", codes.join("&"));
            }
            _ => {}
        }
        asked.target = asked.target.replace("<uuid>", page);
        if let Some(body) = &mut asked.body {
            let text = String::from_utf8_lossy(body).replace("<uuid>", page);
            if text.contains(page) {
                *body = text.into_bytes();
            }
        }
    }
}

/// The header fields with these in the place of one.
fn swapped(asked: &Asked, name: &str, new: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let rest = asked.headers.iter().filter(|(known, _)| known != name);
    rest.chain(new).cloned().collect()
}
