//! Who may import whom, and what a pure room must not mention: the table of docs/ARCHITECTURE.md as data.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the sources are read")]
#![expect(clippy::string_slice, reason = "every index comes from a search of the same text")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a room may import.
enum Imports {
    /// Every room above it in the table.
    Above,
    /// These.
    Only(&'static [&'static str]),
}

/// Whether a room may wait, log, lock, or read a clock, file or environment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Pure,
    Shell,
}

use Imports::{Above, Only};
use Rank::{Pure, Shell};

/// The table, in its order.
const TABLE: [(&str, Rank, Imports); 23] = [
    ("fhir", Pure, Only(&[])),
    ("matching", Pure, Only(&["fhir"])),
    ("scope", Pure, Only(&["fhir"])),
    ("token", Pure, Only(&["fhir", "scope"])),
    ("policy", Pure, Only(&["fhir", "matching", "scope", "token"])),
    ("rewrite", Pure, Only(&["fhir", "policy"])),
    ("release", Pure, Only(&["fhir", "matching", "policy"])),
    ("audit", Pure, Only(&["fhir"])),
    ("config", Shell, Only(&["fhir", "scope", "token", "policy"])),
    ("telemetry", Shell, Only(&["config"])),
    ("oauth", Shell, Only(&["token", "config", "telemetry"])),
    ("shared", Shell, Only(&["config"])),
    ("issuer", Shell, Only(&["token", "config", "telemetry", "oauth", "shared"])),
    ("upstream", Shell, Only(&["rewrite", "config"])),
    ("ledger", Shell, Only(&["audit", "config", "telemetry"])),
    ("sink", Shell, Only(&["fhir", "config", "oauth", "ledger"])),
    ("discovery", Shell, Only(&["fhir", "config"])),
    ("reject", Shell, Only(&["fhir", "token", "policy", "release"])),
    ("listener", Shell, Only(&["config", "telemetry"])),
    ("gateway", Shell, Above),
    ("admin", Shell, Only(&["telemetry"])),
    ("demo", Shell, Only(&[])),
    ("cli", Shell, Above),
];

/// Words of effects.
const EFFECTS: [&str; 12] = [
    "async",
    ".await",
    "tokio::",
    "hyper::",
    "reqwest::",
    "tracing::",
    "std::fs",
    "std::net",
    "std::env",
    "::now()",
    "Mutex",
    "RwLock",
];

/// The rooms a room may import.
fn allowed(room: &str) -> Option<(Rank, Vec<&'static str>)> {
    let at = TABLE.iter().position(|(name, _, _)| *name == room)?;
    let (_, rank, imports) = &TABLE[at];
    let rooms = match imports {
        Only(rooms) => rooms.to_vec(),
        Above => TABLE[..at].iter().map(|(name, _, _)| *name).collect(),
    };
    Some((*rank, rooms))
}

/// What one source file does that its room may not.
fn violations(room: &str, depth: usize, source: &str) -> Vec<String> {
    let Some((rank, rooms)) = allowed(room) else { return vec![format!("the room `{room}` has no row")] };
    let code = code_of(source).0;
    let mut found = Vec::new();
    for import in imports(&code, depth) {
        match import.as_str() {
            "{" => found.push("a `use crate::{…}` group hides what is imported".to_owned()),
            name if name == room || rooms.contains(&name) => {}
            name if allowed(name).is_some() => found.push(format!("`{room}` imports `{name}`")),
            // A macro or an item of the crate's root.
            _ => {}
        }
    }
    if rank == Pure {
        let effects = EFFECTS.iter().filter(|word| mentions(&code, word));
        found.extend(effects.map(|word| format!("the pure room `{room}` mentions `{word}`")));
    }
    found
}

/// The names that follow `crate::`, and those that follow as many `super::` as lead to the crate's root.
fn imports(code: &str, depth: usize) -> BTreeSet<String> {
    let to_root = "super::".repeat(depth);
    let mut names = BTreeSet::new();
    for prefix in ["crate::", to_root.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || "_:$".contains(c)) {
                continue;
            }
            let rest = code[at + prefix.len()..].trim_start();
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let group = prefix == "crate::" && rest.starts_with('{');
            names.insert(if group { "{".to_owned() } else { name });
        }
    }
    names
}

