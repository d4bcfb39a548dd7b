//! A host's place on the server, taken by a test: a component (XEP-0114) that says whatever it is told to, as
//! any address of its own domain. Its agent does not run meanwhile.

use anyhow::{Context, Result, bail};
use sha1::{Digest, Sha1};
use skerry_link::{Link, LinkConfig, Login, ServerAddress};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{client::PATIENCE, lab::Host};

/// How a host logs in: address and port of its server, its domain, its secret.
struct Place {
    address: String,
    port: u16,
    domain: String,
    secret: String,
}

impl Place {
    fn of(host: &Host) -> Result<Self> {
        let config: toml::Table = toml::from_str(&std::fs::read_to_string(&host.config)?)?;
        let word = |key: &str| Some(config.get("link")?.get(key)?.as_str()?.to_owned());
        let [server, domain, file] = ["server", "jid", "secret_file"].map(word);
        let server = server.context("a server")?;
        let (address, port) = server.rsplit_once(':').context("a port")?;
        let secret = std::fs::read_to_string(file.context("a secret")?)?.trim().to_owned();
        Ok(Self { address: address.into(), port: port.parse()?, domain: domain.context("a domain")?, secret })
    }
}

/// The same by our own link, which comes back by itself: for those who only ask.
///
/// # Errors
/// The host's configuration is not that of a component.
pub fn link(host: &Host) -> Result<Link> {
    let Place { address, port, domain, secret } = Place::of(host)?;
    let login = Login::Component { domain: domain.parse()?, secret: secret.into() };
    let mut config = LinkConfig::new(login);
    config.server = ServerAddress::At(address, port);
    Ok(Link::open(config))
}

/// Logged in, with the whole stream in its hands.
pub struct Component {
    tcp: TcpStream,
    heard: String,
    /// Its domain.
    pub domain: String,
}

impl Component {
    /// Logs in.
    ///
    /// # Errors
    /// The server does not let us in.
    pub async fn log_in(host: &Host) -> Result<Self> {
        let Place { address, port, domain, secret } = Place::of(host)?;
        let tcp = TcpStream::connect((address.as_str(), port)).await?;
        let mut component = Self { tcp, heard: String::new(), domain };
        let header = format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' to='{}' \
             xmlns:stream='http://etherx.jabber.org/streams'>",
            component.domain
        );
        component.say(&header).await?;
        component.until("<stream:stream").await?;
        let header = component.until(">").await?.replace('"', "'");
        let id = header.split(" id='").nth(1).and_then(|rest| rest.split('\'').next()).context("no id")?;
        let digest = Sha1::new().chain_update(id).chain_update(&secret).finalize();
        let proof: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        component.say(&format!("<handshake>{proof}</handshake>")).await?;
        component.until("handshake").await?;
        component.until(">").await?;
        Ok(component)
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The server closed the connection.
    pub async fn say(&mut self, bytes: &str) -> Result<()> {
        timeout(PATIENCE, self.tcp.write_all(bytes.as_bytes())).await.context("it does not read")??;
        Ok(())
    }

    /// Reads until this was said; gives all up to and with it.
    ///
    /// # Errors
    /// It was not said, or the stream was closed: the error has what was said instead.
    pub async fn until(&mut self, words: &str) -> Result<String> {
        let mut buffer = vec![0; 16_384];
        loop {
            if let Some(at) = self.heard.find(words) {
                let rest = self.heard.split_off(at + words.len());
                return Ok(std::mem::replace(&mut self.heard, rest));
            }
            let read = timeout(PATIENCE, self.tcp.read(&mut buffer)).await;
            match read.with_context(|| format!("{words} was not said, but: {}", self.heard))? {
                Ok(0) | Err(_) => bail!("the stream was closed instead of {words}: {}", self.heard),
                Ok(read) => self.heard.push_str(&String::from_utf8_lossy(&buffer[..read])),
            }
        }
    }
}
