//! What people read of machines.
#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn status() -> MachineStatus {
    MachineStatus {
        name: "web1".into(),
        jid: "web1@kvm1.example.org".into(),
        host: "kvm1.example.org".into(),
        state: "running".into(),
        sentence: "Running".into(),
        wanted: "running".into(),
        generation: 7,
        driver: "qemu".into(),
        vcpus: 1,
        memory_mib: 1536,
        running_since: Some(at(1_700_000_000)),
        cpu_seconds: Some(125.9),
        labels: vec![],
        autostart: false,
        protected: true,
        note: None,
        guest: None,
        addresses: vec![],
        links_down: vec![],
    }
}

fn line(name: &str, labels: &[&str]) -> MachineLine {
    MachineLine {
        name: name.into(),
        jid: format!("{name}@kvm1"),
        host: "kvm1".into(),
        state: "running".into(),
        driver: "qemu".into(),
        vcpus: 2,
        memory_mib: 512,
        labels: labels.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_status_is_a_few_lines() {
    assert_eq!(
        status().text(),
        "*web1*, qemu on kvm1.example.org\nRunning\n\
         Up since 2023-11-14 22:13 UTC, processor time used: 2 min 5 s\n1 processor, 1.5 GiB\n\
         Starts with its host: no. Protected: yes"
    );
    let stopped = MachineStatus {
        state: "stopped".into(),
        sentence: "Off: the guest shut itself down".into(),
        running_since: None,
        labels: vec!["web".into(), "prod".into()],
        note: Some("ask ann".into()),
        ..status()
    };
    let text = stopped.text();
    for part in ["It should be running", "Labels: web prod", "Note: ask ann"] {
        assert!(text.contains(part), "{text}");
    }
    let odd = MachineStatus { cpu_seconds: Some(f64::NAN), ..status() };
    assert!(!odd.text().contains("processor time"));
}

#[test]
fn machines_stand_in_lines_that_need_no_table() {
    let list = MachineList { machines: vec![line("web1", &[]), line("db", &["prod", "x"])] };
    assert_eq!(
        list.text(),
        "2 machines, 2 running:\n- web1: running, 2 processors, 512 MiB, qemu\n\
         - db: running, 2 processors, 512 MiB, qemu (prod, x)"
    );
    assert!(MachineList { machines: vec![] }.text().contains("create NAME IMAGE"));
}

#[test]
fn an_adoption_says_what_was_done_or_could_be() {
    let said =
        |adopted: Option<&str>, machines| Adoption { adopted: adopted.map(Into::into), machines }.text();
    assert_eq!(said(None, vec![]), "Nothing runs here that could be taken over.");
    assert_eq!(
        said(None, vec![line("old", &[])]),
        "1 machine could be taken over, with: adopt NAME\n- old: running, 2 processors, 512 MiB, qemu"
    );
    assert!(said(Some("old"), vec![line("old", &[])]).starts_with("old was taken over as it was.\n- old: "));
}

#[test]
fn a_guest_cannot_leave_its_fence() {
    let output = ConsoleOutput {
        name: "web1".into(),
        lines: vec!["\u{1b}[31mlogin:".into(), "```".into(), "*web1*: type: delete".into()],
    };
    let text = output.text();
    assert_eq!(text.matches("```").count(), 2, "{text}");
    assert!(text.starts_with("```\nlogin:\n") && text.ends_with("\n```"));
    let empty = ConsoleOutput { name: "web1".into(), lines: vec!["\u{200b}".into()] };
    assert!(empty.text().contains("nothing yet"));
}

#[test]
fn a_definition_is_shown_or_its_changes_are() {
    let (name, toml) = ("web1".into(), "vcpus = 1\n".into());
    let shown = Defined { name, changed: vec![], toml, definition: serde_json::Value::Null };
    assert_eq!(shown.text(), "The definition of web1:\n```\nvcpus = 1\n```");
    let change = |what: &str, effective: &str| Redefined { what: what.into(), effective: effective.into() };
    let next = "at the next start";
    let changed = vec![change("memory: 512M → 1G", next), change("vcpus: 1 → 2", next)];
    let changed = Defined { changed, ..shown.clone() };
    assert_eq!(changed.text(), "web1: memory: 512M → 1G, vcpus: 1 → 2. In effect at the next start.");
    let changed = vec![change("vcpus: 1 → 2", next), change("note: none → \"x\"", "now")];
    let mixed = Defined { changed, ..shown };
    assert_eq!(
        mixed.text(),
        "web1 is changed:\n- vcpus: 1 → 2 (in effect at the next start)\n- note: none → \"x\" (in effect now)"
    );
}

#[test]
fn the_definitions_it_had_are_numbered() {
    let (who, what) = ("ann@example.org/phone".into(), "vcpus: 1 → 2".into());
    let definition = DefinitionLine { number: 2, at: at(0), who, what };
    let history = DefinitionHistory { name: "web1".into(), definitions: vec![definition] };
    assert_eq!(history.text(), "- 2: 1970-01-01 00:00 UTC, ann@example.org: vcpus: 1 → 2");
}

#[test]
fn the_log_and_the_trash_say_when() {
    let entry = LogLine {
        at: at(0),
        who: "ann@example.org/phone".into(),
        what: "snapshot take".into(),
        outcome: String::new(),
    };
    let shown = LogLine { outcome: "```\nlogin:\n```".into(), ..entry.clone() };
    let text = LogLines { entries: vec![entry, shown], older: false }.text();
    assert_eq!(
        text,
        "- 1970-01-01 00:00 UTC snapshot take, ann@example.org: under way\n\
         - 1970-01-01 00:00 UTC snapshot take, ann@example.org: login:"
    );
    assert!(LogLines { entries: vec![], older: false }.text().contains("Nothing"));
    assert!(LogLines { entries: vec![], older: true }.text().starts_with("What is older"));
    let removed = Removed { name: "web1".into(), purged_at: at(0) };
    assert!(removed.text().ends_with("tell its host: undelete web1"));
}
