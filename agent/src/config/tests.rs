#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("agent.toml"))
}

const LINK: &str = "[link]\nkind = \"component\"\njid = \"kvm1.example.org\"\nserver = \"127.0.0.1:5347\"\n";

fn full(extra: &str, secret: &Path) -> String {
    format!("{LINK}secret_file = {:?}\n{extra}", secret.display().to_string())
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let near = parse("[link]\nkind = \"component\"\n[trash]\nkep = \"7d\"\n").unwrap_err();
    assert_eq!(near.to_string(), "agent.toml: trash.kep: there is no such key; did you mean keep?");
    let far = parse("[link]\n[drivers]\nvelocity = 1\n").unwrap_err();
    assert!(far.to_string().contains("there are: enabled, default"), "{far}");
    assert_eq!(parse("[images.linux]\nkernle = \"x\"\n").unwrap_err().key, "images.linux.kernle");
}

#[test]
fn each_mistake_names_its_key_and_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "hush\n").unwrap();
    let wrong = |extra: &str| parse(&full(extra, &secret)).unwrap().check().unwrap_err();
    assert_eq!(wrong("[drivers]\nenabled = []\n").key, "drivers.enabled");
    assert_eq!(wrong("[drivers]\ndefault = \"fake\"\n").key, "drivers.default");
    assert_eq!(wrong("[images.x]\nabout = \"nothing\"\n").key, "images.x");
    assert_eq!(wrong("[images.x]\nkernel = \"/nowhere/at/all\"\n").key, "images.x.kernel");
    assert_eq!(wrong("[roles]\nadmin = [\"@@\"]\n").key, "roles.admin");
    let text = full("", &secret).replace("127.0.0.1:5347", "localhost");
    assert_eq!(parse(&text).unwrap().check().unwrap_err().key, "link.server");
    fs::write(&secret, "\n").unwrap();
    assert_eq!(wrong("").key, "link.secret_file");
}

#[test]
fn what_is_left_out_has_its_default() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "hush\n").unwrap();
    let config = parse(&full("", &secret)).unwrap();
    config.check().unwrap();
    assert_eq!(config.drivers.enabled, ["qemu"]);
    assert_eq!(config.trash.keep, Duration::from_secs(7 * 24 * 3600));
    assert!(config.roles.admin.is_empty());
    let link = config.link_config().unwrap();
    assert_eq!(link.server, ServerAddress::At("127.0.0.1".into(), 5347));
}
