//! The main job at a terminal by a client that nobody here wrote: Profanity, as a person types in it.
//!
//! It trusts the lab's authority and no other, and logs in over STARTTLS.

use std::{fs, path::Path};

use skerry_tests::{
    lab::{Lab, Wanted},
    terminal::Terminal,
};

/// How the host and its machine web1 are addressed over a kind of link.
struct Addresses {
    /// Whom one writes to.
    host: String,
    machine: String,
    /// What a line to the machine begins with.
    front: &'static str,
    /// Where commands are asked.
    host_commands: String,
    machine_commands: String,
    /// What the nodes of the machine's commands begin with.
    node: &'static str,
}

impl Addresses {
    fn of(lab: &Lab) -> Self {
        let host_commands = lab.host().jid.clone();
        let machine_commands = lab.record.machines[0].jid.clone();
        let (front, node) = match host_commands.contains('@') {
            true => ("web1 ", "machine/web1/"),
            false => ("", ""),
        };
        let bare = |jid: &str| jid.split('/').next().unwrap_or_default().to_owned();
        let (host, machine) = (bare(&host_commands), bare(&machine_commands));
        Self { host, machine, front, host_commands, machine_commands, node }
    }
}

/// Starts it with a home of its own, where it knows one account.
async fn profanity(lab: &Lab, home: &Path) -> Terminal {
    let (config, data) = (home.join("config"), home.join("data"));
    for folder in [config.join("profanity"), data.join("profanity")] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(config.join("profanity/profrc"), "[ui]\nroster=false\nsplash=false\n").unwrap();
    let (user, server) = (lab.user("admin"), &lab.record.server);
    let account = format!(
        "[admin]\nenabled=true\njid={}\npassword={}\nserver={}\nport={}\ntls.policy=force\nresource=terminal\n",
        user.jid, user.password, server.address, server.port
    );
    fs::write(data.join("profanity/accounts"), account).unwrap();
    let text = |path: &Path| path.display().to_string();
    let environment = [
        ("HOME", text(home)),
        ("XDG_CONFIG_HOME", text(&config)),
        ("XDG_DATA_HOME", text(&data)),
        ("SSL_CERT_FILE", text(&server.ca)),
        ("LC_ALL", "C.UTF-8".to_owned()),
    ];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Terminal::open(home, "profanity --account admin", &environment).await.unwrap()
}

/// What is typed, and what then comes to be seen.
async fn play(terminal: &mut Terminal, lines: &[(&str, &str)]) {
    for (typed, seen) in lines {
        terminal.line(typed).await.unwrap();
        if let Err(error) = terminal.see(seen).await {
            panic!("after {typed:?}: {error:#}");
        }
    }
}

async fn a_person_at_a_terminal(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).machines(1).up().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let on = Addresses::of(&lab);
    let mut terminal = profanity(&lab, home.path()).await;
    terminal.see("logged in successfully").await.unwrap();
    let (host, machine) = (format!("/msg {}", on.host), format!("/msg {}", on.machine));
    let said = |verb: &str| format!("{}{verb}", on.front);
    let list = format!("/cmd list {}", on.host_commands);
    let create = format!("/cmd exec create {}", on.host_commands);
    let delete = format!("/cmd exec {}delete {}", on.node, on.machine_commands);

    // In the chat. Profanity tells of no presence that comes before its roster does, so this is first.
    play(&mut terminal, &[(&machine, &on.machine), (&said("status"), "Off: never started yet")]).await;
    play(
        &mut terminal,
        &[
            (&machine, "Off: never started yet"),
            (&said("start"), "web1 is running."),
            (&said("kill"), "This cuts the power of web1"),
            ("yes", "web1 is stopped: its power was cut."),
        ],
    )
    .await;
    // Its presence meanwhile, told on the first window.
    play(&mut terminal, &[("/win 1", "is online, \"1 of 1 running\"")]).await;
    if link == "component" {
        terminal.see("(machine) is online, \"Running\"").await.unwrap();
        terminal.see("(machine) is xa, \"Off: its power was cut\"").await.unwrap();
    }

    // By forms; what comes of them stands in the chat with whom was asked, or else on the first window.
    let (host, machine) = if link == "single" { ("/win 1", "/win 1") } else { (&*host, &*machine) };
    play(
        &mut terminal,
        &[
            (host, &on.host),
            (&list, "whoami"),
            (&create, "Its name (required)"),
            ("/field1 db1", "Its name (required): db1"),
            ("/field2 linux", "[linux] linux"),
            ("/form submit", "Step 2 of 5"),
            ("/form submit", "Step 3 of 5"),
            ("/form submit", "Step 4 of 5"),
            ("/form submit", "Step 5 of 5"),
            ("/form submit", "State: stopped"),
            (host, "db1 was created"),
            (&delete, "This puts web1 into the trash"),
            ("/field1 on", "TRUE"),
            ("/form submit", "Name: web1"),
            (machine, "web1 is in the trash until"),
        ],
    )
    .await;
    drop(terminal);
    lab.down().await.unwrap();
}

#[tokio::test]
async fn profanity_does_the_main_job_with_components_on_prosody() {
    a_person_at_a_terminal("prosody", "component").await;
}

#[tokio::test]
async fn profanity_does_the_main_job_with_accounts_on_prosody() {
    a_person_at_a_terminal("prosody", "single").await;
}

#[tokio::test]
async fn profanity_does_the_main_job_with_components_on_ejabberd() {
    a_person_at_a_terminal("ejabberd", "component").await;
}

#[tokio::test]
async fn profanity_does_the_main_job_with_accounts_on_ejabberd() {
    a_person_at_a_terminal("ejabberd", "single").await;
}
