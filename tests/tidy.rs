//! The house rules that no compiler knows: sizes, names, where things belong.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Lines a file may have, its tests included.
const FILE_LINES_MAX: usize = 500;
/// Lines a function may have.
const FUNCTION_LINES_MAX: usize = 70;
/// Columns a line may have, as rustfmt has it.
const COLUMNS_MAX: usize = 110;
/// Words that say nothing, in the name of a file or a type.
const EMPTY_WORDS: &[&str] =
    &["manager", "managers", "helper", "helpers", "util", "utils", "common", "misc", "base", "info", "data"];
/// How the names of functions that say nothing begin.
const EMPTY_VERBS: &[&str] = &["process_", "do_"];
/// How an XMPP namespace begins.
const NAMESPACES: &[&str] =
    &["\"urn:xmpp:", "\"urn:ietf:params:xml:ns:", "\"http://jabber.org/", "\"jabber:"];
/// What is not finished.
const UNFINISHED: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "FIXME", "#[ignore]"];

struct Source {
    /// From the top of the repository.
    path: String,
    text: String,
}

impl Source {
    /// Whether it is part of a test and nothing else.
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("tests.rs")
    }

    /// What is shipped: the file without its tests, which come last.
    fn shipped(&self) -> &str {
        if self.is_test() { "" } else { self.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default() }
    }

    /// The lines of the shipped part in which something stands, numbered from 1.
    fn shipped_with<'a>(&'a self, needles: &'a [&str]) -> impl Iterator<Item = (usize, &'a str)> {
        let lines = self.shipped().lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.filter(|(_, line)| needles.iter().any(|needle| line.contains(needle)))
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file under a folder, but for what is built and what belongs to git.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !matches!(name, "target" | "build" | ".git") {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    files(&top(), &mut found);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found.sort();
    let relative = |path: &PathBuf| path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned();
    found
        .iter()
        .map(|path| Source { path: relative(path), text: fs::read_to_string(path).unwrap() })
        .collect()
}

/// Fails with every complaint at once.
#[track_caller]
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{} untidy:\n{}", complaints.len(), complaints.join("\n"));
}

/// The functions of a formatted file, each with the number of its first line and its length.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let name = |line: &str| {
        let words = line.trim_start();
        let (before, after) = words.split_once("fn ")?;
        let modifiers = ["pub", "async", "const", "unsafe", "extern"];
        let is_one =
            before.split_whitespace().all(|word| modifiers.iter().any(|known| word.starts_with(known)));
        let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        (is_one && !name.is_empty()).then_some(name)
    };
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[at..].iter().position(|line| **line == end).map_or(1, |last| last + 1);
        found.push((name, at + 1, length));
    }
    found
}

#[test]
fn files_functions_and_lines_are_short() {
    let mut complaints = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{}: {lines} lines", source.path));
        }
        for (name, at, length) in functions(&source.text) {
            if length > FUNCTION_LINES_MAX {
                complaints.push(format!("{}:{at}: {name} has {length} lines", source.path));
            }
        }
        for (at, line) in source.shipped().lines().enumerate() {
            let columns = line.chars().count();
            // rustfmt breaks no string, and a broken one greps badly.
            if columns > COLUMNS_MAX && !line.contains('"') {
                complaints.push(format!("{}:{}: {columns} columns", source.path, at + 1));
            }
        }
    }
    none(complaints);
}

/// The words of a name in camel case or with underscores or dashes, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c.is_uppercase() || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().unwrap().extend(c.to_lowercase());
        }
    }
    words
}

#[test]
fn names_say_what_a_thing_is() {
    let empty = |name: &str| words(name).iter().any(|word| EMPTY_WORDS.contains(&word.as_str()));
    let mut complaints = Vec::new();
    for source in sources() {
        let file = Path::new(&source.path);
        for part in file.with_extension("").components() {
            if empty(&part.as_os_str().to_string_lossy()) {
                complaints.push(format!("{}: the name says nothing", source.path));
            }
        }
        for (at, line) in source.text.lines().enumerate() {
            let mut before = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
            if let (Some("struct" | "enum" | "trait" | "type"), Some(name)) = (before.next(), before.next()) {
                let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                if empty(name) {
                    complaints.push(format!("{}:{}: {name} says nothing", source.path, at + 1));
                }
            }
        }
        for (name, at, _) in functions(&source.text) {
            if EMPTY_VERBS.iter().any(|verb| name.starts_with(verb)) {
                complaints.push(format!("{}:{at}: {name} does not say what it does", source.path));
            }
        }
    }
    none(complaints);
}

/// Outside the link, which knows the stream's own, a namespace is a named constant.
#[test]
fn namespaces_have_names() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| !source.path.starts_with("link/")) {
        for (at, line) in source.shipped_with(NAMESPACES) {
            // A line of its own is one of a constant list, of the features an entity has.
            let listed = line.trim().starts_with('"') && line.ends_with("\",");
            if !line.contains("const ") && !listed {
                complaints.push(format!("{}:{at}: {}", source.path, line.trim()));
            }
        }
    }
    none(complaints);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| source.path != "tests/tidy.rs") {
        for (at, line) in source.text.lines().enumerate() {
            if UNFINISHED.iter().any(|sign| line.contains(sign)) {
                complaints.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    none(complaints);
}

#[test]
fn only_drivers_are_unsafe() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| !source.path.starts_with("hypervisor-core/")) {
        for (at, line) in source.shipped_with(&["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code"])
        {
            complaints.push(format!("{}:{at}: {}", source.path, line.trim()));
        }
    }
    none(complaints);
}

