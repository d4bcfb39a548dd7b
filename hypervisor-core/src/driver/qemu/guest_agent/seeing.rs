//! What a guest says of itself: its agent's version, its system, its name, its addresses.

use std::{net::IpAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{Talk, none, talk};
use crate::driver::{
    DriverError,
    guest_agent::{ADDRESSES_MAX, GuestAddress, GuestSeen},
    qemu::running::Running,
};

/// The longest word taken from a guest, in characters.
const WORD_CHARS_MAX: usize = 100;

/// Asks for all of it; what is not answered within the limit is missing.
pub(super) async fn describe(running: &Running, limit: Duration) -> Result<GuestSeen, DriverError> {
    let mut seen = GuestSeen::default();
    let asking = async {
        let (mut talk, _one) = talk(running).await?;
        ask_all(&mut talk, &mut seen).await
    };
    match timeout(limit, asking).await {
        Ok(Ok(())) => Ok(seen),
        Ok(Err(error)) => Err(error),
        Err(_) if seen == GuestSeen::default() => Err(none()),
        Err(_) => Ok(seen),
    }
}

/// Asks for one after another. An agent that may not say one of them (its owner decides) says the others.
pub(super) async fn ask_all<S: AsyncRead + AsyncWrite + Unpin>(
    talk: &mut Talk<S>,
    seen: &mut GuestSeen,
) -> Result<(), DriverError> {
    let mut ask = async |command: &str| match talk.ask(command, &json!({})).await {
        Ok(answer) => Ok(answer),
        Err(DriverError::Unfit(_)) => Ok(Value::Null),
        Err(error) => Err(error),
    };
    seen.agent = word(&ask("guest-info").await?["version"]);
    seen.addresses = addresses(&ask("guest-network-get-interfaces").await?);
    let system = ask("guest-get-osinfo").await?;
    seen.os = word(&system["pretty-name"]).or_else(|| word(&system["name"]));
    seen.kernel = word(&system["kernel-release"]);
    seen.hostname = word(&ask("guest-get-host-name").await?["host-name"]);
    Ok(())
}

/// A word of the guest's, in one line and not long.
fn word(value: &Value) -> Option<String> {
    let text: String = value.as_str()?.chars().filter(|c| !c.is_control()).take(WORD_CHARS_MAX).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The addresses of its NICs, but for those that mean the guest itself.
fn addresses(nics: &Value) -> Vec<GuestAddress> {
    let nics = nics.as_array().into_iter().flatten();
    let all = nics.flat_map(|nic| {
        let mac = word(&nic["hardware-address"]).map(|mac| mac.to_lowercase());
        let name = word(&nic["name"]).unwrap_or_default();
        let addresses = nic["ip-addresses"].as_array().into_iter().flatten();
        addresses.filter_map(move |one| {
            let address: IpAddr = one["ip-address"].as_str()?.parse().ok()?;
            let own = address.is_loopback() || address.is_unspecified();
            (!own).then(|| GuestAddress { address, nic: name.clone(), mac: mac.clone() })
        })
    });
    all.take(ADDRESSES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_and_nothing_else() {
        let said = json!([
            {"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1"}, {"ip-address": "::1"}]},
            {"name": "eth0\u{1b}[2J", "hardware-address": "52:54:00:AA:bb:cc", "ip-addresses": [
                {"ip-address": "10.0.2.15", "prefix": 24}, {"ip-address": "fe80::1"},
                {"ip-address": "10.0.2.15; reboot"}, {"ip-address": 7}]},
            {"name": "eth1"}, 7
        ]);
        let seen = addresses(&said);
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].address.to_string(), "10.0.2.15");
        assert_eq!((seen[0].nic.as_str(), seen[0].mac.as_deref()), ("eth0[2J", Some("52:54:00:aa:bb:cc")));
        let many: Vec<Value> =
            (0..1000).map(|n| json!({"ip-address": format!("10.1.{}.{}", n / 250, n % 250)})).collect();
        assert_eq!(addresses(&json!([{"name": "a", "ip-addresses": many}])).len(), ADDRESSES_MAX);
        assert!(addresses(&json!("nothing")).is_empty());
    }

    #[test]
    fn words_are_short_and_of_one_line() {
        assert_eq!(word(&json!(" Debian\u{7} 12 ")).as_deref(), Some("Debian 12"));
        assert_eq!(word(&json!("x".repeat(1000))).map(|word| word.len()), Some(WORD_CHARS_MAX));
        assert_eq!(word(&json!("\n")), None);
        assert_eq!(word(&json!(7)), None);
    }
}
