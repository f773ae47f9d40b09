//! The call that edits a release.

use reqwest::Method;

use super::{Client, ClientError};
use crate::api::body::{ReleaseDetail, ReleaseEdit};

impl Client {
    /// Gives a release other notes.
    pub async fn release_edit(
        &self,
        project: &str,
        version: &str,
        body: &ReleaseEdit,
    ) -> Result<ReleaseDetail, ClientError> {
        let path = ["projects", project, "releases", version, "edit"];
        self.send(Method::POST, &path, body).await
    }
}
