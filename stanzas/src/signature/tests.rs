#![allow(clippy::unwrap_used, clippy::panic)]
use proptest::prelude::*;
use xmpp_parsers::jid::BareJid;

use super::*;
use crate::command::{COMMANDS, Declaration};

/// The first secret key of RFC 8032 §7.1, which is nobody's.
const PRIVATE: &str = "ed25519-private nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

fn on() -> Option<On> {
    Some(On { name: "db 1".into(), id: "0192f0c4-0000-7000-8000-000000000001".into() })
}

fn text() -> Text {
    Text {
        host: jid("kvm1.example.org"),
        caller: jid("juliet@example.org"),
        command: "machine.kill".into(),
        on: on(),
        arguments: vec![("because".into(), Given::Value("it \"hangs\"\n\u{202e}é".into()))],
        about: None,
        nonce: "9f86d081884c7d65".into(),
    }
}

fn consent() -> Text {
    let about = About {
        code: "7f3a".into(),
        id: "0192f0c4-0000-7000-8000-000000000002".into(),
        by: jid("romeo@example.org"),
        command: "machine.define".into(),
        on: None,
        arguments: vec![
            ("full".into(), Given::Yes),
            ("toml".into(), Given::Hash("00ff".into())),
            ("password".into(), Given::Hidden("01ff".into())),
        ],
        hash: "02ff".into(),
    };
    let arguments = vec![("code".into(), Given::Value("7f3a".into()))];
    Text { command: "host.approve".into(), on: None, arguments, about: Some(about), ..text() }
}

fn keys() -> Keys {
    Keys::parse(&format!("# people\n\ned25519 {PUBLIC} juliet@example.org old laptop\n")).unwrap()
}

fn key() -> SigningKey {
    SigningKey::parse(PRIVATE).unwrap()
}

fn signed(text: &Text) -> Signed {
    Signed::new(text, &key().public(), &key().sign(text))
}

#[test]
fn a_text_is_written_in_one_way() {
    assert_eq!(
        text().to_string(),
        "skerry command 1\n\
         host: kvm1.example.org\n\
         caller: juliet@example.org\n\
         command: machine.kill\n\
         machine: \"db 1\" 0192f0c4-0000-7000-8000-000000000001\n\
         argument because: \"it \\\"hangs\\\"\\n\\u202eé\"\n\
         nonce: 9f86d081884c7d65\n"
    );
    assert_eq!(
        consent().to_string(),
        "skerry command 1\n\
         host: kvm1.example.org\n\
         caller: juliet@example.org\n\
         command: host.approve\n\
         machine: none\n\
         argument code: \"7f3a\"\n\
         request: 7f3a 0192f0c4-0000-7000-8000-000000000002\n\
         request by: romeo@example.org\n\
         request command: machine.define\n\
         request machine: none\n\
         request argument full: yes\n\
         request argument toml: sha256 00ff\n\
         request argument password: hidden 01ff\n\
         request hash: 02ff\n\
         nonce: 9f86d081884c7d65\n"
    );
    for text in [text(), consent()] {
        assert_eq!(Text::parse(&text.to_string()), Some(text));
    }
}

#[test]
fn a_key_is_that_of_the_rfc() {
    assert_eq!(key().public().base64(), PUBLIC);
    assert_eq!(key().line(), PRIVATE);
    // RFC 8032 §7.1, test 1: the signature of nothing.
    let of_nothing = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
    assert!(key().public().verifies("", &crate::audit::unhex(of_nothing).unwrap()));
    let drawn = [SigningKey::generate().unwrap(), SigningKey::generate().unwrap()];
    assert_ne!(drawn[0].public(), drawn[1].public());
    assert!(!format!("{:?}", key()).contains("nWGxne"), "a private part is shown nowhere");
}

#[test]
fn a_signature_is_one_of_its_caller() {
    let signed = signed(&text());
    assert_eq!(signed.checked(&keys()), Some(text()));
    let of_romeo = Keys::parse(&format!("ed25519 {PUBLIC} romeo@example.org")).unwrap();
    assert_eq!(signed.checked(&of_romeo), None, "somebody else's key");
    let other = SigningKey::generate().unwrap();
    let forged = Signed::new(&text(), &other.public(), &other.sign(&text()));
    assert_eq!(forged.checked(&keys()), None, "nobody's key");
    let claimed = Signed { key: signed.key.clone(), ..forged };
    assert_eq!(claimed.checked(&keys()), None, "a key that did not sign");
}

#[test]
fn a_signature_goes_there_and_back() {
    let signature = key().sign(&text());
    let mut command = Element::bare("command", ns::ADHOC);
    assert_eq!(Signature::of(&command), None);
    command.append_child(Element::from(&signature));
    assert_eq!(Signature::of(&command), Some(signature));
    for odd in ["", "AAAA", "not base64", &"A".repeat(100_000)] {
        let mut command = Element::bare("command", ns::ADHOC);
        let mut element = Element::bare(NAME, ns::COMMAND);
        set(&mut element, "nonce", Some("n"));
        element.append_text(odd);
        command.append_child(element);
        assert_eq!(Signature::of(&command), None);
    }
}

