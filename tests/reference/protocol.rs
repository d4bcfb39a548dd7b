//! docs/protocol.md: an example of everything that crosses the wire.

use minidom::Element;
use skerry_stanzas::{
    address,
    adhoc::{Action, Actions, AdhocCommand, Condition, Note, NoteKind, Status},
    command::{COMMANDS, Declaration, Object},
    form, ns, payload,
    refusal::{Reason, Refusal},
    reply::Reply,
    signature::{Given, On, SigningKey, Text, ToSign},
};
use xmpp_parsers::jid::BareJid;

use super::{examples, xml::block};

const INTRODUCTION: &str = "\
# Protocol

This page is written by a test from the code that writes and reads the stanzas (`stanzas/src/`): see
`tests/reference.rs`. Everything here is XMPP as it is: a stock client needs none of it explained, and a
program needs an XMPP library and this page. What is ours is in namespaces that begin with `urn:skerry:` and
end in `:0` until it is stable.
";

const ADDRESSES: &str = "
## Addresses

On a component a machine is at its name, escaped (XEP-0106), at the domain of its host:
";

const STATE: &str = "
## State

In the presence of a machine, and the item of its node `urn:skerry:state:0`. Of two the one with the larger
`generation` is newer; `id` stays for life, whatever the name:

";

const EVENTS: &str = "
## Events

Items of the node `urn:skerry:events:0` of a host. The item's id is the sequence number, which has no gaps;
each carries the whole new state:

";

const METRICS: &str = "
## Metrics

The one item, `current`, of the node `urn:skerry:metrics:0` of a host:

";

const MESSAGES: &str = "
## Messages

A question offers its answers (XEP-0439); each is sent as an ordinary message:

";

const PROGRESS: &str = "
Progress corrects the first message (XEP-0308), and no server keeps what is on its way (XEP-0334):

";

const COMMANDS_BEGIN: &str = "
## Commands

XEP-0050. At an object's own address the nodes are the verbs of [commands](commands.md). At a host there are
besides, for its machines, `machine/start` (with a field `machine` in the form) and `machine/web1/start`. Each
`<command/>` rides in an `iq` of type set, or in its result.

Begin:

";

const COMMANDS_FILLED_IN: &str = "
Filled in. A program that knows what it wants sends this form with its first `execute`, without a session, and
no form stage follows; it may leave out `FORM_TYPE` and every field with a default:

";

const JSON_ONLY: &str = "
The form says what the JSON says, for clients with a person before them. A program that reads the JSON asks for
no form with one element in its request, and spares the server most of the elements of an answer:

";

const DEFINING: &str = "
What a machine is made of goes typed as well, for programs that would rather not write TOML: with the first request
of `define`, instead of a form or beside it, and in its answer where a form is. The names are those of the TOML, and
in the JSON of the answer the same stands under `definition`. A text with what XML cannot hold is `as='json'`, quoted
and escaped as JSON has it. What is given so is the whole of it, and becomes the argument `toml`: in the journal, and
in what is signed.

";

const SIGNING: &str = "
Where a policy says `signed`, a command has to come with a signature (Ed25519) of the text that says all of it. A
program builds that text itself, from what its user typed, and takes of the host's only the word after `nonce`, which
is good once and for ten minutes, the identity of the machine, and, where it consents, the lines that begin with
`request`. Values are quoted as in JSON; `sha256` stands for a long one; for one that no record keeps, `hidden` and the
SHA-256 of `blind`, a line break and the value. Without a signature it is refused so:

";
const FORMS: &str = "
## Forms

Every form with something to fill in, as it is where nothing is known of the choices. What the host knows
(images, drivers) comes as a list-single. Fields not named here are ignored; a blank one is as if it were not
there, but for `cmdline` and `note` of `define`, where it takes the text away. Who opens the form of `create` or
`define` is asked for it in steps, a form each, with `next` and `prev`; every step takes any of the fields, and
`complete`.
";

const REPLIES: &str = "
## What commands answer

The text is in the note, the JSON in `<json xmlns='urn:xmpp:json:0'/>`. Fields may be added; none is taken
away or changes its meaning while the namespaces stay.
";