/// Whether a word stands in the code by itself.
fn mentions(code: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(in_name) && word.starts_with(in_name);
        let after = code[at + word.len()..].chars().next().is_some_and(in_name) && word.ends_with(in_name);
        !before && !after
    })
}

/// Source without comments, texts and test items, and the names of test modules that are files of their own.
fn code_of(source: &str) -> (String, Vec<String>) {
    let mut code = without_texts(source);
    let mut modules = Vec::new();
    while let Some(at) = code.find("#[cfg(test)]") {
        let rest = &code[at..];
        let end = rest.find([';', '{']).map_or(rest.len(), |mark| match rest.as_bytes()[mark] {
            b';' => mark + 1,
            _ => mark + block(&rest[mark..]),
        });
        let item = &rest[..end];
        if let Some(name) = item.split("mod ").nth(1).and_then(|name| name.strip_suffix(';')) {
            modules.push(name.trim().to_owned());
        }
        code.replace_range(at..at + end, "");
    }
    (code, modules)
}

/// The length of a block in braces.
fn block(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// Source with comments, texts and character literals taken out.
fn without_texts(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let in_name = code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let length = skipped(rest, in_name);
        if length == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[length.min(rest.len())..];
        }
    }
    code
}

/// How many bytes at the start are comment or text.
fn skipped(rest: &str, in_name: bool) -> usize {
    let until =
        |from: usize, end: &str| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until(2, "*/");
    }
    let marks = rest.trim_start_matches('b');
    let letter = rest.len() - marks.len();
    if let Some(hashes) = marks.strip_prefix('r').filter(|_| !in_name) {
        let count = hashes.len() - hashes.trim_start_matches('#').len();
        if hashes[count..].starts_with('"') {
            let start = letter + 1 + count + 1;
            return until(start, &format!("\"{}", "#".repeat(count)));
        }
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    // A lifetime has no closing quote.
    let character = rest.strip_prefix('\'').is_some_and(|text| {
        let mut chars = text.chars();
        match chars.next() {
            Some('\\') => true,
            Some(_) => chars.next() == Some('\''),
            None => false,
        }
    });
    if character { quoted(rest, '\'') } else { 0 }
}

/// The length of a literal in quotes, escapes heeded.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A source file: its room, and how many modules above it lie within the crate.
struct File {
    path: PathBuf,
    room: String,
    depth: usize,
}

/// Every file of every room, test modules aside.
fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    let tests: Vec<PathBuf> = paths.iter().flat_map(|path| test_modules(path)).collect();
    paths.retain(|path| {
        !tests.iter().any(|test| path.starts_with(test) || *path == test.with_extension("rs"))
    });
    let file = |path: PathBuf| {
        let below = path.strip_prefix(&root).expect("below src").with_extension("");
        let parts: Vec<_> = below.iter().map(|part| part.to_str().expect("a name").to_owned()).collect();
        let room = parts.first().expect("a name").clone();
        (parts.len() > 1 || !["lib", "main"].contains(&room.as_str())).then_some(File {
            room,
            depth: parts.len(),
            path,
        })
    };
    paths.into_iter().filter_map(file).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Where the test modules that a file declares live.
fn test_modules(path: &Path) -> Vec<PathBuf> {
    let source = fs::read_to_string(path).expect("readable");
    code_of(&source).1.iter().map(|module| path.with_extension("").join(module)).collect()
}

