//! The calls about health checks.

use reqwest::Method;

use super::{Client, ClientError};
use crate::api::body::{HealthCheck, HealthCheckRun, Page, Task};

impl Client {
    /// All health checks.
    pub async fn health_checks(&self) -> Result<Page<HealthCheck>, ClientError> {
        self.get(&["health-checks"], &[]).await
    }

    /// One health check.
    pub async fn health_check(&self, name: &str) -> Result<HealthCheck, ClientError> {
        self.get(&["health-checks", name], &[]).await
    }

    /// Runs health checks.
    pub async fn health_check_run(
        &self,
        request: &HealthCheckRun,
    ) -> Result<Page<Task>, ClientError> {
        self.send(Method::POST, &["health-checks", "run"], request)
            .await
    }

    /// Tasks of a kind, the newest first; `None` is all but health checks.
    pub async fn tasks_of_kind(
        &self,
        project: Option<&str>,
        kind: Option<&str>,
        limit: u32,
    ) -> Result<Page<Task>, ClientError> {
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(project.map(|name| ("project", name)));
        query.extend(kind.map(|kind| ("kind", kind)));
        self.get(&["tasks"], &query).await
    }
}
