//! Questions on a terminal. Without one, what is missing is named with the flag that gives it.

use std::io::{BufRead, Write};

use anyhow::bail;
use clap::ValueEnum;
use xmpp_parsers::jid::BareJid;

use super::LinkKind;

fn line(question: &str) -> anyhow::Result<String> {
    print!("{question} ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer)? == 0 {
        bail!("nobody answered");
    }
    Ok(answer.trim().to_owned())
}

/// Waits for Enter.
pub(super) fn wait(what: &str) -> anyhow::Result<()> {
    line(what).map(drop)
}

/// One of a few words, each of which is explained where its name says too little.
pub(super) fn choice<T: ValueEnum>(question: &str, asks: bool, flag: &str) -> anyhow::Result<T> {
    let values: Vec<_> = T::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
    let words: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
    let words = words.join(" or ");
    if !asks {
        bail!("{flag} is missing: {words}");
    }
    for value in &values {
        let about = value.get_help().map(ToString::to_string).unwrap_or_default();
        if !about.eq_ignore_ascii_case(value.get_name()) {
            println!("  {:<10} {about}", value.get_name());
        }
    }
    loop {
        match T::from_str(&line(&format!("{question} ({words}):"))?, true) {
            Ok(one) => return Ok(one),
            Err(_) => println!("Please write {words}."),
        }
    }
}

/// An address that `fits`.
pub(super) fn jid(
    question: &str,
    asks: bool,
    flag: &str,
    fits: impl Fn(&BareJid) -> Result<(), String>,
) -> anyhow::Result<BareJid> {
    if !asks {
        bail!("{flag} is missing: an address");
    }
    loop {
        let answer = line(&format!("{question}:"))?;
        if answer.is_empty() {
            continue;
        }
        match BareJid::new(&answer) {
            Ok(jid) => match fits(&jid) {
                Ok(()) => return Ok(jid),
                Err(why) => println!("That does not fit: {why}. Try again, please."),
            },
            Err(error) => println!("That is no address ({error}). Try again, please."),
        }
    }
}

/// Whether an agent can be at this address on such a link.
pub(super) fn fits(link: LinkKind, jid: &BareJid) -> Result<(), String> {
    match (link, jid.node()) {
        (LinkKind::Component, Some(_)) => Err(format!("a component is a domain, such as {}", jid.domain())),
        (LinkKind::Single, None) => Err(format!("an account has a name, such as host@{jid}")),
        _ => Ok(()),
    }
}

/// Whether a person can be at this address.
pub(super) fn fits_person(jid: &BareJid) -> Result<(), String> {
    match jid.node() {
        Some(_) => Ok(()),
        None => Err(format!("a person has a name, such as ann@{jid}")),
    }
}

/// What to ask for.
pub(super) fn jid_question(link: LinkKind) -> String {
    match link {
        LinkKind::Component => "A domain for this host, below the server's (kvm1.example.org)".to_owned(),
        LinkKind::Single => "The host's account (kvm1@example.org)".to_owned(),
    }
}