#[test]
fn a_file_of_keys_is_all_right_or_wrong() {
    assert_eq!(keys().iter().count(), 1);
    let line = keys().iter().next().unwrap().to_string();
    assert_eq!(line, format!("ed25519 {PUBLIC} juliet@example.org old laptop"));
    assert!(keys().iter().next().unwrap().public.fingerprint().starts_with("SHA256:"));
    let wrong = |text: &str| Keys::parse(text).unwrap_err().to_string();
    assert!(
        wrong(&format!("{line}\n{PRIVATE} juliet@example.org"))
            .contains("line 2 is no key: that is a private")
    );
    for odd in
        ["ed25519", "ed25519 AAAA juliet@example.org", "rsa x y@z", &format!("ed25519 {PUBLIC} example.org")]
    {
        assert!(wrong(odd).contains("is not written as"), "{odd}");
    }
    assert!(wrong(&format!("{line}\n{line}")).contains("line 2 has a key that stands there before"));
}

fn command(permission: &str) -> &'static Declaration {
    COMMANDS.iter().find(|it| it.permission() == permission).unwrap()
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn what_no_record_keeps_is_marked_and_each_mark_is_another() {
    let words = |password: &str| argv(&["--hashed", &format!("--password={password}"), "--user=root"]);
    let password = command("machine.password");
    let one = arguments(password, &words("hunter2"), "blind");
    assert_eq!(one[0], ("user".into(), Given::Value("root".into())), "in the order of the declaration");
    assert_eq!(one[2], ("hashed".into(), Given::Yes));
    assert!(matches!(&one[1].1, Given::Hidden(mark) if mark.len() == 64));
    assert_ne!(one, arguments(password, &words("hunter3"), "blind"));
    assert_ne!(one, arguments(password, &words("hunter2"), "other"), "nobody tries passwords against it");
    let file = arguments(command("machine.file-write"), &argv(&["--path=/a", "--text=abc"]), "b");
    assert!(matches!(file[1].1, Given::Hidden(_)), "{file:?}");
    let long = argv(&[&format!("--toml={}", "x".repeat(5000))]);
    assert!(matches!(arguments(command("host.apply"), &long, "")[0].1, Given::Hash(_)));
}

/// A text with one of its fields changed.
fn changed(text: &Text, field: usize, by: &str) -> Text {
    let mut text = text.clone();
    let id = |jid: &BareJid| BareJid::new(&format!("{by}{jid}")).unwrap();
    let about = text.about.as_mut().unwrap();
    match field {
        0 => text.host = id(&text.host),
        1 => text.caller = id(&text.caller),
        2 => text.command.push_str(by),
        3 => text.on = None,
        4 => text.on.as_mut().unwrap().name.push_str(by),
        5 => text.on.as_mut().unwrap().id.push_str(by),
        6 => drop(text.arguments.pop()),
        7 => text.arguments[0].0.push_str(by),
        8 => text.arguments[0].1 = Given::Value(by.into()),
        9 => text.arguments[0].1 = Given::Yes,
        10 => text.arguments.push((by.into(), Given::Yes)),
        11 => text.about = None,
        12 => about.code.push_str(by),
        13 => about.id.push_str(by),
        14 => about.by = id(&about.by),
        15 => about.command.push_str(by),
        16 => about.on = on(),
        17 => about.arguments[0].0.push_str(by),
        18 => about.arguments[1].1 = Given::Hidden("00ff".into()),
        19 => about.arguments.swap(0, 1),
        20 => about.hash.push_str(by),
        _ => text.nonce.push_str(by),
    }
    text
}

proptest! {
    #[test]
    fn whatever_is_changed_is_another_text_and_is_not_signed(field in 0_usize..22, by in "[a-z0-9]{1,8}") {
        let text = Text { on: on(), ..consent() };
        let other = changed(&text, field, &by);
        prop_assert!(other != text);
        prop_assert_ne!(other.to_string(), text.to_string());
        prop_assert!(text.difference(&other).is_some());
        let moved = Signed { text: other.to_string(), ..signed(&text) };
        prop_assert_eq!(moved.checked(&keys()), None);
    }

    #[test]
    fn no_value_is_taken_for_something_else(value in "\\PC{0,40}|[\\x00-\\x20\"\\\\:]{0,12}", name in "\\PC{1,20}") {
        let text = Text {
            on: Some(On { name, ..on().unwrap() }),
            arguments: vec![("because".into(), Given::Value(value))],
            ..consent()
        };
        let written = text.to_string();
        prop_assert_eq!(Text::parse(&written), Some(text));
        prop_assert!(written.chars().all(|c| c == '\n' || !crate::safe::is_hostile(c)));
        prop_assert_eq!(written.lines().count(), 15);
    }

    #[test]
    fn every_bit_of_a_signature_and_of_its_text_counts(at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let good = signed(&text());
        let mut bytes = key().sign(&text()).bytes;
        let n = at.index(bytes.len());
        bytes[n] ^= 1 << bit;
        prop_assert!(!key().public().verifies(&good.text, &bytes));
        let mut letters = good.text.clone().into_bytes();
        let n = at.index(letters.len());
        letters[n] ^= 1 << bit;
        if let Ok(text) = String::from_utf8(letters) {
            prop_assert_eq!(Signed { text, ..good }.checked(&keys()), None);
        }
    }

    #[test]
    fn what_is_no_text_is_read_as_none(junk in "(skerry command 1\n)?(host: a\n)?(\\PC|\n){0,60}") {
        if let Some(text) = Text::parse(&junk) {
            prop_assert_eq!(text.to_string(), junk);
        }
    }
}
