//! ejabberd, run from the lab's folder: its configuration, its accounts, how it is started.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{
    neighbours,
    part::{Launch, Part},
    site::{Site, filled, make_dir, write},
};

/// Run inside the server once it is up: registers the accounts, then says that it is done. An account
/// that is there already (after a restart) is well.
const AFTER_START: &str = r#"{ok, Accounts} = file:consult("accounts"),
    lists:foreach(fun({Name, Domain, Password}) ->
        case ejabberd_auth:try_register(Name, Domain, Password) of
            ok -> ok;
            {error, exists} -> ok
        end
    end, Accounts),
    ok = file:write_file("ready", <<>>)."#;

/// Writes all that ejabberd needs, and says how to start it.
pub(super) fn prepare(site: &Site) -> Result<Part> {
    let dir = site.server_dir();
    make_dir(&dir.join("db"))?;
    write(&dir.join("ejabberd.yml"), &configure(site))?;
    let accounts = site.accounts().into_iter().fold(String::new(), |mut terms, (name, password)| {
        let _ = writeln!(
            terms,
            "{{<<{}>>, <<{}>>, <<{}>>}}.",
            quoted(name),
            quoted(&site.domain),
            quoted(password)
        );
        terms
    });
    write(&dir.join("accounts"), &accounts)?;
    let text = |path: PathBuf| path.display().to_string();
    write(&dir.join("neighbours"), &neighbours::in_erlang(&site.neighbours))?;
    let environment = BTreeMap::from([
        ("HOME".to_owned(), text(dir.clone())),
        ("EJABBERD_CONFIG_PATH".to_owned(), text(dir.join("ejabberd.yml"))),
        ("EJABBERD_LOG_PATH".to_owned(), text(dir.join("ejabberd.log"))),
        ("EJABBERD_PID_PATH".to_owned(), text(dir.join("ejabberd.pid"))),
        ("ERL_LIBS".to_owned(), text(libraries()?)),
        ("ERL_CRASH_DUMP".to_owned(), text(dir.join("erl_crash.dump"))),
    ]);
    // Not by ejabberdctl, which Debian lets only root and ejabberd run. No -sname: no epmd, no cookie,
    // no port but those in the configuration. +sbwt: an idle server burns no processor.
    let arguments = [
        "-noinput -noshell +sbwt none +sbwtdcpu none +sbwtdio none -mnesia dir".split(' ').collect(),
        vec!["\"db\"", "-s", "ejabberd"],
        if site.s2s.is_some() { vec!["-eval", neighbours::RESOLVER] } else { Vec::new() },
        vec!["-eval", AFTER_START],
    ]
    .concat();
    let launch = Launch {
        program: "erl".into(),
        arguments: arguments.into_iter().map(str::to_owned).collect(),
        environment,
        log: dir.join("server.log"),
        directory: dir,
    };
    Ok(Part { name: "server".to_owned(), launch })
}

/// Where Debian keeps ejabberd's code: `/usr/lib/<architecture>`.
fn libraries() -> Result<PathBuf> {
    let here = |dir: &Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("ejabberd-"))
    };
    std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .find(|dir| here(dir))
        .context("ejabberd is not installed here (apt install ejabberd)")
}

/// The configuration. No shaper for clients: a lab must not be slower than what is tried in it.
/// `global_routes: false`: else each component would get the stanzas of all others.
fn configure(site: &Site) -> String {
    let dir = site.server_dir();
    let text = |path: &Path| quoted(&path.display().to_string());
    let components = site.components();
    let secrets = components.iter().fold(String::new(), |mut lines, (domain, secret)| {
        let _ = write!(lines, "\n      {}: {{password: {}}}", quoted(domain), quoted(secret));
        lines
    });
    let service = format!(
        "\n  - port: {}\n    ip: \"127.0.0.1\"\n    module: ejabberd_service\n    access: all\n    \
         shaper: none\n    check_from: true\n    global_routes: false\n    hosts:{secrets}",
        site.ports.component
    );
    let s2s = site.s2s.map_or_else(String::new, |address| {
        format!("\n  - port: 5269\n    ip: \"{address}\"\n    module: ejabberd_s2s_in\n    shaper: none")
    });
    let dialback = site
        .s2s
        .map_or("", |_| "\n  mod_s2s_dialback: {}\n\ns2s_use_starttls: required\ns2s_max_retry_delay: 1");
    let hosts: Vec<String> = components.iter().map(|(domain, _)| quoted(domain)).collect();
    filled(
        include_str!("ejabberd.yml"),
        &[
            ("DOMAIN", site.domain.clone()),
            ("CERTIFICATE", text(&site.tls().join("server.pem"))),
            ("CA", text(&site.ca())),
            ("CLIENT", site.ports.client.to_string()),
            ("CLIENT_TLS", site.ports.client_tls.to_string()),
            ("HTTP", site.ports.http.to_string()),
            ("HTTPS", site.ports.https.to_string()),
            ("SERVICE", if components.is_empty() { String::new() } else { service }),
            ("S2S", s2s),
            ("DIALBACK", dialback.to_owned()),
            ("EXTRA_DOMAINS", hosts.join(", ")),
            ("UPLOADS", text(&dir.join("upload"))),
        ],
    )
}

/// A string in double quotes, for YAML and for Erlang alike.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
