//! Whether what was received is what was written.

use std::collections::HashMap;

use anyhow::{Context, bail, ensure};
use minidom::Element;

/// What the names in braces stand for.
pub(super) type Bound = HashMap<String, String>;

const TEST: &str = "urn:skerry:test";

/// The text with each `{x}` filled in.
pub(super) fn filled(text: &str, bound: &Bound) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').context("a brace is not closed")?;
        out.push_str(before);
        out.push_str(bound.get(name).with_context(|| format!("{{{name}}} was not seen yet"))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether everything expected is there.
pub(super) fn matches(expected: &Element, received: &Element, bound: &mut Bound) -> anyhow::Result<()> {
    let name = expected.name();
    ensure!(name == received.name(), "expected <{name}/>, not <{}/>", received.name());
    ensure!(expected.ns() == received.ns(), "<{name}/> is in {}, not in {}", received.ns(), expected.ns());
    for ((_, attribute), wanted) in expected.attrs().iter() {
        let there = received.attr(attribute.as_str());
        match (wanted.as_str(), there) {
            ("{none}", None) => {}
            ("{none}", Some(there)) => bail!("<{name}/> has {attribute}='{there}'"),
            (_, None) => bail!("<{name}/> has no {attribute}"),
            (wanted, Some(there)) => {
                text_matches(wanted, there, bound).with_context(|| format!("{attribute} of <{name}/>"))?;
            }
        }
    }
    let wanted = expected.text();
    if !wanted.trim().is_empty() {
        text_matches(wanted.trim(), received.text().trim(), bound)
            .with_context(|| format!("text of <{name}/>"))?;
    }
    children_match(expected, received, bound)
}

fn children_match(expected: &Element, received: &Element, bound: &mut Bound) -> anyhow::Result<()> {
    let mut there = received.children();
    for wanted in expected.children() {
        if wanted.is("never", TEST) {
            for never in wanted.children() {
                let found =
                    received.children().find(|child| matches(never, child, &mut bound.clone()).is_ok());
                ensure!(found.is_none(), "there is a {}", String::from(never));
            }
            continue;
        }
        let mut closest = None;
        let found = there.by_ref().find(|child| {
            let mut trial = bound.clone();
            match matches(wanted, child, &mut trial) {
                Ok(()) => {
                    *bound = trial;
                    true
                }
                Err(why) => {
                    if child.is(wanted.name(), wanted.ns().as_str()) && closest.is_none() {
                        closest = Some(why);
                    }
                    false
                }
            }
        });
        match (found, closest) {
            (Some(_), _) => {}
            (None, Some(why)) => return Err(why),
            (None, None) => bail!("<{}/> has no (further) {}", expected.name(), String::from(wanted)),
        }
    }
    Ok(())
}

/// Whether a text fits one with names in braces.
fn text_matches(wanted: &str, there: &str, bound: &mut Bound) -> anyhow::Result<()> {
    let Some((before, after)) = wanted.split_once('{') else {
        ensure!(wanted == there, "expected {wanted:?}, not {there:?}");
        return Ok(());
    };
    let (name, after) = after.split_once('}').context("a brace is not closed")?;
    let rest = there.strip_prefix(before).with_context(|| format!("expected {before:?} in {there:?}"))?;
    if let Some(known) = bound.get(name) {
        let rest = rest.strip_prefix(known.as_str());
        let rest = rest.with_context(|| format!("expected {known:?} in {there:?}"))?.to_owned();
        return text_matches(after, &rest, bound);
    }
    // The shortest that lets what follows fit.
    for end in (0..=rest.len()).filter(|end| rest.is_char_boundary(*end)) {
        let mut trial = bound.clone();
        if name != "any" {
            trial.insert(name.to_owned(), rest[..end].to_owned());
        }
        if text_matches(after, &rest[end..], &mut trial).is_ok() {
            *bound = trial;
            return Ok(());
        }
    }
    bail!("{there:?} does not fit {wanted:?}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[track_caller]
    fn assert_fits(fits: bool, expected: &str, received: &str) {
        let (expected, received): (Element, Element) = (expected.parse().unwrap(), received.parse().unwrap());
        let verdict = matches(&expected, &received, &mut Bound::new());
        assert_eq!(verdict.is_ok(), fits, "{verdict:?}");
    }

    #[test]
    fn what_is_written_must_be_there_and_more_may_be() {
        let received = "<a xmlns='x' n='1' id='q7'><b/><c>hello ann</c><d r='q7'/></a>";
        assert_fits(true, "<a xmlns='x'/>", received);
        assert_fits(true, "<a xmlns='x' n='1'><c>hello {any}</c></a>", received);
        assert_fits(true, "<a xmlns='x' id='{i}'><d r='{i}'/></a>", received);
        assert_fits(false, "<a xmlns='x' n='{i}'><d r='{i}'/></a>", received);
        assert_fits(false, "<a xmlns='x'><c/><b/></a>", received);
        assert_fits(false, "<a xmlns='x' n='{none}'/>", received);
        assert_fits(true, "<a xmlns='x' m='{none}'/>", received);
        assert_fits(false, "<a xmlns='x'><c>hello</c></a>", received);
        assert_fits(
            false,
            "<a xmlns='x'><never xmlns='urn:skerry:test'><b xmlns='x'/></never></a>",
            received,
        );
        assert_fits(true, "<a xmlns='x'><never xmlns='urn:skerry:test'><e xmlns='x'/></never></a>", received);
    }
}
