//! Logging in to an account (RFC 6120 §4.3, §5-7; XEP-0198 §3, §5).

use minidom::Element;
use secrecy::SecretString;
use tokio::{
    io::{AsyncRead, AsyncWrite, BufWriter},
    net::TcpStream,
};
use xmpp_parsers::jid::Jid;

use crate::{
    LinkConfig, LoginError, ServerAddress, Tls, connect, dns, names, sasl,
    session::LoggedIn,
    sieve::{Dialect, Sieve},
    sm::{self, Sm, Ticket},
    tls,
    wire::{CLIENT, STREAM, Setback, Sieved, Socket, Wire, hear, in_time, open_stream, say},
};

const STARTTLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";

/// Connects, secures, authenticates, and resumes the stream of the ticket or binds a resource.
pub(crate) async fn log_in(
    config: &LinkConfig,
    jid: &Jid,
    password: &SecretString,
    elsewhere: Option<&ServerAddress>,
    ticket: Option<Ticket>,
) -> Result<LoggedIn, Setback> {
    let domain = dns::ascii(jid.domain().as_str())?;
    let direct = config.tls == Tls::Direct;
    let places = connect::places(elsewhere.unwrap_or(&config.server), &domain, direct).await?;
    let (tcp, place) = connect::dial(&places, config.answer_max).await?;
    in_time(config.answer_max, enter(tcp, place.direct, &domain, config, jid, password, ticket)).await
}

async fn enter(
    tcp: TcpStream,
    direct: bool,
    domain: &str,
    config: &LinkConfig,
    jid: &Jid,
    password: &SecretString,
    ticket: Option<Ticket>,
) -> Result<LoggedIn, Setback> {
    let tcp = match direct {
        true => tcp,
        false => start_tls(tcp, jid, config).await?,
    };
    let tls = tls::secure(tcp, domain, config.ca.as_deref(), direct).await?;
    let exporter = tls::exporter(tls.get_ref().1);
    let (mut wire, features) = stream(sieve(Box::new(tls), config), jid).await?;
    let user = jid.node().map(|node| node.as_str().to_owned()).unwrap_or_default();
    sasl::authenticate(&mut wire, &features, &user, password, exporter).await?;
    let mut sieve = wire.into_inner();
    sieve.restart();
    let (wire, features) = stream(sieve, jid).await?;
    settle(wire, &features, jid, ticket).await
}

fn sieve(socket: Box<dyn Socket>, config: &LinkConfig) -> Sieved {
    Sieve::new(BufWriter::new(socket), Dialect::Client, config.stanza_bytes_max)
}

/// Opens a stream and hears what the server offers on it.
async fn stream(sieve: Sieved, jid: &Jid) -> Result<(Wire, Element), Setback> {
    let (mut wire, _) = open_stream(sieve, jid.domain().as_str()).await?;
    let features = hear(&mut wire).await?;
    match features.is("features", STREAM) {
        true => Ok((wire, features)),
        false => Err(Setback::Broken(format!("<{}/> where features were due", features.name()))),
    }
}

/// Asks for TLS, which the server has to have. Gives the bare connection back, at the first byte of TLS.
async fn start_tls<S>(socket: S, jid: &Jid, config: &LinkConfig) -> Result<S, Setback>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let sieve = Sieve::new(socket, Dialect::Client, config.stanza_bytes_max);
    let (mut wire, _) = open_stream(sieve, jid.domain().as_str()).await?;
    let features = hear(&mut wire).await?;
    if features.get_child("starttls", STARTTLS).is_none() {
        return Err(Setback::Refused(LoginError::NoTls));
    }
    say(&mut wire, &Element::bare("starttls", STARTTLS)).await?;
    let answer = hear(&mut wire).await?;
    if !answer.is("proceed", STARTTLS) {
        return Err(Setback::Refused(LoginError::NoTls));
    }
    // RFC 6120 §5.4.3.3: what stands behind <proceed/> before TLS began is from nobody.
    wire.into_inner()
        .into_socket()
        .ok_or_else(|| Setback::Broken("bytes were slipped in before TLS began".to_owned()))
}

