//! Which secrets an action uses by what stands in its package's files.

use super::*;
use crate::packages::ingest::tests::tar_of;
use crate::services::planning::snapshot;
use mantle_domain::snapshot::ProcessSnapshot;

const SHOP: &str = "\
mantle: v1
project: shop
packages: [{ id: Site }]
variables:
  Pin: { secret: shop/pin }
  Connection: \"Server=db;Password=#{Pin}\"
  Further: \"#{Connection};Timeout=9\"
  Unused: { secret: shop/unused }
  Plain: x
process:
  - step: Put
    targets: { tag: web }
    uses: package
    with: { package: Site, substitute: [\"conf\\\\*.CONFIG\", ./index.html], structured: /app.json }
";

fn utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    [0xff, 0xfe].into_iter().chain(units).collect()
}

/// The names that a release finds in files with these contents.
async fn found(config: &[u8], index: &[u8], app: &[u8]) -> Vec<String> {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    for path in ["shop/pin", "shop/unused"] {
        let value = SecretSet {
            value: "s3cret".to_owned(),
        };
        house
            .services
            .secret_set(&house.admin, path, value)
            .await
            .unwrap();
    }
    house.apply(SHOP, false).await.unwrap();
    let files = [
        ("conf/web.config", config),
        ("index.html", index),
        ("app.json", app),
        // Not asked for.
        ("other.config", b"#{Unused}".as_slice()),
    ];
    house
        .push_tar("Site", "1.0", tar_of(&files), None)
        .await
        .unwrap();
    released(&house, "1.0").await;
    let mut tx = house.services.store.read().await.unwrap();
    let project = names::project(&mut tx, "shop").await.unwrap();
    let row = names::release(&mut tx, &project, "1.0").await.unwrap();
    let process: ProcessSnapshot = snapshot(&mut tx, row.process).await.unwrap();
    process.scanned_secrets.into_values().flatten().collect()
}

#[tokio::test]
async fn what_reaches_a_secret_is_found_as_the_secret_is() {
    for (config, index, app, expected) in [
        (b"<x/>".to_vec(), "#{Plain}", "{}", &[][..]),
        (b"#{Further}".to_vec(), "", "{}", &["Further"]),
        (utf16("<a>#{Connection}</a>"), "", "{}", &["Connection"]),
        (
            b"\xef\xbb\xbf#{Pin}".to_vec(),
            "#{Further}",
            "{}",
            &["Further", "Pin"],
        ),
        (
            b"<x/>".to_vec(),
            "",
            "{\"connection\": \"\"}",
            &["Connection"],
        ),
    ] {
        let found = found(&config, index.as_bytes(), app.as_bytes()).await;
        assert_eq!(found, expected, "{config:?} {index} {app}");
    }
}