const ERRORS: &str = "
## Errors

When the stanza itself is wrong, not allowed, or for something that is not there, the answer is a stanza
error: RFC 6120's condition, a sentence with what to do next, and our own condition with the hint and the
wrong argument apart.

";

/// The page.
pub fn page() -> String {
    [
        INTRODUCTION.into(),
        namespaces(),
        names(),
        payloads(),
        messages(),
        stages(),
        forms(),
        replies(),
        errors(),
    ]
    .concat()
}

fn namespaces() -> String {
    let ours = [
        (ns::HOST, "disco feature of a host"),
        (ns::MACHINE, "disco feature of a machine"),
        (ns::STATE, "what a machine or host is: in presence, and as a pubsub node"),
        (ns::EVENTS, "what happened, in order: a pubsub node"),
        (ns::METRICS, "what is used: a pubsub node"),
        (ns::AUDIT, "the newest entry of the audit trail: a pubsub node, and messages to witnesses"),
        (ns::COMMAND, "FORM_TYPE of the forms of commands"),
        (ns::DEFINITION, "what a machine is made of, typed"),
        (ns::REFUSAL, "our conditions in stanza errors"),
    ];
    let rows: String = ours.iter().map(|(name, what)| format!("| `{name}` | {what} |\n")).collect();
    format!("\n## Namespaces\n\n| namespace | what |\n| --- | --- |\n{rows}")
}

fn names() -> String {
    let rows: String = ["web1", "build box", "büro.drucker", "a\\20b"]
        .iter()
        .map(|name| {
            let host = "kvm1.example.org".parse().unwrap();
            format!("| `{name}` | `{}` |\n", address::machine_jid(name, &host).unwrap())
        })
        .collect();
    format!("{ADDRESSES}\n| name | address |\n| --- | --- |\n{rows}")
}

fn payloads() -> String {
    let at = "2026-11-22T20:31:00Z".parse().unwrap();
    let machine = payload::Machine {
        id: "0197a3c0-5f00-7000-8000-000000000001".into(),
        name: "web1".into(),
        state: "running".into(),
        generation: 7,
        wanted: "running".into(),
        host: "kvm1.example.org".into(),
        driver: "qemu".into(),
    };
    let host = payload::Host { name: "kvm1".into(), machines: 3, running: 2, version: "0.1.0".into() };
    let event = payload::Event {
        sequence: 42,
        at,
        what: "machine.started".into(),
        machine: Some("web1".into()),
        state: Some("running".into()),
        generation: Some(7),
        by: Some("ann@example.org".into()),
        sentence: "web1 is running.".into(),
    };
    let metrics = payload::Metrics {
        at,
        left_out: 0,
        host: payload::HostMetrics {
            cpus: 8,
            load: 0.42,
            memory_mib: 16_384,
            memory_free_mib: 9_216,
            disk_free_mib: 204_800,
            cpu_percent: Some(12.5),
            steal_percent: Some(0.0),
            disk_read: Some(0),
            disk_written: Some(1_048_576),
            net_received: Some(2_048),
            net_sent: Some(512),
            cpu_pressure: Some(0.4),
            memory_pressure: Some(0.0),
            disk_pressure: Some(1.5),
        },
        machines: vec![payload::MachineMetrics {
            name: "web1".into(),
            cpu_seconds: 125.5,
            resident_bytes: 134_217_728,
            vcpus: 2,
            memory_mib: 256,
            cpu_percent: Some(37.5),
            host_percent: Some(9.4),
            steal_percent: Some(0.1),
            guest_used_bytes: Some(92_274_688),
            disk_read: Some(0),
            disk_written: Some(524_288),
            net_received: None,
            net_sent: None,
        }],
    };
    [
        STATE,
        &block(&machine.into()),
        "\nThe same of a host:\n\n",
        &block(&host.into()),
        EVENTS,
        &block(&event.into()),
        METRICS,
        &block(&metrics.into()),
        &crate::audit::head(),
    ]
    .concat()
}

