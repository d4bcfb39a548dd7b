//! What is read of the words after a verb.
#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use crate::{
    command::Object,
    words::{joined, split},
};

fn read(object: Object, line: &str) -> Result<Vec<String>, Refusal> {
    let words = joined(split(line).unwrap());
    let declaration = COMMANDS
        .iter()
        .find(|declaration| declaration.object == object && declaration.verb == words[0])
        .unwrap();
    arguments(declaration, &words[1..])
}

#[track_caller]
fn host(line: &str, argv: &[&str]) {
    assert_eq!(read(Object::Host, line).unwrap(), argv, "{line}");
}

#[track_caller]
fn machine(line: &str, argv: &[&str]) {
    assert_eq!(read(Object::Machine, line).unwrap(), argv, "{line}");
}

#[track_caller]
fn refused(line: &str, field: Option<&str>, says: &str) {
    let object =
        if line.starts_with("create") || line.starts_with("may") { Object::Host } else { Object::Machine };
    let refusal = read(object, line).unwrap_err();
    assert_eq!(refusal.field.as_deref(), field, "{line}: {refusal:?}");
    assert!(refusal.sentence().contains(says), "{line}: {}", refusal.sentence());
}

#[test]
fn bare_words_go_by_position() {
    host("create web1 linux", &["--name=web1", "--image=linux"]);
    host("may kill", &["--what=kill"]);
    machine("autostart off", &["--set=off"]);
}

#[test]
fn named_arguments_may_be_written_in_three_ways() {
    let argv = ["--name=web1", "--memory=1G", "--image=linux", "--start"];
    host("create web1 memory=1G image=linux start=yes", &argv);
    host("create web1 --memory 1G --image linux --start", &argv);
    host("create web1 --Memory=1G IMAGE=linux --start=true", &argv);
    host("create web1 linux start=no", &["--name=web1", "--image=linux"]);
}

#[test]
fn a_secret_is_not_given_in_words_and_not_repeated() {
    machine("password root", &["--user=root"]);
    for line in [
        "password root hunter2",
        "password root password=hunter2",
        "password root --password hunter2",
        "password root -hunter2",
        "password root pass=hunter2",
    ] {
        let refusal = read(Object::Machine, line).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("password"), "{line}");
        assert!(!refusal.sentence().contains("hunter2"), "{line}: {refusal:?}");
    }
}

#[test]
fn values_that_begin_with_dashes_stay_values() {
    machine("define note=--start", &["--note=--start"]);
    host("create --name --image --image --start", &["--name=--image", "--image=--start"]);
}

#[test]
fn many_values_take_the_rest() {
    machine("label web prod", &["--add=web", "--add=prod"]);
    machine("label web remove=old remove=older", &["--add=web", "--remove=old", "--remove=older"]);
    machine("label -- -x a=b", &["--add=-x", "--add=a=b"]);
}

#[test]
fn whatever_changes_something_takes_a_reason_and_what_looks_does_not() {
    machine("kill because the disk is full", &["--because=the disk is full"]);
    machine("kill Because=full", &["--because=full"]);
    machine("label web because it serves, to all", &["--add=web", "--because=it serves, to all"]);
    machine("migrate to otto because kvm1 goes", &["--to=otto", "--because=kvm1 goes"]);
    machine("shutdown wait=5m because of the heat", &["--wait=5m", "--because=of the heat"]);
    machine("send echo because", &["--line=echo because"]);
    machine("kill --because x --because=y", &["--because=x", "--because=y"]);
    refused("kill because", Some("because"), "because TEXT");
    refused("status because I look", None, "no use for");
}

