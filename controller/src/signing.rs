//! Signing: what a host wants signed is written here anew, from what was typed, and signed only if that is
//! the same; and the key it is signed by, which stays on this computer.

use std::io::IsTerminal as _;

use minidom::Element;
use secrecy::{ExposeSecret as _, SecretString};
use skerry_stanzas::{
    address,
    command::{Effect, Object},
    form, ns,
    safe::safe_line,
    signature::{Key, On, Signature, SigningKey, Text, ToSign, arguments},
};
use xmpp_parsers::jid::{BareJid, Jid};

use crate::{
    call::{Call, Consent, agreed},
    cli::KeyArgs,
    config::Config,
    failure::{Failure, Kind, Outcome},
    password::{self, Keeper, Purpose},
    session::{SHORT, Session},
    setup::private_file,
    wire,
};

/// Who signs, and how their key is kept.
#[derive(Clone, Debug)]
pub struct Signer {
    jid: BareJid,
    keeper: Keeper,
}

impl Signer {
    /// The one of a configuration.
    pub fn of(config: &Config) -> Self {
        Self { jid: config.jid.clone(), keeper: config.signing.clone() }
    }

    async fn key(&self) -> Outcome<SigningKey> {
        let made = "Make one, and have the host's administrator add it: skerry signing-key new";
        if let Keeper::File(file) = &self.keeper
            && !file.exists()
        {
            return Err(Failure::usage("that needs your signature, and you have no key").hint(made));
        }
        let line = self.keeper.secret(Purpose::SigningKey, &self.jid).await?;
        SigningKey::parse(line.expose_secret())
            .map_err(|error| Failure::usage(format!("your signing key cannot be read: {error}")))
    }

    /// The line that an administrator adds.
    fn told(&self, key: &SigningKey) -> String {
        Key { public: key.public(), owner: self.jid.clone(), note: String::new() }.to_string()
    }

    /// Signs what the host wants signed for a call, if that is what was typed and it is meant. `again`: it
    /// was meant a moment ago, and the word of the host is another one only.
    ///
    /// # Errors
    /// There is no key; what came is not what was typed; it is not meant.
    pub async fn sign(
        &self,
        call: &Call,
        wanted: &ToSign,
        consent: Consent,
        again: bool,
    ) -> Outcome<Signature> {
        let text = self.same(call, wanted)?;
        let key = self.key().await?;
        let shown = shown(&text);
        let asks = text.about.is_some() || call.declaration.effect == Effect::Destroy;
        match consent {
            _ if again => {}
            Consent::Ask if asks => {
                if !agreed(format!("You sign this:\n{shown}")).await? {
                    return Err(Failure::new(Kind::Refused, "nothing was signed, and nothing was done"));
                }
            }
            Consent::Ask | Consent::Given if std::io::stderr().is_terminal() => {
                eprintln!("Signed by {}:\n{shown}", key.public().fingerprint());
            }
            Consent::Ask | Consent::Given => {}
        }
        Ok(key.sign(&text))
    }

    /// What would be signed, written from what was typed: of the host's text only its word is taken, what
    /// the machine of that name is for life, and to which request of that code one consents.
    fn same(&self, call: &Call, wanted: &ToSign) -> Outcome<Text> {
        let odd = || Failure::new(Kind::Internal, "the host wants something signed that is no command");
        let theirs = Text::parse(&wanted.text).ok_or_else(odd)?;
        let (host, machine) = place(call);
        let argv = form::argv(call.declaration, &form::submit(&call.argv))?;
        let ours = Text {
            host,
            caller: self.jid.clone(),
            command: call.declaration.permission(),
            on: match (machine, &theirs.on) {
                (Some(name), Some(on)) => Some(On { name, id: on.id.clone() }),
                (Some(name), None) => Some(On { name, id: String::new() }),
                (None, _) => None,
            },
            arguments: arguments(call.declaration, &argv, wanted.blind.as_deref().unwrap_or_default()),
            about: theirs.about.clone().filter(|about| consents(call, &about.code)),
            nonce: theirs.nonce.clone(),
        };
        match ours.difference(&theirs) {
            None => Ok(ours),
            Some((typed, came)) => Err(Failure::new(
                Kind::Refused,
                "nothing was signed: what came back from the host is not what you typed",
            )
            .hint(format!(
                "Typed: {}\nCame back: {}\nSomebody in between changed it, or this skerry and the host are of two versions.",
                safe_line(&typed, 300),
                safe_line(&came, 300)
            ))),
        }
    }
}