fn messages() -> String {
    let mut question = Element::bare("message", ns::CLIENT);
    question.append_child(payload::Response::new("yes 7kq2").label("Yes, do it").into());
    question.append_child(payload::Response::new("no").into());
    let mut progress = Element::bare("message", ns::CLIENT);
    progress.append_child(payload::replace("m1"));
    progress.append_child(payload::hint(payload::Hint::NoStore));
    [MESSAGES, &block(&question), PROGRESS, &block(&progress)].concat()
}

fn declaration(verb: &str, object: Object) -> &'static Declaration {
    COMMANDS.iter().find(|declaration| declaration.verb == verb && declaration.object == object).unwrap()
}

fn stages() -> String {
    let declaration =
        |verb: &str, object| COMMANDS.iter().find(|d| d.verb == verb && d.object == object).unwrap();
    let create = declaration("create", Object::Host);
    let first = AdhocCommand::request("create", None);
    let asked = AdhocCommand {
        node: "create".into(),
        sessionid: Some("s1".into()),
        status: Some(Status::Executing),
        actions: Some(Actions::last(false)),
        form: Some(form::form(
            create,
            |name| if name == "image" { vec!["linux".into()] } else { vec![] },
            |_| None,
        )),
        ..AdhocCommand::default()
    };
    let argv = ["--name=web1", "--image=linux", "--start"].map(str::to_owned);
    let filled = asked.follow(Action::Complete, Some(form::submit(&argv)));
    let reply = examples::changed();
    let json = serde_json::to_value(&reply).unwrap();
    let done = AdhocCommand {
        node: "create".into(),
        sessionid: Some("s1".into()),
        status: Some(Status::Completed),
        note: Some(Note { kind: NoteKind::Info, text: reply.text() }),
        form: Some(form::result(create.about(), &json)),
        json: Some(json),
        ..AdhocCommand::default()
    };
    [
        COMMANDS_BEGIN,
        &block(&first.to_element()),
        "\nThe form comes back:\n\n",
        &block(&asked.to_element()),
        COMMANDS_FILLED_IN,
        &block(&filled.to_element()),
        "\nDone: one note with the whole answer, a result form, and the reply as JSON (XEP-0335):\n\n",
        &block(&done.to_element()),
        JSON_ONLY,
        &block(&AdhocCommand::request("status", None).json_only().to_element()),
        &confirmation(),
        &failure(),
        &defining(),
        &signing(),
    ]
    .concat()
}

fn defining() -> String {
    let toml = "vcpus = 2\nmemory_mib = 1024\n[boot]\nfrom = \"disk\"\n[[disks]]\npath = \"/srv/web1.qcow2\"\n\
                format = \"qcow2\"\n[[nics]]\nforwards = [\"8080:80\"]\n";
    let definition = hypervisor_core::definition::Definition::from_toml(toml).unwrap();
    let table = serde_json::to_value(definition).unwrap().as_object().unwrap().clone();
    let request = AdhocCommand {
        definition: Some(payload::Definition(table)),
        ..AdhocCommand::request("define", None)
    };
    [DEFINING, &block(&request.to_element())].concat()
}

fn confirmation() -> String {
    let sentence = "The power of web1 will be cut at once: its guest gets no chance to save its work.";
    let asked = AdhocCommand {
        node: "kill".into(),
        sessionid: Some("s2".into()),
        status: Some(Status::Executing),
        actions: Some(Actions::last(false)),
        form: Some(form::confirm(declaration("kill", Object::Machine).about(), sentence)),
        ..AdhocCommand::default()
    };
    let yes = asked.follow(Action::Complete, Some(form::submit_confirm(true)));
    [
        "\nWhat takes something away asks first, always:\n\n",
        &block(&asked.to_element()),
        "\nYes:\n\n",
        &block(&yes.to_element()),
    ]
    .concat()
}

fn failure() -> String {
    let refusal = Refusal::new(Reason::Conflict, "web1 cannot be paused: it is not running.")
        .hint("Start it first: web1 start");
    let failed = AdhocCommand {
        node: "pause".into(),
        sessionid: Some("s3".into()),
        status: Some(Status::Completed),
        note: Some(Note { kind: NoteKind::Error, text: refusal.sentence() }),
        json: Some(serde_json::json!({ "refusal": refusal })),
        ..AdhocCommand::default()
    };
    "\nA command that was refused or failed is over, with a note that says so:\n\n".to_owned()
        + &block(&failed.to_element())
}