#[test]
fn arguments_may_be_said_as_a_sentence() {
    host(
        "grant power, snapshot to otto@x.org on web1, web2 until friday 18:00 because he is on call",
        &[
            "--what=power, snapshot",
            "--to=otto@x.org",
            "--on=web1, web2",
            "--until=friday 18:00",
            "--because=he is on call",
        ],
    );
    host(
        "grant start To=otto@x.org On web1 --until 3d",
        &["--what=start", "--to=otto@x.org", "--on=web1", "--until=3d"],
    );
    host("grant list on web1 ann@x.org", &["--on=web1 ann@x.org"]);
    host("grant list ann@x.org on web1", &["--to=ann@x.org", "--on=web1"]);
    host("may ann@x.org kill web1", &["--who=ann@x.org", "--what=kill", "--machine=web1"]);
    host("may kill web1 ann@x.org", &["--what=kill", "--machine=web1", "--who=ann@x.org"]);
    machine("migrate to kvm2 storage=copy", &["--to=kvm2", "--storage=copy"]);
    let refusal = read(Object::Host, "grant power to on web1").unwrap_err();
    assert_eq!(
        (refusal.field.as_deref(), refusal.sentence()),
        (Some("to"), "\"to\" what? Write to JID.".into())
    );
}

#[test]
fn send_takes_the_rest_of_the_line() {
    machine("send uname -a", &["--line=uname -a"]);
    machine("send lines=50 ls --lines 5 a=b", &["--lines=50", "--line=ls --lines 5 a=b"]);
    machine("send --lines 50 FOO=bar env", &["--lines=50", "--line=FOO=bar env"]);
    machine("send -- --lines", &["--line=--lines"]);
    machine("send -- -n 5", &["--line=-n 5"]);
    machine("send line=", &["--line="]);
}

#[test]
fn an_empty_value_can_be_given_where_it_means_something() {
    machine("define note=", &["--note="]);
    machine("define --note --memory 1G", &["--note=", "--memory=1G"]);
    machine("define --note memory=1G", &["--note=", "--memory=1G"]);
}

#[test]
fn what_is_unknown_is_refused_with_the_nearest() {
    refused("create web1 linux memroy=1G", Some("memroy"), "Did you mean --memory?");
    refused("create web1 linux --vcpu 2", Some("vcpu"), "Did you mean --vcpus?");
    refused("create web1 linux start", Some("start"), "Did you mean --start?");
    refused("create web1 linux extra", None, "no use for \"extra\"");
    refused("start now", None, "help start");
    refused("label env=prod", Some("env"), "add=\"env=prod\"");
    refused("create web1 linux -m 1G", None, "long names only");
    refused("send -n 5", None, "write send -- -n");
    refused("send linse=50", Some("linse"), "Did you mean --line?");
    refused("console linse=50", Some("linse"), "Did you mean --lines?");
    for old in ["console uptime", "console line=uptime", "console send=uptime", "console --send uptime"] {
        let said = read(Object::Machine, old).unwrap_err().sentence();
        assert!(said.contains("Did you mean send "), "{old}: {said}");
    }
    refused("create web1 --image", Some("image"), "image=IMAGE");
    refused("create web1 linux start=maybe", Some("start"), "yes or no");
}

#[test]
fn values_are_one_line_and_bounded() {
    refused("define note='a\nb'", Some("note"), "one line");
    let note = Declaration::of::<crate::command::machine::Define>();
    let long = format!("note={}", "a".repeat(VALUE_BYTES_MAX + 1));
    assert_eq!(arguments(&note, &[long]).unwrap_err().field.as_deref(), Some("note"));
}

#[test]
fn a_clone_can_be_called_what_it_is_anyway() {
    use crate::{command::machine::Clone, words::parse};
    let is_full = |line: &str| parse::<Clone>(&read(Object::Machine, line).unwrap()).map(|clone| clone.full);
    assert!(!is_full("clone web2 --linked").unwrap() && !is_full("clone web2").unwrap());
    assert!(is_full("clone web2 --full").unwrap());
    is_full("clone web2 --full --linked").unwrap_err();
    let declaration = COMMANDS.iter().find(|it| it.permission() == "machine.clone").unwrap();
    assert!(declaration.shown_arguments().all(|argument| argument.name != "linked"), "no form asks for it");
}
