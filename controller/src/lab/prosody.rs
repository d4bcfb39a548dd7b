//! Prosody, run from the lab's folder: its configuration, its accounts, how it is started.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::Result;

use super::{
    neighbours,
    part::{Launch, Part},
    site::{Site, filled, make_dir, write},
};

/// Writes all that Prosody needs, and says how to start it.
pub(super) fn prepare(site: &Site) -> Result<Part> {
    let dir = site.server_dir();
    let configuration = dir.join("prosody.cfg.lua");
    write(&configuration, &configure(site))?;
    let accounts = dir.join("data").join(encoded(&site.domain)).join("accounts");
    make_dir(&accounts)?;
    for (name, password) in site.accounts() {
        // Prosody hashes it when the account first logs in. Put here and not with prosodyctl, which
        // takes passwords as arguments that everybody on the machine can read meanwhile.
        let account = format!("return {{ [\"password\"] = {} }};\n", quoted(password));
        write(&accounts.join(format!("{name}.dat")), &account)?;
    }
    neighbours::write_module(&dir)?;
    let launch = Launch {
        program: "prosody".into(),
        arguments: vec!["--config".to_owned(), configuration.display().to_string(), "-F".to_owned()],
        environment: BTreeMap::new(),
        log: dir.join("server.log"),
        directory: dir,
    };
    Ok(Part { name: "server".to_owned(), launch })
}

/// The configuration. No `limits`: a lab must not be slower than what is tried in it. No Nagle, which
/// costs clients with stream management 40 ms a request. No server-to-server but with other labs: it is
/// private.
fn configure(site: &Site) -> String {
    let dir = site.server_dir();
    let text = |path: &Path| quoted(&path.display().to_string());
    // A lab runs as whoever starts it; to root, Prosody wants to hear that this is meant.
    let as_root = if nix::unistd::geteuid().is_root() { "run_as_root = true\n" } else { "" };
    let mut lua = filled(
        include_str!("prosody.cfg.lua"),
        &[
            ("AS_ROOT", as_root.to_owned()),
            ("PIDFILE", text(&dir.join("prosody.pid"))),
            ("DATA", text(&dir.join("data"))),
            ("CLIENT", site.ports.client.to_string()),
            ("CLIENT_TLS", site.ports.client_tls.to_string()),
            ("COMPONENT", site.ports.component.to_string()),
            ("HTTP", site.ports.http.to_string()),
            ("HTTPS", site.ports.https.to_string()),
            ("S2S", server_to_server(site)),
            ("S2S_MODULES", site.s2s.map_or("", |_| "\"dialback\", \"lab_neighbours\",").to_owned()),
            ("DOMAIN", site.domain.clone()),
            ("CERTIFICATE", text(&site.tls().join("server.crt"))),
            ("KEY", text(&site.tls().join("server.key"))),
            ("TLS", text(&site.tls())),
        ],
    );
    for (domain, secret) in site.components() {
        // The default for a second connection of one component, kept: the second one is refused.
        let _ = write!(lua, "\nComponent {}\n  component_secret = {}\n", quoted(&domain), quoted(secret));
    }
    lua
}

/// To other servers: where, and to which; none when the lab is by itself. Certificates of other labs prove
/// nothing here, so who they are is asked where they are (dialback).
fn server_to_server(site: &Site) -> String {
    let Some(address) = site.s2s else {
        return "s2s_ports = { }\nmodules_disabled = { \"s2s\" }".to_owned();
    };
    format!(
        "s2s_interfaces = {{ \"{address}\" }}\ns2s_ports = {{ 5269 }}\nplugin_paths = {{ {} }}\n\
         lab_neighbours = {{ {}}}",
        quoted(&site.server_dir().display().to_string()),
        neighbours::in_lua(&site.neighbours),
    )
}

/// A name as Prosody writes it in file names: all but letters and digits by number.
fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = match byte.is_ascii_alphanumeric() {
            true => write!(encoded, "{}", char::from(byte)),
            false => write!(encoded, "%{byte:02x}"),
        };
        encoded
    })
}

/// A Lua string: every byte that could end it or mean something in it by number.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        let _ = match byte {
            b'"' | b'\\' | 0..=31 | 127..=255 => write!(quoted, "\\{byte:03}"),
            _ => write!(quoted, "{}", char::from(byte)),
        };
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{encoded, quoted};

    #[test]
    fn a_lua_string_cannot_be_left() {
        assert_eq!(quoted(r#"a"b\c"#), r#""a\034b\092c""#);
        assert_eq!(quoted("line\nbreak"), r#""line\010break""#);
    }

    #[test]
    fn file_names_are_written_as_prosody_does() {
        assert_eq!(encoded("skerry.test"), "skerry%2etest");
    }
}
