#![allow(clippy::unwrap_used, clippy::panic)]

use minidom::Element;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    adhoc::{AdhocCommand, Note, NoteKind, Status},
    command::{COMMANDS, Command, host, machine},
    refusal::Refusal,
    words::parse,
};

fn plain<C: Command>() -> DataForm {
    form(&Declaration::of::<C>(), |_| Vec::new(), |_| None)
}

fn named<'a>(form: &'a DataForm, var: &str) -> &'a Field {
    form.fields.iter().find(|field| field.var.as_deref() == Some(var)).unwrap()
}

fn submitted(fields: &[(&str, &[&str])]) -> DataForm {
    let fields = fields
        .iter()
        .map(|(var, values)| {
            let mut field = Field::new(var, FieldType::TextSingle);
            field.values = values.iter().map(ToString::to_string).collect();
            field
        })
        .collect();
    DataForm::new(DataFormType::Submit, ns::COMMAND, fields)
}

fn read<C: Command>(fields: &[(&str, &[&str])]) -> Result<Vec<String>, Refusal> {
    argv(&Declaration::of::<C>(), &submitted(fields))
}

#[test]
fn every_field_of_every_form_is_typed_and_labelled() {
    for declaration in COMMANDS {
        let form = form(
            declaration,
            |name| if name == "image" { vec!["one".into(), "two".into()] } else { vec![] },
            |_| None,
        );
        assert_eq!(form.form_type(), Some(ns::COMMAND));
        assert!(form.title.as_ref().is_some_and(|title| !title.is_empty()) && form.instructions.is_some());
        let element = to_element(&form);
        for field in element.children().filter(|child| child.name() == "field") {
            let labelled = field.attr("label").is_some_and(|label| !label.is_empty());
            assert!(labelled || field.attr("var") == Some("FORM_TYPE"), "{}", String::from(field));
            assert!(field.attr("type").is_some(), "{}", String::from(field));
        }
        assert_eq!(DataForm::try_from(element).unwrap(), form);
    }
}

#[test]
fn kinds_follow_from_the_declaration() {
    let create = form(
        &Declaration::of::<host::Create>(),
        |name| {
            if name == "image" || name == "driver" { vec!["linux".into(), "debian".into()] } else { vec![] }
        },
        |_| None,
    );
    let image = named(&create, "image");
    assert_eq!((image.type_.clone(), image.required, image.options.len()), (FieldType::ListSingle, true, 2));
    let driver = named(&create, "driver");
    assert_eq!((driver.options.len(), driver.options[0].value.as_str()), (3, "(not chosen)"));
    assert_eq!(driver.values, ["(not chosen)"]);
    assert_eq!(named(&create, "start").type_, FieldType::Boolean);
    assert_eq!(named(&create, "start").values, ["0"]);
    assert_eq!(named(&create, "memory").values, ["512M"]);
    assert_eq!(named(&create, "vcpus").validate.as_ref().unwrap().datatype, Some(Datatype::Integer));
    assert_eq!(named(&plain::<host::May>(), "who").type_, FieldType::JidSingle);
    assert_eq!(named(&plain::<machine::Label>(), "add").type_, FieldType::TextMulti);
    let switch = named(&plain::<machine::Autostart>(), "set").clone();
    assert_eq!((switch.type_, switch.values), (FieldType::ListSingle, vec!["on".to_owned()]));
    assert_eq!(switch.options.iter().map(|o| o.value.as_str()).collect::<Vec<_>>(), ["on", "off"]);
}

#[test]
fn what_is_not_chosen_is_not_given() {
    let submitted = submitted(&[("name", &["web1"]), ("driver", &["(not chosen)"])]);
    assert_eq!(argv(&Declaration::of::<host::Create>(), &submitted).unwrap(), ["--name=web1"]);
}

#[test]
fn the_only_choice_is_made() {
    let create = form(&Declaration::of::<host::Create>(), |_| vec!["linux".into()], |_| None);
    assert_eq!(named(&create, "image").values, ["linux"]);
    assert_eq!(named(&create, "driver").values, ["(not chosen)"]);
    assert_eq!(create.instructions.unwrap(), "Needed: name, image. The rest may be left as it is.");
}

#[test]
fn a_present_value_is_shown_even_when_it_is_no_choice_any_more() {
    let create = form(
        &Declaration::of::<host::Create>(),
        |name| if name == "image" { vec!["linux".into()] } else { vec![] },
        |name| (name == "image").then(|| "gone".into()),
    );
    assert_eq!(named(&create, "image").values, ["gone"]);
    assert_eq!(named(&create, "image").options.last().unwrap().value, "gone");
}

#[test]
fn the_machine_is_the_first_field() {
    let start = with_machine(plain::<machine::Shutdown>(), vec!["web1".into(), "web2".into()]);
    assert_eq!(start.fields[0].var.as_deref(), Some("FORM_TYPE"));
    assert_eq!(start.fields[1].var.as_deref(), Some(MACHINE));
    assert!(start.fields[1].required && start.fields[1].options.len() == 2);
    assert_eq!(machine_of(&submitted(&[("machine", &["web2"])])).unwrap(), "web2");
    assert_eq!(machine_of(&submitted(&[])).unwrap_err().field.as_deref(), Some("machine"));
}