/// What comes after authentication: the old session resumed, or a new one (RFC 6120 §7).
async fn settle(
    mut wire: Wire,
    features: &Element,
    jid: &Jid,
    ticket: Option<Ticket>,
) -> Result<LoggedIn, Setback> {
    let manages = features.get_child("sm", sm::NS).is_some();
    let mut handled = None;
    if let Some(ticket) = ticket.filter(|_| manages) {
        say(&mut wire, &ticket.resume()).await?;
        let answer = hear(&mut wire).await?;
        let h = sm::counter(&answer);
        match (answer.is("resumed", sm::NS), h) {
            (true, Some(h)) => {
                return Ok(LoggedIn::resumed(wire, ticket.jid, h));
            }
            // Prosody leaves h out when it no longer knows the session; others say how far they got.
            _ if answer.is("failed", sm::NS) => handled = h,
            _ => return Err(Setback::Broken(format!("<{}/> where <resumed/> was due", answer.name()))),
        }
    }
    let mut early = Vec::new();
    let jid = bind(&mut wire, jid, &mut early).await?;
    let sm = match manages {
        true => enable(&mut wire, &jid, &mut early).await?,
        false => None,
    };
    Ok(LoggedIn { wire, jid, sm, resumed: None, handled, early })
}

/// Binds a resource: the one of the configured JID, or one of the server's choosing.
async fn bind(wire: &mut Wire, jid: &Jid, early: &mut Vec<Element>) -> Result<Jid, Setback> {
    let mut bind = Element::bare("bind", BIND);
    if let Some(resource) = jid.resource() {
        bind.append_child(Element::builder("resource", BIND).append(resource.as_str()).build());
    }
    let mut iq = names::element("iq", CLIENT, &[("type", "set"), ("id", "bind")]);
    iq.append_child(bind);
    say(wire, &iq).await?;
    loop {
        let answer = hear(wire).await?;
        if !(answer.is("iq", CLIENT) && answer.attr("id") == Some("bind")) {
            early.push(answer);
            check_early(early)?;
            continue;
        }
        let bound = answer
            .get_child("bind", BIND)
            .and_then(|bind| bind.get_child("jid", BIND))
            .and_then(|jid| Jid::new(jid.text().trim()).ok());
        return bound.filter(|_| answer.attr("type") == Some("result")).ok_or_else(|| {
            let condition = answer
                .get_child("error", CLIENT)
                .and_then(|error| error.children().next().map(|condition| condition.name().to_owned()));
            let why = condition.unwrap_or_else(|| "no address".to_owned());
            Setback::Refused(LoginError::Other { why: format!("it gave us no resource: {why}") })
        });
    }
}

/// Turns stream management on; `None` when the server would rather not.
async fn enable(wire: &mut Wire, jid: &Jid, early: &mut Vec<Element>) -> Result<Option<Sm>, Setback> {
    say(wire, &names::element("enable", sm::NS, &[("resume", "true")])).await?;
    loop {
        let answer = hear(wire).await?;
        if answer.is("enabled", sm::NS) {
            let resumable = matches!(answer.attr("resume"), Some("true" | "1"));
            let id = answer.attr("id").filter(|_| resumable).map(str::to_owned);
            return Ok(Some(Sm::enabled(id, jid.clone())));
        }
        if answer.is("failed", sm::NS) {
            return Ok(None);
        }
        early.push(answer);
        check_early(early)?;
    }
}

/// Stanzas may come as soon as there is a resource; not many do before the first presence.
fn check_early(early: &[Element]) -> Result<(), Setback> {
    match early.len() <= 64 {
        true => Ok(()),
        false => Err(Setback::Broken("the server does not come to the point".to_owned())),
    }
}
