//! The page of numbers, read by those it is for: Prometheus itself, and the parsers of its client library.

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use hypervisor_core::driver::fake::Fake;
use serde_json::Value;
use skerry_agent::{
    agent::Agent,
    asked::{Answer, Asked, Door, Target},
    config::{Config, PrometheusListen},
    prometheus::Prometheus,
};
use skerry_stanzas::command::{COMMANDS, Object};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
};

const ANN: &str = "ann@example.org/phone";
/// For something to happen on a busy machine. Nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(120);

async fn create(agent: &Agent, words: &[&str]) {
    let declared = |d: &&_| -> bool {
        let d: &skerry_stanzas::command::Declaration = d;
        d.object == Object::Host && d.verb == "create"
    };
    let asked = Asked {
        caller: xmpp_parsers::jid::Jid::new(ANN).unwrap(),
        target: Target::Host,
        declaration: COMMANDS.iter().find(declared).unwrap(),
        argv: words.iter().map(|word| (*word).to_owned()).collect(),
        door: Door::Adhoc,
        key: None,
        patience: PATIENCE,
        hops: Vec::new(),
        together: None,
        signature: None,
    };
    let answer = agent.ask(asked, None).await;
    assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
}

/// An agent with one machine that runs and one that does not, whose numbers are at this address.
async fn numbers(folder: &Path) -> (Agent, SocketAddr, tokio::task::JoinHandle<()>) {
    for file in ["secret", "vmlinuz"] {
        std::fs::write(folder.join(file), "hush\n").unwrap();
    }
    let text = format!(
        "name = \"kvm1\"\nstate = \"{0}/state\"\n[link]\nkind = \"component\"\njid = \"kvm1.example.org\"\n\
         server = \"127.0.0.1:1\"\nsecret_file = \"{0}/secret\"\n[roles]\nadmin = [\"ann@example.org\"]\n\
         [drivers]\nenabled = [\"fake\"]\n[images.linux]\nkernel = \"{0}/vmlinuz\"\n",
        folder.display()
    );
    let config = Config::parse(&text, &folder.join("agent.toml")).unwrap();
    let agent = Agent::open(config, vec![Arc::new(Fake::new())]).await.unwrap();
    // A name that a careless writer of labels would break at.
    create(&agent, &["--name=my häuser", "--image=linux", "--start"]).await;
    create(&agent, &["--name=web2", "--image=linux", "--disk=data,1G"]).await;
    let page = Prometheus::listen(&PrometheusListen::Tcp(([127, 0, 0, 1], 0).into())).await.unwrap();
    let address = page.address().unwrap();
    let serving = tokio::spawn(page.serve(agent.clone()));
    (agent, address, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parsers_of_its_client_library_read_the_numbers() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = top.join("build/python/bin/python");
    assert!(python.exists(), "scripts/test acceptance installs prometheus-client into build/python");
    let folder = tempfile::tempdir().unwrap();
    let (agent, address, serving) = numbers(folder.path()).await;
    let read = Command::new(python)
        .arg(top.join("tests/clients/read_numbers.py"))
        .arg(format!("http://{address}/metrics"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let found: Value = serde_json::from_slice(&read.stdout).unwrap();
    for (family, kind) in [
        ("skerry_machines", "gauge"),
        ("skerry_commands", "counter"),
        ("skerry_machine_cpu_seconds", "counter"),
        ("skerry_host_memory_bytes", "gauge"),
    ] {
        assert_eq!(found["type"][family], kind, "{found}");
    }
    for (sample, value) in [
        ("skerry_machines{state=running}", 1.0),
        ("skerry_machines{state=stopped}", 1.0),
        ("skerry_commands_total{command=host.create,outcome=done}", 2.0),
        ("skerry_machine_memory_bytes{machine=my häuser}", 536_870_912.0),
    ] {
        assert_eq!(found["value"][sample], value, "{sample} in {found}");
    }
    serving.abort();
    agent.close().await;
}

/// What its HTTP interface answers, once it does.
async fn api(address: SocketAddr, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /api/v1/{path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// The value of a query as soon as it has one.
async fn value(address: SocketAddr, query: &str) -> String {
    let begun = Instant::now();
    loop {
        let answer = api(address, &format!("query?query={query}")).await.unwrap_or_default();
        if let Some(value) = answer["data"]["result"][0]["value"][1].as_str() {
            return value.to_owned();
        }
        assert!(begun.elapsed() < PATIENCE, "never: {query}: {answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_itself_takes_every_number_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, address, serving) = numbers(folder.path()).await;
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: skerry\n  static_configs:\n\
         \x20 - targets: ['{address}']\n"
    );
    std::fs::write(&config, text).unwrap();
    // Free a moment ago; whoever takes it in between makes the start fail, and that is told.
    let own = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut server = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={own}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("Debian's prometheus is not here: scripts/test acceptance installs it");
    assert_eq!(value(own, "up").await, "1", "it could not read the page");
    assert_eq!(value(own, "skerry_machines%7Bstate=%22running%22%7D").await, "1");
    assert_eq!(
        value(own, "skerry_machine_memory_bytes%7Bmachine=%22my%20h%C3%A4user%22%7D").await,
        "536870912"
    );
    // Nothing of the page was left out, and it knows what each is.
    let page = skerry_page(address).await;
    let samples = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(value(own, "scrape_samples_scraped").await, samples.to_string());
    let about = api(own, "targets/metadata?metric=skerry_commands").await.unwrap();
    assert_eq!(about["data"][0]["type"], "counter", "{about}");
    server.kill().await.unwrap();
    serving.abort();
    agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_checker_finds_nothing_to_say_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, address, serving) = numbers(folder.path()).await;
    let page = skerry_page(address).await;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).kill_on_drop(true);
    promtool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checking = promtool
        .spawn()
        .expect("promtool of Debian's prometheus is not here: scripts/test acceptance installs it");
    checking.stdin.take().unwrap().write_all(page.as_bytes()).await.unwrap();
    let checked = checking.wait_with_output().await.unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "", "of\n{page}");
    assert!(checked.status.success());
    serving.abort();
    agent.close().await;
}

/// The page, in the format it has for who asks for none.
async fn skerry_page(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page.split_once("\r\n\r\n").unwrap().1.to_owned()
}