/// The first key of RFC 8032 §7.1, and what is signed with it.
fn signing() -> String {
    let key = SigningKey::parse("ed25519-private nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").unwrap();
    let text = Text {
        host: BareJid::new("kvm1.example.org").unwrap(),
        caller: BareJid::new("ann@example.org").unwrap(),
        command: "machine.kill".into(),
        on: Some(On { name: "db1".into(), id: "0192f0c4-0000-7000-8000-000000000001".into() }),
        arguments: vec![("because".into(), Given::Value("it hangs".into()))],
        about: None,
        nonce: "90d23e1a110d4345960c94caf5b2c428".into(),
    };
    let refusal = Refusal::new(Reason::Unsigned, "That needs your signature.")
        .hint("Run: skerry kill db1")
        .sign(ToSign { text: text.to_string(), blind: None });
    let asked = AdhocCommand {
        node: "kill".into(),
        sessionid: Some("s4".into()),
        status: Some(Status::Completed),
        note: Some(Note { kind: NoteKind::Error, text: refusal.sentence() }),
        json: Some(serde_json::json!({ "refusal": refusal })),
        ..AdhocCommand::default()
    };
    let argv = ["--because=it hangs".to_owned()];
    let signature = Some(key.sign(&text));
    let signed = AdhocCommand { signature, ..AdhocCommand::request("kill", Some(form::submit(&argv))) };
    [
        SIGNING,
        &block(&asked.to_element()),
        "\nWhat was signed, which the host knows the public key of, `ed25519 ",
        &key.public().base64(),
        " ann@example.org`:\n\n",
        &block(&signed.to_element()),
    ]
    .concat()
}

fn forms() -> String {
    let mut text = FORMS.to_owned();
    for declaration in COMMANDS.iter().filter(|declaration| !declaration.arguments().is_empty()) {
        let form = form::form(declaration, |_| Vec::new(), |_| None);
        text += &format!("\n`{}`:\n\n{}", declaration.permission(), block(&form::to_element(&form)));
    }
    let start = declaration("start", Object::Machine);
    let at_host =
        form::with_machine(form::form(start, |_| Vec::new(), |_| None), vec!["web1".into(), "web2".into()]);
    text + &format!("\n`machine/start` at a host:\n\n{}", block(&form::to_element(&at_host)))
}

fn replies() -> String {
    let mut text = REPLIES.to_owned();
    for example in examples::replies() {
        let json = serde_json::to_string_pretty(&example.json).unwrap();
        text += &format!(
            "\n{}:\n\n{}\n\n{}\n",
            example.commands.join(", "),
            indented(&example.text),
            indented(&json)
        );
    }
    text
}

fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| format!("    {line}").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn errors() -> String {
    let rows: String = Reason::ALL
        .iter()
        .map(|reason| {
            let (type_, condition) = reason.stanza();
            let code = reason.exit_code();
            format!("| `{}` | `{condition}` | {type_} | {code} |\n", reason.word())
        })
        .collect();
    let refusal =
        Refusal::new(Reason::NotAllowed, "You may not start web1.").hint("Ask an administrator of kvm1.");
    let conditions = [
        Condition::MalformedAction,
        Condition::BadAction,
        Condition::BadLocale,
        Condition::BadPayload,
        Condition::BadSessionid,
        Condition::SessionExpired,
    ];
    let adhoc: String =
        conditions.iter().map(|condition| format!("| `{}` | {condition} |\n", condition.word())).collect();
    [
        ERRORS,
        &block(&refusal.stanza_error()),
        "\n| ours | RFC 6120 | type | exit code of skerry |\n| --- | --- | --- | --- |\n",
        &rows,
        "\nWhat is wrong with a command's stages has the conditions of XEP-0050 §4.6:\n\n",
        &block(&Condition::SessionExpired.to_element()),
        "\n| condition | what |\n| --- | --- |\n",
        &adhoc,
    ]
    .concat()
}
