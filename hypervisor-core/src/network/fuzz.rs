//! What a fuzzer asks of `skerry-net`: who asks may have been broken into.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use super::{
    Plug,
    dnsmasq::configuration,
    nft::{Present, transaction},
    service::Question,
};
use crate::fuzz::is_said;

/// Whether it is what our texts for nft and dnsmasq are made of: nothing that could end a name or begin
/// another statement is in what came from outside.
fn is_ours(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " \t\n_-.,:;{}[]@/&=!#|<>()".contains(c);
    let names = text.split('"').skip(1).step_by(2);
    let name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    text.chars().all(|c| plain(c) || c == '"')
        && text.lines().all(|line| line.matches('"').count() % 2 == 0)
        && names.into_iter().all(|quoted| !quoted.is_empty() && quoted.chars().all(name))
}

/// A question to `skerry-net`. What is taken is asked the same when it is written again; what nft and dnsmasq
/// are told of it holds nothing but names, addresses and words of ours.
pub fn skerry_net(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    let Ok(question) = serde_json::from_str::<Question>(line) else { return };
    let written = serde_json::to_string(&question).unwrap();
    let again: Question = serde_json::from_str(&written).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), written);
    let Question::Make(wanted) = question else { return };
    if let Err(error) = wanted.check() {
        return is_said(&error.to_string());
    }
    let text = transaction(&wanted, &[], &Present::default());
    assert!(is_ours(&text), "nft is told:\n{text}");
    for network in &wanted.networks {
        let plugs: Vec<&Plug> = wanted.plugs.iter().filter(|plug| plug.network == network.name).collect();
        assert!(network.bridge().len() <= 15, "no interface can be called {:?}", network.bridge());
        let Some(text) = configuration(network, &plugs, Path::new("/run/skerry")) else { continue };
        assert!(is_ours(&text) && !text.contains('"'), "dnsmasq is told:\n{text}");
        let words = ["interface", "except-interface", "bind-dynamic", "pid-file", "no-", "domain", "local"];
        let more = ["bogus-priv", "port=0", "dhcp-", "quiet-", "enable-ra", "ra-param", "host-record", "# "];
        let known = |line: &str| words.iter().chain(&more).any(|word| line.starts_with(word));
        assert!(text.lines().all(known), "dnsmasq is told:\n{text}");
        assert!(!text.contains("dhcp-script") && !text.contains("conf-"), "dnsmasq is told:\n{text}");
    }
}
