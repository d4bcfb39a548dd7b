//! Images go from one host to another over a real server, as a script asks for it by `skerry`.

use skerry_tests::lab::{Lab, Wanted};

/// What `skerry` says.
async fn says(lab: &Lab, arguments: &[&str]) -> String {
    let output = lab.skerry("admin", arguments).await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn an_image_goes_to_the_other_host(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).hosts(2).up().await.unwrap();
    let imports = lab.record.hosts[0].config.with_file_name("state").join("import");
    let mut disk: Vec<u8> = (0..8_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    disk[510..512].copy_from_slice(b"\x55\xaa");
    std::fs::write(imports.join("small.raw"), disk).unwrap();
    says(&lab, &["image", "import", "kvm1", "small.raw", "small"]).await;
    let said = says(&lab, &["image", "share", "kvm1", "small", "kvm2"]).await;
    assert!(said.contains("The image small is on ") && said.contains("MiB went there"), "{said}");
    let info = says(&lab, &["image", "info", "kvm2", "small"]).await;
    assert!(info.contains("where it is small"), "{info}");
    let again = says(&lab, &["image", "share", "kvm1", "small", "kvm2"]).await;
    assert!(again.contains("has that already") && again.contains("Nothing was sent"), "{again}");
    says(&lab, &["image", "delete", "kvm2", "small", "--yes"]).await;
    let said = says(&lab, &["image", "pull", "kvm2", "kvm1/small", "called=mine"]).await;
    assert!(said.contains("The image mine is here"), "{said}");
    says(&lab, &["create", "kvm2", "web1", "mine"]).await;
    lab.down().await.unwrap();
}

#[tokio::test]
async fn an_image_goes_to_the_other_host_on_prosody_as_a_component() {
    an_image_goes_to_the_other_host("prosody", "component").await;
}

#[tokio::test]
async fn an_image_goes_to_the_other_host_on_ejabberd_with_an_account() {
    an_image_goes_to_the_other_host("ejabberd", "single").await;
}