/// Makes sure that a host knows signatures before it is told to want them: an older one would take the
/// policy, and pass over that word of it (XEP-0004 §3.3).
///
/// # Errors
/// It does not know them, or does not say; nothing was sent then.
pub async fn known_by(call: &Call, session: &Session) -> Outcome<()> {
    if !wants_signatures(call) {
        return Ok(());
    }
    let iq = wire::get(Some(&call.to), Element::bare("query", wire::DISCO_INFO));
    let info = session.ask(iq, SHORT).await?;
    let known = info.iter().flat_map(Element::children).any(|it| it.attr("var") == Some(ns::SIGNATURES));
    match known {
        true => Ok(()),
        false => Err(Failure::new(
            Kind::Refused,
            format!("{} does not know signatures, and would take the policy without them", call.to),
        )
        .hint("Nothing was changed. Its agent is older than this skerry: update it, then say it again.")),
    }
}

/// Whether a call tells a host to want signatures.
fn wants_signatures(call: &Call) -> bool {
    let said = |word: &String| {
        let given = word.strip_prefix("--signed").map(|rest| rest.strip_prefix('=').unwrap_or("true"));
        given.is_some_and(|given| !matches!(given, "false" | "0"))
    };
    call.declaration.permission() == "host.policy-add" && call.argv.iter().any(said)
}

/// Whether a call consents to what somebody else asked for.
pub fn is_consent(call: &Call) -> bool {
    matches!(call.declaration.permission().as_str(), "host.approve" | "host.break-glass")
}

/// Whether it consents to the request of this code.
fn consents(call: &Call, code: &str) -> bool {
    let typed = call.argv.iter().find_map(|word| word.strip_prefix("--code="));
    is_consent(call) && typed.is_some_and(|typed| typed.trim().eq_ignore_ascii_case(code))
}

/// The host and the machine that a call is for, by where it goes.
fn place(call: &Call) -> (BareJid, Option<String>) {
    let host = call.to.to_bare();
    let named = call.node.strip_prefix("machine/").and_then(|rest| rest.rsplit_once('/'));
    match named {
        Some((name, _)) => (host, Some(name.to_owned())),
        None if call.declaration.object == Object::Machine => {
            (BareJid::from_parts(None, call.to.domain()), address::name_of(&Jid::from(host)))
        }
        None => (host, None),
    }
}

/// As it is shown: all of it but what says nothing to people.
fn shown(text: &Text) -> String {
    let text = text.to_string();
    let lines = text.lines().filter(|line| !line.starts_with("nonce: "));
    lines.map(|line| format!("  {}", safe_line(line, 400))).collect::<Vec<_>>().join("\n")
}

/// `skerry signing-key`.
///
/// # Errors
/// There is one already, or none; it cannot be kept there.
pub async fn run(args: &KeyArgs, config: &Config) -> Outcome<()> {
    let signer = Signer::of(config);
    let key = match args {
        KeyArgs::New => signer.make().await?,
        KeyArgs::Show => signer.key().await?,
    };
    println!("{}", signer.told(&key));
    eprintln!("Fingerprint: {}", key.public().fingerprint());
    if matches!(args, KeyArgs::New) {
        eprintln!(
            "Give the line to who administers the host, by a way that the XMPP server is no part of. There:\n  \
             skerry-agent key add '{}'",
            signer.told(&key)
        );
    }
    Ok(())
}

