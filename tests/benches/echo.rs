//! A component that answers every question with the same bytes, and does nothing else: what the server
//! alone takes to carry a question there and an answer back. Nothing of Skerry is in its way.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, ensure};
use sha1::{Digest, Sha1};

/// Logs in (XEP-0114) and answers in a thread of its own until the server closes the stream.
///
/// # Errors
/// The server does not take it.
pub fn start(server: &str, domain: &str, secret: &str, payload: String) -> Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    write!(
        stream,
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
         to='{domain}'>"
    )?;
    let mut heard = String::new();
    let header = until(&mut stream, &mut heard, |heard| {
        let opened = heard.find("<stream:stream")?;
        heard[opened..].find('>').map(|end| opened + end + 1)
    })?;
    let id = attribute(&header, "id").context("a stream without an id")?;
    let digest = Sha1::digest(format!("{id}{secret}"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    write!(stream, "<handshake>{digest}</handshake>")?;
    let answer = until(&mut stream, &mut heard, |heard| heard.find('>').map(|end| end + 1))?;
    ensure!(answer.contains("handshake"), "not let in: {answer}");
    std::thread::spawn(move || {
        while let Ok(stanza) = until(&mut stream, &mut heard, a_question) {
            let (Some(id), Some(from), Some(to)) =
                (attribute(&stanza, "id"), attribute(&stanza, "from"), attribute(&stanza, "to"))
            else {
                continue;
            };
            let answer = format!("<iq type='result' id='{id}' from='{to}' to='{from}'>{payload}</iq>");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Where the first question ends. Whatever else comes is passed over with it.
fn a_question(heard: &str) -> Option<usize> {
    heard.find("</iq>").map(|end| end + "</iq>".len())
}

fn until(
    stream: &mut TcpStream,
    heard: &mut String,
    end: impl Fn(&str) -> Option<usize>,
) -> std::io::Result<String> {
    let mut buffer = [0; 16_384];
    loop {
        if let Some(end) = end(heard) {
            let rest = heard.split_off(end);
            return Ok(std::mem::replace(heard, rest));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => heard.push_str(&String::from_utf8_lossy(&buffer[..read])),
        }
    }
}

/// An attribute of the last `<iq>` or stream header in it, whichever quotes the server likes.
fn attribute(stanza: &str, name: &str) -> Option<String> {
    let from = stanza.rfind("<iq").or_else(|| stanza.rfind("<stream:stream"))?;
    let tag = &stanza[from..from + stanza[from..].find('>')?];
    let at = tag.find(&format!(" {name}="))? + name.len() + 2;
    let quote = tag[at..].chars().next()?;
    let value = &tag[at + 1..];
    Some(value[..value.find(quote)?].to_owned())
}
