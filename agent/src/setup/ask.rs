//! Questions on a terminal. Without one, what is missing is named with the flag that gives it.

use std::io::{BufRead, Write};

use anyhow::bail;
use clap::ValueEnum;
use xmpp_parsers::jid::BareJid;

use super::LinkKind;

fn line(question: &str) -> anyhow::Result<String> {
    print!("{question}: ");
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

/// One of a few words.
pub(super) fn choice<T: ValueEnum>(question: &str, asks: bool, flag: &str) -> anyhow::Result<T> {
    let words: Vec<String> = T::value_variants()
        .iter()
        .filter_map(|one| one.to_possible_value().map(|value| value.get_name().to_owned()))
        .collect();
    let words = words.join(" or ");
    if !asks {
        bail!("{flag} is missing: {words}");
    }
    loop {
        match T::from_str(&line(&format!("{question} ({words})"))?, true) {
            Ok(one) => return Ok(one),
            Err(_) => println!("Please write {words}."),
        }
    }
}

/// An address.
pub(super) fn jid(question: &str, asks: bool, flag: &str) -> anyhow::Result<BareJid> {
    if !asks {
        bail!("{flag} is missing: an address");
    }
    loop {
        match BareJid::new(&line(question)?) {
            Ok(jid) => return Ok(jid),
            Err(error) => println!("That is no address ({error}). Try again, please."),
        }
    }
}

/// What to ask for.
pub(super) fn jid_question(link: LinkKind) -> String {
    match link {
        LinkKind::Component => "A domain for this host, below the server's (kvm1.example.org)".to_owned(),
        LinkKind::Single => "The host's account (kvm1@example.org)".to_owned(),
    }
}