impl Signer {
    /// Makes a key, and keeps it. One that is there stays.
    async fn make(&self) -> Outcome<SigningKey> {
        let key = SigningKey::generate()
            .map_err(|error| Failure::new(Kind::Internal, format!("no key could be made: {error}")))?;
        let there = |place: String| {
            Failure::usage(format!("there is a signing key already: {place}"))
                .hint("See it with skerry signing-key show; to have another, move that one away first.")
        };
        match &self.keeper {
            Keeper::File(file) if file.exists() => return Err(there(file.display().to_string())),
            Keeper::File(file) => {
                let line = SecretString::from(key.line() + "\n");
                private_file(file, line.expose_secret().as_bytes()).map_err(|error| {
                    Failure::usage(format!("{} cannot be written: {error}", file.display()))
                })?;
            }
            Keeper::Keyring => {
                if self.keeper.secret(Purpose::SigningKey, &self.jid).await.is_ok() {
                    return Err(there("in the keyring".into()));
                }
                let line = SecretString::from(key.line());
                password::into_keyring(Purpose::SigningKey, &self.jid, &line).await?;
            }
            Keeper::Command(_) => {
                return Err(Failure::usage("signing_key_command only reads a key").hint(
                    "Make one with signing_key_file, put it where the command finds it, and remove the file.",
                ));
            }
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use skerry_stanzas::{
        command::{COMMANDS, Declaration},
        signature::About,
    };

    use super::*;

    /// What somebody in between makes of a text.
    type Change = Box<dyn FnOnce(&mut Text)>;

    fn declared(permission: &str) -> &'static Declaration {
        COMMANDS.iter().find(|it| it.permission() == permission).unwrap()
    }

    fn signer(folder: &std::path::Path) -> Signer {
        let jid = BareJid::new("ann@example.org").unwrap();
        Signer { jid, keeper: Keeper::File(folder.join("signing-key")) }
    }

    fn kill() -> Call {
        Call {
            to: Jid::new("web1@kvm1.example.org").unwrap(),
            node: "kill".into(),
            declaration: declared("machine.kill"),
            argv: vec!["--because=it hangs".into()],
            together: None,
        }
    }

    /// What the host wants signed for it.
    fn wanted(change: impl FnOnce(&mut Text)) -> ToSign {
        let mut text = Text {
            host: BareJid::new("kvm1.example.org").unwrap(),
            caller: BareJid::new("ann@example.org").unwrap(),
            command: "machine.kill".into(),
            on: Some(On { name: "web1".into(), id: "0192f0c4-0000-7000-8000-000000000001".into() }),
            arguments: arguments(declared("machine.kill"), &["--because=it hangs".into()], ""),
            about: None,
            nonce: "n1".into(),
        };
        change(&mut text);
        ToSign { text: text.to_string(), blind: None }
    }

    #[tokio::test]
    async fn what_was_typed_is_signed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let signer = signer(folder.path());
        let no_key = signer.sign(&kill(), &wanted(|_| ()), Consent::Given, false).await.unwrap_err();
        assert!(no_key.hint.unwrap().contains("signing-key new"));
        let key = signer.make().await.unwrap();
        let wanted_as_typed = wanted(|_| ());
        let signature = signer.sign(&kill(), &wanted_as_typed, Consent::Given, false).await.unwrap();
        assert!(key.public().verifies(&wanted_as_typed.text, &signature.bytes));
        assert_eq!(signature.nonce, "n1");
        let other = BareJid::new("kvm2.example.org").unwrap();
        let about = About {
            code: "7f3a".into(),
            id: "i".into(),
            by: other.clone(),
            command: "machine.kill".into(),
            on: None,
            arguments: Vec::new(),
            hash: "h".into(),
        };
        let changes: [Change; 7] = [
            Box::new(|text| text.command = "machine.delete".into()),
            Box::new(|text| text.on.as_mut().unwrap().name = "db1".into()),
            Box::new(|text| text.on = None),
            Box::new(|text| text.arguments.clear()),
            Box::new(move |text| text.host = other),
            Box::new(|text| text.caller = BareJid::new("eve@example.org").unwrap()),
            Box::new(move |text| text.about = Some(about)),
        ];
        for change in changes {
            let changed = wanted(change);
            let no = signer.sign(&kill(), &changed, Consent::Given, true).await.unwrap_err();
            assert!(no.text.contains("not what you typed"), "{}: {no}", changed.text);
        }
        let junk = ToSign { text: "yes\n".into(), blind: None };
        assert!(signer.sign(&kill(), &junk, Consent::Given, false).await.is_err());
    }

    #[tokio::test]
    async fn a_key_is_made_once_and_nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let signer = signer(folder.path());
        let made = signer.make().await.unwrap();
        assert_eq!(signer.key().await.unwrap().public(), made.public());
        let file = folder.path().join("signing-key");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(signer.make().await.unwrap_err().text.contains("already"));
        assert!(
            signer.told(&made).starts_with("ed25519 ") && signer.told(&made).ends_with(" ann@example.org")
        );
        std::fs::write(&file, "ed25519-private AAAA").unwrap();
        let no = signer.key().await.unwrap_err();
        assert!(!no.text.contains("AAAA"), "{no}");
    }

    #[test]
    fn where_a_call_goes_says_host_and_machine() {
        let at = |to: &str, node: &str, permission: &str| {
            let call = Call {
                to: Jid::new(to).unwrap(),
                node: node.into(),
                declaration: declared(permission),
                argv: vec![],
                together: None,
            };
            let (host, machine) = place(&call);
            (host.to_string(), machine)
        };
        let web = |host: &str| (host.to_owned(), Some("my web".to_owned()));
        assert_eq!(at("my\\20web@kvm1.x", "kill", "machine.kill"), web("kvm1.x"));
        assert_eq!(at("kvm1.x", "machine/my web/migrate", "machine.migrate"), web("kvm1.x"));
        assert_eq!(at("kvm1@x/skerry", "machine/my web/kill", "machine.kill"), web("kvm1@x"));
        assert_eq!(at("kvm1@x/skerry", "approve", "host.approve"), ("kvm1@x".into(), None));
    }
}
