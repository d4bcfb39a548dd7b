//! SASL (RFC 6120 §6): SCRAM (RFC 5802, RFC 7677) over TLS and nothing else.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minidom::Element;
use sasl::{
    client::{Mechanism, mechanisms::Scram},
    common::{
        ChannelBinding,
        scram::{Sha1, Sha256},
    },
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    LoginError,
    wire::{Setback, Wire, hear, say},
};

const NS: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// XEP-0440.
const CHANNEL_BINDINGS: &str = "urn:xmpp:sasl-cb:0";
/// The most rounds of hashing a server may ask for: a second or two of work.
const ITERATIONS_MAX: u32 = 1_000_000;

/// Proves to be `user`. `exporter` is the tls-exporter data of the connection, when there is any.
pub(crate) async fn authenticate(
    wire: &mut Wire,
    features: &Element,
    user: &str,
    password: &SecretString,
    exporter: Option<Vec<u8>>,
) -> Result<(), Setback> {
    let choice = choose(features, exporter)?;
    tracing::debug!(mechanism = choice.name, "authenticating");
    let mut mechanism = choice.mechanism(user, password)?;
    let first = mechanism.initial();
    let nonce = client_nonce(&first).ok_or_else(|| broken("no nonce"))?;
    let auth = Element::builder("auth", NS)
        .attr(crate::names::attr("mechanism"), choice.name)
        .append(STANDARD.encode(first))
        .build();
    say(wire, &auth).await?;
    let challenge = payload(&expect(wire, "challenge").await?)?;
    check_challenge(&challenge, &nonce)?;
    // Thousands of rounds of hashing: not on a thread that others wait for.
    let (mut mechanism, response) = tokio::task::spawn_blocking(move || {
        let response = mechanism.response(&challenge);
        (mechanism, response)
    })
    .await
    .map_err(broken)?;
    let response = STANDARD.encode(response.map_err(broken)?);
    say(wire, &Element::builder("response", NS).append(response).build()).await?;
    let success = payload(&expect(wire, "success").await?)?;
    // The server proves here that it knows the password too.
    mechanism.success(&success).map_err(broken)
}

/// A mechanism, and how it is bound to the connection.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    name: &'static str,
    binding: ChannelBinding,
}

impl Choice {
    fn mechanism(&self, user: &str, password: &SecretString) -> Result<Box<dyn Mechanism + Send>, Setback> {
        // RFC 5802 §5.1; the crate puts the name in as it is.
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let password = password.expose_secret();
        let binding = self.binding.clone();
        Ok(match self.name.contains("256") {
            true => Box::new(Scram::<Sha256>::new(user, password, binding).map_err(|_| no_random())?),
            false => Box::new(Scram::<Sha1>::new(user, password, binding).map_err(|_| no_random())?),
        })
    }
}

/// The best mechanism that both sides have. Binding to the channel needs a server that says it can do it by
/// tls-exporter (XEP-0440): one that offers `-PLUS` and says nothing means another binding, or a broken one.
fn choose(features: &Element, exporter: Option<Vec<u8>>) -> Result<Choice, Setback> {
    let offered: Vec<String> = features
        .get_child("mechanisms", NS)
        .map(|list| list.children().map(|mechanism| mechanism.text().trim().to_owned()).collect())
        .unwrap_or_default();
    let offers = |name: &str| offered.iter().any(|offer| offer == name);
    let announced = features
        .get_child("sasl-channel-binding", CHANNEL_BINDINGS)
        .is_some_and(|list| list.children().any(|binding| binding.attr("type") == Some("tls-exporter")));
    if let (true, Some(data)) = (announced, &exporter) {
        for name in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"] {
            if offers(name) {
                return Ok(Choice { name, binding: ChannelBinding::TlsExporter(data.clone()) });
            }
        }
    }
    // "y" (Unsupported) says: we could, and believe that you cannot. A server that can would then know
    // that somebody took -PLUS out of its list. Where it is in the list, the honest word is "n" (None).
    let plus = offered.iter().any(|offer| offer.ends_with("-PLUS"));
    let binding = match exporter.is_some() && !plus && !announced {
        true => ChannelBinding::Unsupported,
        false => ChannelBinding::None,
    };
    for name in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
        if offers(name) {
            return Ok(Choice { name, binding });
        }
    }
    let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
    Err(Setback::Refused(LoginError::NoMechanism { offered }))
}

/// The next element, which has to be this one; a `failure` is a refusal.
async fn expect(wire: &mut Wire, name: &str) -> Result<Element, Setback> {
    let element = hear(wire).await?;
    if element.is(name, NS) {
        return Ok(element);
    }
    if !element.is("failure", NS) {
        return Err(broken(format!("<{}/> where <{name}/> was due", element.name())));
    }
    let text = element.get_child("text", NS).map(Element::text).filter(|text| !text.is_empty());
    let condition = element.children().map(Element::name).find(|name| *name != "text").unwrap_or("failure");
    Err(match condition {
        "not-authorized" | "credentials-expired" | "account-disabled" | "invalid-authzid" => {
            tracing::debug!(condition, text, "authentication failed");
            Setback::Refused(LoginError::Credentials)
        }
        "temporary-auth-failure" => Setback::Broken("the server cannot check passwords just now".to_owned()),
        other => {
            let why = text.map_or_else(|| other.to_owned(), |text| format!("{other} ({text})"));
            Setback::Refused(LoginError::Other { why })
        }
    })
}