#[test]
fn what_is_filled_in_becomes_words() {
    let words = read::<host::Create>(&[
        ("name", &["--x"]),
        ("image", &["linux"]),
        ("memory", &[""]),
        ("start", &["true"]),
        ("driver", &[""]),
        ("unheard-of", &["x"]),
        ("vcpus", &[]),
    ]);
    assert_eq!(words.unwrap(), ["--name=--x", "--image=linux", "--start"]);
    assert_eq!(read::<host::Create>(&[("start", &["0"])]).unwrap(), Vec::<String>::new());
    assert_eq!(
        read::<machine::Label>(&[("add", &["a\r\nb", " ", "c"])]).unwrap(),
        ["--add=a", "--add=b", "--add=c"]
    );
    // A blank note takes the note away; blank memory means nothing.
    assert_eq!(read::<machine::Define>(&[("note", &[""]), ("memory", &[""])]).unwrap(), ["--note="]);
}

#[test]
fn what_cannot_be_a_value_is_refused_by_name() {
    for (fields, field) in [
        (&[("start", &["perhaps"][..])][..], Some("start")),
        (&[("name", &["a", "b"])], Some("name")),
        (&[("name", &["a\nb"])], Some("name")),
        (&[("name", &["a"]), ("name", &["b"])], Some("name")),
    ] {
        assert_eq!(read::<host::Create>(fields).unwrap_err().field.as_deref(), field, "{fields:?}");
    }
    let declaration = Declaration::of::<host::Create>();
    let mut other = submitted(&[]);
    other.set_form_type("urn:something:else".into());
    assert!(argv(&declaration, &other).is_err());
    for type_ in [DataFormType::Form, DataFormType::Result_] {
        assert!(argv(&declaration, &DataForm::new(type_, ns::COMMAND, vec![])).is_err());
    }
    let without = DataForm { fields: vec![], ..submitted(&[]) };
    assert!(argv(&declaration, &without).is_ok(), "a bot need not send FORM_TYPE");
}

#[test]
fn forms_are_bounded() {
    let many: Vec<String> = (0..=VALUES_MAX).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(read::<machine::Label>(&[("add", &many)]).is_err());
    assert!(read::<machine::Label>(&[("add", &[&"a\n".repeat(VALUES_MAX + 1)])]).is_err());
    assert!(read::<machine::Define>(&[("note", &[&"a".repeat(5000)])]).is_err());
    assert!(read::<machine::Start>(&[("x", &many)]).is_err());
    let fields: Vec<(&str, &[&str])> = vec![("x", &[]); 100];
    assert!(read::<machine::Start>(&fields).is_err());
}

#[test]
fn only_a_clear_yes_confirms() {
    assert!(confirmed(&submit_confirm(true)).unwrap());
    assert!(confirmed(&submitted(&[("confirm", &["true"])])).unwrap());
    for no in [&["0"][..], &["false"], &["yes?"], &[], &["1", "0"]] {
        assert!(!confirmed(&submitted(&[("confirm", no)])).unwrap(), "{no:?}");
    }
    assert!(!confirmed(&submitted(&[])).unwrap());
    let asked = confirm("Kill", "web1 will lose its power.");
    assert_eq!(asked.instructions.as_deref(), Some("web1 will lose its power."));
    assert!(named(&asked, CONFIRM).required && named(&asked, CONFIRM).values == ["0"]);
}

#[test]
fn replies_become_labelled_fields() {
    let form = result(
        "List",
        &json!({
            "name": "web1", "jid": "web1@kvm1", "memory_mib": 512, "autostart": false, "note": null,
            "labels": ["a", "b"], "toml": "a = 1\nb = 2",
            "machines": [{"name": "web1", "up": true, "label": null}, {"name": "größer", "up": false, "label": "x"}],
            "driver": {"name": "qemu", "why": ""},
        }),
    );
    let field = |var: &str| named(&form, var);
    assert_eq!(form.type_, DataFormType::Result_);
    assert_eq!(field("memory_mib").label.as_deref(), Some("Memory (MiB)"));
    assert_eq!(field("jid").type_, FieldType::JidSingle);
    assert_eq!(
        (field("autostart").type_.clone(), field("autostart").values[0].as_str()),
        (FieldType::Boolean, "0")
    );
    assert_eq!(field("labels").values, ["a", "b"]);
    assert_eq!(field("toml").values, ["a = 1", "b = 2"]);
    assert_eq!(field("machines").values, ["web1; Up: yes", "größer; Up: no; Label: x"]);
    assert_eq!(field("driver").values, ["Name: qemu"]);
    assert!(form.fields.iter().all(|field| field.var.as_deref() != Some("note")));
    assert_eq!(named(&result("x", &json!(["a"])), "result").values, ["a"]);
}

#[test]
fn a_form_sent_back_as_it_came_is_the_command_with_its_defaults() {
    let mut form = plain::<machine::Shutdown>();
    form.type_ = DataFormType::Submit;
    let words = argv(&Declaration::of::<machine::Shutdown>(), &form).unwrap();
    assert_eq!(parse::<machine::Shutdown>(&words).unwrap(), parse::<machine::Shutdown>(&[]).unwrap());
}

proptest! {
    /// Whatever a reply holds (a guest wrote part of it), what goes out is XML, and says the same.
    #[test]
    fn every_reply_can_be_written(texts in proptest::collection::vec("(\\PC|\\p{C}){0,20}", 4)) {
        let json = json!({
            "name": texts[0],
            "lines": [texts[1], texts[2]],
            "machines": [{ "name": texts[3], "labels": [texts[0]] }],
        });
        let command = AdhocCommand {
            node: "console".into(),
            status: Some(Status::Completed),
            note: Some(Note { kind: NoteKind::Info, text: texts.concat() }),
            form: Some(result(&texts[1], &json)),
            json: Some(json),
            ..AdhocCommand::default()
        };
        let xml = String::from(&command.to_element());
        let read = AdhocCommand::parse(&xml.parse::<Element>().unwrap()).unwrap();
        prop_assert_eq!(read.json, command.json);
        prop_assert_eq!(read.form, command.form);
    }
}