/// The import table, the effect words, a row for each room.
#[test]
fn no_file_goes_past_its_row() {
    let mut faults = Vec::new();
    for file in files() {
        let source = fs::read_to_string(&file.path).expect("readable");
        let found = violations(&file.room, file.depth, &source);
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", file.path.display())));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A row that allows what nobody uses, not even a test, invites it.
#[test]
fn every_row_is_what_is_imported() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files() {
        let code = without_texts(&fs::read_to_string(&file.path).expect("readable"));
        used.entry(file.room).or_default().extend(imports(&code, file.depth));
    }
    for (room, _, imports) in &TABLE {
        let used = used.get(*room).unwrap_or_else(|| panic!("the room `{room}` has no file"));
        if let Only(rooms) = imports {
            for name in *rooms {
                assert!(
                    used.contains(*name),
                    "`{room}` does not import `{name}`, so its row should not name it"
                );
            }
        }
    }
}

/// A row names only rooms above it, a pure row only pure rooms, and the rooms are those of `lib.rs`.
#[test]
fn the_table_has_a_direction() {
    for (at, (room, rank, _)) in TABLE.iter().enumerate() {
        let (_, rooms) = allowed(room).expect("a row");
        for name in rooms {
            let above = TABLE[..at].iter().find(|(other, _, _)| *other == name);
            let (_, other, _) =
                above.unwrap_or_else(|| panic!("`{room}` names `{name}`, which is not above it"));
            assert!(*rank == Shell || *other == Pure, "the pure room `{room}` names the shell room `{name}`");
        }
    }
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("readable");
    let declared: BTreeSet<_> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(declared, TABLE.iter().map(|(room, _, _)| *room).collect::<BTreeSet<_>>());
}

/// The page says what this file enforces.
#[test]
fn the_page_says_the_same() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    let page = fs::read_to_string(path).expect("docs/ARCHITECTURE.md");
    let shown: Vec<[String; 3]> = page
        .lines()
        .skip_while(|line| *line != "## Who may import whom")
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| ") && !line.starts_with("| room ") && !line.starts_with("| -"))
        .map(|line| {
            let cells: Vec<_> =
                line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
            let [room, rank, imports] = cells.as_slice() else { panic!("three cells: {line}") };
            // What stands in brackets is a remark.
            let imports = imports.split('(').next().unwrap_or("").trim().to_owned();
            [room.clone(), rank.clone(), imports]
        })
        .collect();
    let enforced: Vec<[String; 3]> = TABLE
        .iter()
        .map(|(room, rank, imports)| {
            let rank = if *rank == Pure { "pure" } else { "shell" };
            let imports = match imports {
                Above => "every room above".to_owned(),
                Only([]) => "-".to_owned(),
                Only(rooms) => rooms.join(", "),
            };
            [(*room).to_owned(), rank.to_owned(), imports]
        })
        .collect();
    assert_eq!(shown, enforced);
}

/// The checker finds what is planted, and only that.
#[test]
fn planted_violations_are_found() {
    let table = [
        ("policy", 2, "use crate::gateway::Route;", 1),
        ("policy", 2, "fn f() { crate::upstream::send(); }", 1),
        ("policy", 2, "use crate::{gateway, fhir};", 1),
        ("policy", 1, "use super::gateway::Route;", 1),
        ("policy", 2, "use super::super::listener;", 1),
        ("policy", 2, "use super::gateway;", 0),
        ("policy", 2, "use crate::fhir::Letter; use crate::policy::Need;", 0),
        ("fhir", 2, "use crate::policy::Need;", 1),
        ("listener", 2, "use crate::gateway::Gateway;", 1),
        ("gateway", 2, "use crate::demo::App;", 1),
        ("gateway", 2, "use crate::listener::Service;", 0),
        ("reject", 1, "use crate::upstream::UpstreamError;", 1),
        ("unheard", 1, "", 1),
        ("scope", 1, "async fn f() {}", 1),
        ("scope", 1, "let x = y.await; let m: Mutex<u8>;", 2),
        ("scope", 1, "let now = jiff::Timestamp::now();", 1),
        ("scope", 1, "let x = std::env::var(\"x\"); std::fs::read(p)", 2),
        ("scope", 1, "// async .await Mutex\n/* tokio:: */ let asynchronous = \"std::fs\";", 0),
        (
            "scope",
            1,
            "let x = r#\"use crate::gateway; \" RwLock\"#; let c = '\"'; let s = \"\\\" async\";",
            0,
        ),
        ("scope", 1, "fn f<'a>(x: &'a str) { let c = '\\''; tokio::spawn(x) }", 1),
        ("scope", 1, "#[cfg(test)]\nmod tests { use crate::gateway::X; fn f() { async {} } }", 0),
        ("scope", 1, "#[cfg(test)]\nmod tests { fn f() { \"}\" } }\nuse crate::gateway::X;", 1),
        ("config", 1, "async fn f() { tokio::spawn(g()).await }", 0),
    ];
    for (room, depth, source, count) in table {
        let found = violations(room, depth, source);
        assert_eq!(found.len(), count, "{room}: {source}\n{found:?}");
    }
    assert_eq!(code_of("#[cfg(test)]\nmod tests;\nfn f() {}").1, ["tests"]);
}