/// Nothing that came over the wire may reach a program by accident: drivers run guests, images are read by qemu-img, networks made by ip, nft and dnsmasq, the lab runs
/// servers, a password may be printed by a program of its owner's choice, and that is all.
#[test]
fn programs_are_run_in_few_places() {
    let may = [
        "hypervisor-core/src/driver/",
        "hypervisor-core/src/image/",
        "hypervisor-core/src/network/",
        "controller/src/lab/",
        "controller/src/password.rs",
        "controller/src/vnc/viewer.rs",
    ];
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| !may.iter().any(|place| source.path.starts_with(place))) {
        for (at, line) in source.shipped_with(&["process::Command", "process::{Child, Command"]) {
            complaints.push(format!("{}:{at}: {}", source.path, line.trim()));
        }
    }
    none(complaints);
}

/// What a test waits for is an event; a time is either too short on a slow day or too long on all others.
#[test]
fn nobody_sleeps_a_thread() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| source.path != "tests/tidy.rs") {
        for (at, line) in source.text.lines().enumerate() {
            if line.contains("thread::sleep(") {
                complaints.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    none(complaints);
}

/// Nothing builds the fuzzer but who fuzzes: a dependency more would go unseen, and `--locked` refuse it then.
#[test]
fn the_fuzzer_is_locked_to_what_the_crates_stand_on() {
    let read = |path: &str| -> toml::Table { fs::read_to_string(top().join(path)).unwrap().parse().unwrap() };
    let lock = read("fuzz/Cargo.lock");
    let locked: Vec<&toml::Value> = lock["package"].as_array().unwrap().iter().collect();
    let mut missing = Vec::new();
    for folder in ["agent", "controller", "hypervisor-core", "link", "stanzas"] {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let name = &manifest["package"]["name"];
        let package = locked.iter().find(|package| package["name"] == *name).unwrap();
        let stands_on: Vec<&str> =
            package["dependencies"].as_array().unwrap().iter().map(|on| on.as_str().unwrap()).collect();
        // Of several versions the lock says which: `name version`.
        let is_locked = |wanted: &str| stands_on.iter().any(|on| on.split(' ').next() == Some(wanted));
        let wanted = manifest["dependencies"].as_table().unwrap().keys();
        missing.extend(wanted.filter(|wanted| !is_locked(wanted)).map(|wanted| {
            format!("{folder} stands on {wanted}, and fuzz/Cargo.lock does not know: cargo metadata in fuzz/ mends it")
        }));
    }
    none(missing);
}

#[test]
fn design_pages_are_numbered() {
    let mut names: Vec<String> = fs::read_dir(top().join("docs/design"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for (at, name) in names.iter().enumerate() {
        let number = format!("{:04}-", at + 1);
        assert!(name.starts_with(&number) && name.ends_with(".md"), "{name} should begin with {number}");
    }
}

/// What is wrong with what is said to hold a promise: files in backticks, with `::` and a name that is in them.
fn held(promise: &str, held_by: &str) -> Vec<String> {
    let holders: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
    if holders.is_empty() {
        return vec![format!("held by nothing: {promise}")];
    }
    let is_there = |holder: &&&str| {
        let (file, name) = holder.split_once("::").unwrap_or((holder, ""));
        let there = fs::read_to_string(top().join(file)).unwrap_or_default();
        !there.is_empty() && there.contains(name)
    };
    let missing = holders.iter().filter(|holder| !is_there(holder));
    missing.map(|holder| format!("{holder} is not there, for: {promise}")).collect()
}

/// A line of the threat model's tables is `| at most | held by |`.
#[test]
fn every_bound_of_the_threat_model_is_held_by_something_that_exists() {
    let text = fs::read_to_string(top().join("docs/threat-model.md")).unwrap();
    let mut bounds = 0;
    let mut complaints = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| At most")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match cells[..] {
            [bound, held_by] => complaints.extend(held(bound, held_by)),
            _ => complaints.push(format!("not two cells: {line}")),
        }
        bounds += 1;
    }
    assert!(bounds > 0, "no bound was found: have the tables another shape?");
    none(complaints);
}

/// A line of the specification's tables is `| promise | held by | measured |`, and what holds it is named
/// as `file::name`.
#[test]
fn every_promise_is_held_by_something_that_exists() {
    let text = fs::read_to_string(top().join("docs/specification.md")).unwrap();
    let mut promises = 0;
    let mut complaints = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [promise, held_by, _measured] = cells[..] else {
            complaints.push(format!("not three cells: {line}"));
            continue;
        };
        if promise == "promise" {
            continue;
        }
        promises += 1;
        complaints.extend(held(promise, held_by));
    }
    assert!(promises > 0, "no promise was found: has the table another shape?");
    none(complaints);
}

#[test]
fn the_length_of_a_function_is_seen() {
    let text = "impl A {\n    pub(crate) async fn one(\n        &self,\n    ) {\n    }\n}\nfn two() {}\n// fn three\n";
    let found = functions(text);
    assert_eq!(found, [("one".to_owned(), 2, 4), ("two".to_owned(), 7, 1)]);
}
