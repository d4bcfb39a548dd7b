//! What the server needs to be told, word for word, and the agent's own configuration.

use std::path::Path;

use xmpp_parsers::jid::BareJid;

use super::{LinkKind, ServerKind, Setup};

/// Where components connect to. Prosody lets each speak for its own domain alone. ejabberd does not keep
/// those of one listener from speaking for each other, so there each host has one, at a port that follows
/// from its name.
pub(super) fn listener(kind: ServerKind, jid: &BareJid) -> String {
    let port = match kind {
        ServerKind::Prosody => 5347,
        // FNV-1a, into a thousand ports that are neither privileged nor handed out by the system itself.
        ServerKind::Ejabberd => {
            let hash = jid
                .as_str()
                .bytes()
                .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
            15_000 + hash % 1000
        }
    };
    format!("127.0.0.1:{port}")
}

/// What goes into the text.
pub(super) struct Snippet<'a> {
    pub(super) kind: ServerKind,
    pub(super) link: LinkKind,
    pub(super) jid: &'a BareJid,
    pub(super) server: Option<&'a str>,
    pub(super) secret: &'a str,
}

impl Snippet<'_> {
    /// For the server's administrator.
    pub(super) fn text(&self, secret_file: &Path) -> String {
        match (self.kind, self.link) {
            (ServerKind::Prosody, LinkKind::Component) => self.prosody_component(),
            (ServerKind::Ejabberd, LinkKind::Component) => self.ejabberd_component(),
            (ServerKind::Prosody, LinkKind::Single) => self.prosody_account(secret_file),
            (ServerKind::Ejabberd, LinkKind::Single) => self.ejabberd_account(secret_file),
        }
    }

    /// The server's own domain, as far as it can be guessed: what the component's is below.
    fn parent(&self) -> &str {
        let domain = self.jid.domain().as_str();
        domain.split_once('.').map_or(domain, |(_, parent)| parent)
    }

    fn port(&self) -> &str {
        self.server.and_then(|server| server.rsplit_once(':')).map_or("5347", |(_, port)| port)
    }

    fn prosody_component(&self) -> String {
        let (jid, secret, port, parent) = (self.jid, self.secret, self.port(), self.parent());
        format!(
            r#"Put this into /etc/prosody/prosody.cfg.lua, and restart Prosody. Above the first VirtualHost:

-- For all hosts: the port components connect to, on loopback only, as it has no TLS.
component_ports = {{ {port} }}
component_interfaces = {{ "127.0.0.1" }}
-- Otherwise each answer to a client waits 40 ms for the client's acknowledgement.
network_settings = {{ nagle = false }}

At the end:

Component "{jid}"
    component_secret = "{secret}"

People find the host by themselves when this stands below VirtualHost "{parent}":

    disco_items = {{ {{ "{jid}", "Machines" }} }}
"#
        )
    }

    fn ejabberd_component(&self) -> String {
        let (jid, secret, port) = (self.jid, self.secret, self.port());
        format!(
            r#"Put this below `listen:` in /etc/ejabberd/ejabberd.yml, and reload ejabberd:

  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_service
    access: all
    shaper: none
    check_from: true
    # Otherwise this host would be sent what is meant for others.
    global_routes: false
    hosts:
      "{jid}":
        password: "{secret}"

This port and its secret are this host's alone: ejabberd lets components of one port speak in each other's
names, so each host has a port of its own. Is {port} taken, write another one here and as `server` in the
agent's configuration. People find the host by themselves when mod_disco is told:

  mod_disco:
    extra_domains:
      - "{jid}"
"#
        )
    }

    fn prosody_account(&self, secret_file: &Path) -> String {
        let (jid, file) = (self.jid, secret_file.display());
        format!(
            r#"Make the account, and give it as password the line in {file}:

  prosodyctl adduser {jid}

In /etc/prosody/prosody.cfg.lua these help, and cost nothing:

network_settings = {{ nagle = false }}   -- otherwise each answer waits 40 ms
pep_max_items = 10000                   -- so that the state of every machine can be published
unlimited_jids = {{ "{jid}" }}           -- mod_limits: a host has more to say than a person
"#
        )
    }

    fn ejabberd_account(&self, secret_file: &Path) -> String {
        let (jid, file) = (self.jid, secret_file.display());
        let node = self.jid.node().map_or("", |node| node.as_str());
        let domain = self.jid.domain();
        format!(
            r#"Make the account, and give it as password the line in {file}: in the web
administration, or (the password is to be seen in the process list for a moment) with

  ejabberdctl register {node} {domain} "$(cat {file})"

A host has more to say than a person, for whom 3 kB a second are enough. In /etc/ejabberd/ejabberd.yml
each of these sections is there already; add to it what is not (a section may stand there only once):

acl:
  machines:
    user: ["{jid}"]
shaper_rules:
  c2s_shaper:             # this list in place of what is there
    - none: admin
    - none: machines
    - normal: all
modules:
  mod_pubsub:
    max_items_node: 1000  # so that the state of every machine can be published
"#
        )
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The agent's configuration.
pub(super) fn agent_toml(
    snippet: &Snippet<'_>,
    setup: &Setup,
    secret_file: &Path,
    admins: &[BareJid],
) -> String {
    let path = |path: &Path| quoted(&path.to_string_lossy());
    let mut lines = vec!["# Written by skerry-agent setup.".to_owned()];
    lines.extend(setup.name.as_deref().map(|name| format!("name = {}", quoted(name))));
    lines.push(format!("state = {}", path(&setup.state)));
    lines.push("\n[link]".to_owned());
    let kind = match snippet.link {
        LinkKind::Component => "component",
        LinkKind::Single => "single",
    };
    lines.push(format!("kind = {}", quoted(kind)));
    lines.push(format!("jid = {}", quoted(snippet.jid.as_str())));
    lines.extend(snippet.server.map(|server| format!("server = {}", quoted(server))));
    lines.push(format!("secret_file = {}", path(secret_file)));
    lines.extend(setup.ca.as_deref().map(|ca| format!("ca = {}", path(ca))));
    lines.push("\n# Addresses, or whole domains. Who is not here is nobody.\n[roles]".to_owned());
    let admins: Vec<String> = admins.iter().map(|jid| quoted(jid.as_str())).collect();
    lines.push(format!("admin = [{}]", admins.join(", ")));
    lines.push("operator = []\nviewer = []".to_owned());
    lines.push("\n# What machines are made from: name a kernel, or a disk.".to_owned());
    lines.push("# [images.debian]\n# disk = \"/var/lib/skerry/images/debian.qcow2\"\n".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use clap::Parser;
    use skerry_agent::config::Config;

    use super::*;

    #[derive(Parser)]
    struct Wrapped {
        #[command(flatten)]
        setup: Setup,
    }

    fn snippet<'a>(kind: ServerKind, link: LinkKind, jid: &'a BareJid) -> Snippet<'a> {
        Snippet { kind, link, jid, server: Some("127.0.0.1:5347"), secret: "s3cret" }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let jid: BareJid = "kvm1.example.org".parse().unwrap();
        let admin: BareJid = "ann@example.org".parse().unwrap();
        let setup = Wrapped::parse_from(["setup", "--name", "kvm \"one\"", "--ca", "/etc/ca.crt"]).setup;
        let snippet = snippet(ServerKind::Prosody, LinkKind::Component, &jid);
        let text = agent_toml(&snippet, &setup, Path::new("/etc/skerry/secret"), &[admin]);
        let config = Config::parse(&text, Path::new("agent.toml")).unwrap();
        assert_eq!(config.name, "kvm \"one\"");
        assert_eq!(config.link.jid, jid);
        assert_eq!(config.roles.admin, ["ann@example.org"]);
        assert!(!text.contains("s3cret"), "the secret has a file of its own");
    }

    #[test]
    fn each_host_has_a_port_of_its_own_on_ejabberd() {
        let at = |kind, n: u32| listener(kind, &format!("kvm{n}.example.org").parse().unwrap());
        assert_eq!(at(ServerKind::Prosody, 1), "127.0.0.1:5347");
        assert_eq!(at(ServerKind::Ejabberd, 1), at(ServerKind::Ejabberd, 1), "the same in a second setup");
        let ports: std::collections::BTreeSet<String> =
            (1..=10).map(|n| at(ServerKind::Ejabberd, n)).collect();
        assert_eq!(ports.len(), 10);
    }

    #[test]
    fn each_server_is_told_what_it_needs() {
        let domain: BareJid = "kvm1.example.org".parse().unwrap();
        let account: BareJid = "kvm1@example.org".parse().unwrap();
        let file = Path::new("/etc/skerry/secret");
        let prosody = snippet(ServerKind::Prosody, LinkKind::Component, &domain).text(file);
        assert!(prosody.contains("Component \"kvm1.example.org\"\n    component_secret = \"s3cret\""));
        assert!(prosody.contains("VirtualHost \"example.org\""));
        let ejabberd = snippet(ServerKind::Ejabberd, LinkKind::Component, &domain).text(file);
        assert!(ejabberd.contains("global_routes: false") && ejabberd.contains("port: 5347"));
        // Whoever has the secret of one host speaks as no other: nothing of another stands at its port.
        assert!(!ejabberd.contains("last two lines") && ejabberd.contains("each host has a port of its own"));
        for kind in [ServerKind::Prosody, ServerKind::Ejabberd] {
            let text = snippet(kind, LinkKind::Single, &account).text(file);
            assert!(text.contains("/etc/skerry/secret") && !text.contains("s3cret"), "{text}");
        }
        let rules = snippet(ServerKind::Ejabberd, LinkKind::Single, &account).text(file);
        let whole = ["- none: admin", "- none: machines", "- normal: all"];
        assert!(whole.iter().all(|rule| rules.contains(rule)), "one list, not mixed with a mapping: {rules}");
    }
}
