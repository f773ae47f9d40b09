//! That somebody ignored rules is not forgotten.

use super::*;

#[tokio::test]
async fn that_rules_of_channels_were_ignored_stands_in_the_audit_trail() {
    let house = a_shop(INFRASTRUCTURE, PROJECT).await;
    for ignored in [false, true] {
        let request = ReleaseCreate {
            version: Some(format!("1.{}", u8::from(ignored))),
            ignore_channel_rules: ignored,
            ..ReleaseCreate::default()
        };
        let made = house
            .services
            .release_create(&house.admin, "shop", &request)
            .await;
        made.unwrap();
        let trail = house
            .services
            .audit_list(&house.admin, None, 500)
            .await
            .unwrap();
        let of_release = trail
            .items
            .iter()
            .filter(|row| row.action == "release.create");
        let newest = of_release.max_by_key(|row| row.seq).unwrap();
        assert_eq!(newest.detail["ignore_channel_rules"], ignored);
    }
}
