//! What time leaves behind: uploads that nobody goes on with.

use std::time::Duration;

use super::Services;
use super::error::Result;
use crate::packages::upload::UploadId;
use crate::store::{upload_delete, upload_list_idle};

/// A push that was cut off on Friday can go on on Monday.
const UPLOAD_IDLE: Duration = Duration::from_hours(72);
/// Files without a row, of a server that was killed in between, go a day later.
const FILE_IDLE: Duration = Duration::from_hours(96);
const BATCH: u32 = 100;

/// How often [`Services::tidy`] is due.
pub const TIDY_EVERY: Duration = Duration::from_hours(1);

/// Use cases of the server itself.
impl Services {
    /// Gives up uploads that are idle for too long; says how many.
    pub async fn tidy(&self) -> Result<usize> {
        let idle_us = i64::try_from(UPLOAD_IDLE.as_micros()).unwrap_or(i64::MAX);
        let before_us = self.now().as_microsecond().saturating_sub(idle_us);
        let mut given_up = 0;
        loop {
            let rows = {
                let mut tx = self.store.read().await?;
                upload_list_idle(&mut tx, before_us, BATCH).await?
            };
            for row in &rows {
                // The file first: a row without a file is found again, a file without a row not.
                let file = UploadId(row.id.as_uuid());
                self.packages.uploads().remove(file).await?;
                self.store
                    .write(async |tx| upload_delete(tx, row.id).await)
                    .await?;
            }
            given_up += rows.len();
            if rows.len() < BATCH as usize {
                break;
            }
        }
        Ok(given_up + self.packages.uploads().expire(FILE_IDLE).await?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use crate::api::body::UploadCreate;
    use crate::services::testing::a_house;
    use crate::store::upload_list_idle;

    #[tokio::test]
    async fn a_fresh_upload_stays_and_can_be_resumed_under_another_file_name() {
        let house = a_house().await;
        let (services, admin) = (&house.services, &house.admin);
        let mut request = UploadCreate {
            file_name: "Shop.Web.1.0.0.zip".to_owned(),
            size_bytes: 10,
            digest: "ab".repeat(32),
            id: None,
            version: None,
        };
        let first = services.upload_create(admin, &request).await.unwrap();
        assert_eq!(services.tidy().await.unwrap(), 0);
        request.file_name = "copy.zip".to_owned();
        request.id = Some("Shop.Web".to_owned());
        request.version = Some("1.0.0".to_owned());
        let second = services.upload_create(admin, &request).await.unwrap();
        assert_eq!(first.upload, second.upload);
        let mut tx = services.store.read().await.unwrap();
        let all = upload_list_idle(&mut tx, i64::MAX, 10).await.unwrap();
        assert_eq!(all.len(), 1);
    }
}