fn payload(element: &Element) -> Result<Vec<u8>, Setback> {
    match element.text().trim() {
        "" | "=" => Ok(Vec::new()),
        text => STANDARD.decode(text).map_err(broken),
    }
}

/// Our nonce in the first message, `n,,n=user,r=nonce`.
fn client_nonce(first: &[u8]) -> Option<String> {
    let first = std::str::from_utf8(first).ok()?;
    first.split(',').find_map(|field| field.strip_prefix("r=")).map(str::to_owned)
}

/// What the crate does not check: that the challenge answers our nonce, and that it asks for an amount of
/// hashing that a login may cost.
fn check_challenge(challenge: &[u8], nonce: &str) -> Result<(), Setback> {
    let challenge = std::str::from_utf8(challenge).map_err(broken)?;
    let field = |key: &str| challenge.split(',').find_map(|field| field.strip_prefix(key));
    if !field("r=").is_some_and(|theirs| theirs.len() > nonce.len() && theirs.starts_with(nonce)) {
        return Err(broken("the challenge does not answer our nonce"));
    }
    match field("i=").and_then(|rounds| rounds.parse::<u32>().ok()) {
        Some(1..=ITERATIONS_MAX) => Ok(()),
        _ => Err(broken("the challenge asks for too many rounds of hashing, or none")),
    }
}

fn no_random() -> Setback {
    broken("this system gives no random numbers")
}

fn broken(why: impl std::fmt::Display) -> Setback {
    Setback::Refused(LoginError::Other { why: format!("while authenticating: {why}") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn features(mechanisms: &[&str], binding: Option<&str>) -> Element {
        let list: String = mechanisms.iter().map(|name| format!("<mechanism>{name}</mechanism>")).collect();
        let binding = binding.map_or(String::new(), |kind| {
            format!(
                "<sasl-channel-binding xmlns='{CHANNEL_BINDINGS}'><channel-binding type='new-one'/>\
                 <channel-binding type='{kind}'/></sasl-channel-binding>"
            )
        });
        format!("<features xmlns='x'><mechanisms xmlns='{NS}'>{list}</mechanisms>{binding}</features>")
            .parse()
            .unwrap()
    }

    fn chosen(mechanisms: &[&str], binding: Option<&str>, exporter: bool) -> (&'static str, ChannelBinding) {
        let choice = choose(&features(mechanisms, binding), exporter.then(|| vec![7])).unwrap();
        (choice.name, choice.binding)
    }

    #[test]
    fn the_channel_is_bound_only_when_the_server_announces_it() {
        use ChannelBinding::{None as No, TlsExporter, Unsupported};
        let all = ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];
        let exporter = Some("tls-exporter");
        assert_eq!(chosen(&all, exporter, true), ("SCRAM-SHA-256-PLUS", TlsExporter(vec![7])));
        assert_eq!(chosen(&all, exporter, false), ("SCRAM-SHA-256", No));
        assert_eq!(
            chosen(&all, None, true),
            ("SCRAM-SHA-256", No),
            "ejabberd 23.01: -PLUS that does not work"
        );
        assert_eq!(chosen(&all, Some("tls-unique"), true), ("SCRAM-SHA-256", No));
        assert_eq!(chosen(&["SCRAM-SHA-1", "PLAIN"], None, true), ("SCRAM-SHA-1", Unsupported));
        assert_eq!(chosen(&["SCRAM-SHA-1", "PLAIN"], None, false), ("SCRAM-SHA-1", No));
    }

    #[test]
    fn a_password_is_never_sent_as_it_is() {
        for offered in [&["PLAIN", "DIGEST-MD5", "X-OAUTH2"][..], &[]] {
            let refusal = choose(&features(offered, None), Some(vec![7])).unwrap_err();
            assert!(matches!(refusal, Setback::Refused(LoginError::NoMechanism { .. })), "{refusal:?}");
        }
    }

    #[test]
    fn challenges_are_checked_before_they_cost_anything() {
        assert!(check_challenge(b"r=abcdef,s=QSXC,i=4096", "abc").is_ok());
        for bad in
            ["r=abd,s=QSXC,i=4096", "r=abc,s=x,i=4096", "s=x", "r=abcdef,s=x,i=4294967295", "r=abcdef,i=0"]
        {
            assert!(check_challenge(bad.as_bytes(), "abc").is_err(), "{bad}");
        }
        assert_eq!(client_nonce(b"n,,n=a=2Cb,r=xyz=").as_deref(), Some("xyz="));
    }
}
