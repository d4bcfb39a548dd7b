//! The signatures in a trail: whoever has the keys sees that what they are beside is what was signed.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use xmpp_parsers::jid::{BareJid, Jid};

use super::{Flaw, Row, hex};
use crate::{
    command::{COMMANDS, argument::BECAUSE},
    signature::{Given, Keys, On, Signed, Text},
};

/// A command in a row, as far as a signature is about it.
#[derive(Deserialize)]
struct Command {
    caller: String,
    permission: String,
    machine: Option<String>,
    name: Option<String>,
    args: Value,
    #[serde(default)]
    because: Option<String>,
    #[serde(default)]
    hops: Vec<Passed>,
    #[serde(default)]
    signature: Option<Signed>,
}

/// What it passed: consents, and who did without them.
#[derive(Deserialize)]
struct Passed {
    #[serde(default)]
    agreed: Vec<String>,
    #[serde(default)]
    who: Option<String>,
    #[serde(default)]
    signatures: Vec<Signed>,
    #[serde(default)]
    signature: Option<Signed>,
}

/// Checks the signatures in a row by these keys; how many there are. Whether one should be there is for the
/// policies of its day to say.
///
/// # Errors
/// One is none, or is of something else than the row says.
pub fn signatures(row: &Row, keys: &Keys) -> Result<u64, Flaw> {
    if !matches!(row.kind.as_str(), "accepted" | "asked") {
        return Ok(0);
    }
    let Ok(command) = serde_json::from_str::<Command>(&row.body) else { return Ok(0) };
    let forged = |what: &str| Flaw::Forged(row.seq, what.to_owned());
    let mut count = 0;
    if let Some(signed) = &command.signature {
        let text = checked(signed, keys).map_err(|what| forged(&what))?;
        let caller = Jid::new(&command.caller).map(|jid| jid.to_bare()).ok();
        if Some(&text.caller) != caller.as_ref()
            || !is(&command, &text.command, text.on.as_ref(), &text.arguments)
        {
            return Err(forged("what is signed is not what it says"));
        }
        count += 1;
    }
    for hop in &command.hops {
        for signed in hop.signatures.iter().chain(&hop.signature) {
            let text = checked(signed, keys).map_err(|what| forged(&what))?;
            let named = hop.agreed.iter().chain(&hop.who).filter_map(|who| BareJid::new(who).ok());
            let to = text.about.as_ref().filter(|about| about.id == row.entry);
            let same = to.is_some_and(|to| is(&command, &to.command, to.on.as_ref(), &to.arguments));
            if !same || !named.into_iter().any(|who| who == text.caller) {
                return Err(forged("a consent that is signed is not one to what it says"));
            }
            count += 1;
        }
    }
    Ok(count)
}

fn checked(signed: &Signed, keys: &Keys) -> Result<Text, String> {
    match signed.checked(keys) {
        Some(text) => Ok(text),
        None if keys.iter().any(|key| key.public.fingerprint() == signed.key) => {
            Err(format!("its signature is not one by {}", signed.key))
        }
        None => Err(format!("its signature is by a key that is not in the file: {}", signed.key)),
    }
}

/// Whether a command is the one of a text.
fn is(command: &Command, permission: &str, on: Option<&On>, arguments: &[(String, Given)]) -> bool {
    let same = match on {
        Some(On { name, id }) => command.name.as_ref() == Some(name) && command.machine.as_ref() == Some(id),
        None => command.name.is_none(),
    };
    let because = arguments.iter().find_map(|(name, given)| match given {
        Given::Value(why) if name == BECAUSE => Some(why.trim()),
        _ => None,
    });
    let why = command.because.as_deref();
    same && command.permission == permission
        && because.filter(|why| !why.is_empty()) == why
        && are(command, arguments)
}

/// Whether the arguments of a row are those of a text: what the words say there, a command says in the row.
fn are(command: &Command, arguments: &[(String, Given)]) -> bool {
    let Some(declared) = COMMANDS.iter().find(|it| it.permission() == command.permission) else {
        return true;
    };
    let mut hidden = Vec::new();
    let mut argv = Vec::new();
    for (name, given) in arguments {
        // The names of arguments are those of the fields, with dashes.
        let field = name.replace('-', "_");
        argv.push(match given {
            Given::Yes => format!("--{name}"),
            Given::Value(value) => format!("--{name}={value}"),
            Given::Hash(hash) => match command.args[&field].as_str() {
                Some(value) if hex(&Sha256::digest(value)) == *hash => format!("--{name}={value}"),
                _ => return false,
            },
            Given::Hidden(_) => {
                hidden.push(field);
                format!("--{name}=hidden")
            }
        });
    }
    let without = |mut args: Value| {
        if let Some(args) = args.as_object_mut() {
            hidden.iter().for_each(|field| drop(args.remove(field)));
        }
        args
    };
    // One that this version reads otherwise is no forgery.
    declared.args(&argv).map_or(true, |args| without(args) == without(command.args.clone()))
}
