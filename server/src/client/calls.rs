//! Every call of the API, typed.

use mantle_shared::Digest;
use reqwest::Method;
use serde_json::{Value, json};

use super::sse::Follower;
use super::{ANSWER, Client, ClientError};
use crate::api::body::{
    Agent, ApiKey, ApiKeyCreate, ApiKeyCreated, ApplyRequest, ApplyResult, Artifact, AuditEntry,
    AuditVerified, DeploymentCreate, DeploymentDiff, DeploymentManifest, Environment, Export,
    HeldLock, InstallCommandCreate, Interruption, InterruptionAnswer, InterruptionAnswered,
    JoinToken, JoinTokenCreate, JoinTokenCreated, Lifecycle, LockBreak, LogLine, MaintenanceSet,
    Package, PackageCollect, PackageCollected, PackagePlatform, PackageVerified, PackageVerify,
    PackageVersion, Page, PlanBody, PlanPrompt, Project, ProjectDetail, RefreshVariables, Release,
    ReleaseBlockCreate, ReleaseChanges, ReleaseCreate, ReleaseDetail, ReleaseDiff, ReleaseDrift,
    ReleaseUnblockCreate, RetentionResult, RetentionRun, RevertVariables, Secret, SecretSet,
    ServerInfo, ServerRecovered, ServerStatus, StatusBody, Target, TargetTags, Task, TaskDetail,
    TaskEvent, TaskResolve, TaskResolved, Team, TeamAdd, Upload, UploadCreate, VariableExplanation,
    VariablePlace, VariablePut, VariableRemove, VariableSet, VariableSetDetail, VariableView,
    VariablesChanged,
};

type Answer<T> = Result<T, ClientError>;

/// The server, keys, secrets, audit.
impl Client {
    /// Who answers, and as whom we are known.
    pub async fn server_info(&self) -> Answer<ServerInfo> {
        self.get(&["server"], &[]).await
    }

    /// How the server stands.
    pub async fn server_status(&self) -> Answer<ServerStatus> {
        self.get(&["server", "status"], &[]).await
    }

    /// Takes a restored server into use.
    pub async fn server_recover(&self) -> Answer<ServerRecovered> {
        self.act(Method::POST, &["server", "recover"]).await
    }

    /// All API keys.
    pub async fn apikeys(&self) -> Answer<Page<ApiKey>> {
        self.get(&["apikeys"], &[]).await
    }

    /// Makes an API key.
    pub async fn apikey_create(&self, body: &ApiKeyCreate) -> Answer<ApiKeyCreated> {
        self.send(Method::POST, &["apikeys"], body).await
    }

    /// Revokes an API key.
    pub async fn apikey_revoke(&self, name: &str, force: bool) -> Answer<ApiKey> {
        let query: &[(&str, &str)] = if force { &[("force", "true")] } else { &[] };
        self.act_with(Method::DELETE, &["apikeys", name], query)
            .await
    }

    /// The paths of all secrets.
    pub async fn secrets(&self) -> Answer<Page<Secret>> {
        self.get(&["secrets"], &[]).await
    }

    /// Gives a secret a value.
    pub async fn secret_set(&self, path: &str, body: &SecretSet) -> Answer<Secret> {
        self.send(Method::PUT, &secret_path(path), body).await
    }

    /// Deletes a secret.
    pub async fn secret_delete(&self, path: &str) -> Answer<()> {
        self.act(Method::DELETE, &secret_path(path)).await
    }

    /// A page of the audit trail, the newest entries first; `before` a number.
    pub async fn audit(&self, before: Option<&str>, limit: u32) -> Answer<Page<AuditEntry>> {
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(before.map(|before| ("before", before)));
        self.get(&["audit"], &query).await
    }

    /// Checks the audit trail's chain.
    pub async fn audit_verify(&self) -> Answer<AuditVerified> {
        self.get(&["audit", "verify"], &[]).await
    }
}

/// What is declared in files.
impl Client {
    /// Applies files, or says what applying them would change.
    pub async fn apply(&self, body: &ApplyRequest) -> Answer<ApplyResult> {
        self.send(Method::POST, &["apply"], body).await
    }

    /// Files that `apply` reads: of one project, or of everything.
    pub async fn export(&self, project: Option<&str>) -> Answer<Export> {
        let query: Vec<_> = project.iter().map(|name| ("project", *name)).collect();
        self.get(&["export"], &query).await
    }

    /// All projects.
    pub async fn projects(&self) -> Answer<Page<Project>> {
        self.get(&["projects"], &[]).await
    }

    /// One project.
    pub async fn project(&self, name: &str) -> Answer<ProjectDetail> {
        self.get(&["projects", name], &[]).await
    }

    /// All environments.
    pub async fn environments(&self) -> Answer<Page<Environment>> {
        self.get(&["environments"], &[]).await
    }

    /// All lifecycles.
    pub async fn lifecycles(&self) -> Answer<Page<Lifecycle>> {
        self.get(&["lifecycles"], &[]).await
    }

    /// One lifecycle.
    pub async fn lifecycle(&self, name: &str) -> Answer<Lifecycle> {
        self.get(&["lifecycles", name], &[]).await
    }
}

/// Variables and variable sets.
impl Client {
    /// The variables of a project in a place, or every value of all of them.
    pub async fn variables(
        &self,
        project: &str,
        place: &VariablePlace,
    ) -> Answer<Page<VariableView>> {
        self.get(&["projects", project, "variables"], &place_query(place))
            .await
    }

    /// Why a variable has its value.
    pub async fn variable_explain(
        &self,
        project: &str,
        name: &str,
        place: &VariablePlace,
    ) -> Answer<VariableExplanation> {
        let path = ["projects", project, "variables", name];
        self.get(&path, &place_query(place)).await
    }

    /// Gives a project's variable a value.
    pub async fn variable_put(
        &self,
        project: &str,
        name: &str,
        body: &VariablePut,
    ) -> Answer<ApplyResult> {
        let path = ["projects", project, "variables", name];
        self.send(Method::PUT, &path, body).await
    }

    /// Takes a value of a project's variable away.
    pub async fn variable_remove(
        &self,
        project: &str,
        name: &str,
        body: &VariableRemove,
    ) -> Answer<ApplyResult> {
        let path = ["projects", project, "variables", name];
        self.send(Method::DELETE, &path, body).await
    }

    /// All variable sets.
    pub async fn variable_sets(&self) -> Answer<Page<VariableSet>> {
        self.get(&["variable-sets"], &[]).await
    }

    /// One variable set and its variables.
    pub async fn variable_set(&self, name: &str) -> Answer<VariableSetDetail> {
        self.get(&["variable-sets", name], &[]).await
    }
}

/// Targets and agents.
impl Client {
    /// Targets, perhaps only those of an environment or with a tag.
    pub async fn targets(
        &self,
        environment: Option<&str>,
        tag: Option<&str>,
    ) -> Answer<Page<Target>> {
        let mut query = Vec::new();
        query.extend(environment.map(|name| ("environment", name)));
        query.extend(tag.map(|tag| ("tag", tag)));
        self.get(&["targets"], &query).await
    }

    /// One target.
    pub async fn target(&self, name: &str) -> Answer<Target> {
        self.get(&["targets", name], &[]).await
    }

    /// Gives a target tags and takes some away.
    pub async fn target_tags(&self, name: &str, body: &TargetTags) -> Answer<Target> {
        self.send(Method::POST, &["targets", name, "tags"], body)
            .await
    }

    /// Lets deployments choose a target again.
    pub async fn target_enable(&self, name: &str) -> Answer<Target> {
        self.act(Method::POST, &["targets", name, "enable"]).await
    }

    /// Takes a target into maintenance or out of it.
    pub async fn target_maintenance(&self, name: &str, body: &MaintenanceSet) -> Answer<Target> {
        self.send(Method::PUT, &["targets", name, "maintenance"], body)
            .await
    }

    /// Keeps deployments from choosing a target.
    pub async fn target_disable(&self, name: &str) -> Answer<Target> {
        self.act(Method::POST, &["targets", name, "disable"]).await
    }

    /// Forgets a target and revokes its agent.
    pub async fn target_remove(&self, name: &str) -> Answer<()> {
        self.act(Method::DELETE, &["targets", name]).await
    }

    /// All agents.
    pub async fn agents(&self) -> Answer<Page<Agent>> {
        self.get(&["agents"], &[]).await
    }

    /// Revokes an agent, by its target's name or its id.
    pub async fn agent_revoke(&self, name: &str) -> Answer<Agent> {
        self.act(Method::POST, &["agents", name, "revoke"]).await
    }

    /// All join tokens.
    pub async fn join_tokens(&self) -> Answer<Page<JoinToken>> {
        self.get(&["join-tokens"], &[]).await
    }

    /// Makes a join token and the line that installs an agent with it.
    pub async fn install_command(&self, body: &InstallCommandCreate) -> Answer<JoinTokenCreated> {
        self.send(Method::POST, &["install-commands"], body).await
    }

    /// Makes a join token.
    pub async fn join_token_create(&self, body: &JoinTokenCreate) -> Answer<JoinTokenCreated> {
        self.send(Method::POST, &["join-tokens"], body).await
    }

    /// Revokes a join token.
    pub async fn join_token_revoke(&self, id: &str) -> Answer<JoinToken> {
        self.act(Method::DELETE, &["join-tokens", id]).await
    }
}

/// Packages and releases.
impl Client {
    /// All packages.
    pub async fn packages(&self) -> Answer<Page<Package>> {
        self.get(&["packages"], &[]).await
    }

    /// A package's versions, the newest first.
    pub async fn package_versions(&self, id: &str) -> Answer<Page<PackageVersion>> {
        self.get(&["packages", id, "versions"], &[]).await
    }

    /// One version of a package.
    pub async fn package_version(&self, id: &str, version: &str) -> Answer<PackageVersion> {
        self.get(&["packages", id, "versions", version], &[]).await
    }

    /// Reads a version's bytes again, and puts back what is lost if that is wished. It takes a while.
    pub async fn package_verify(
        &self,
        id: &str,
        version: &str,
        repair: bool,
    ) -> Answer<PackageVerified> {
        let path = ["packages", id, "versions", version, "verify"];
        let request = self
            .request(Method::POST, &path, &[])?
            .json(&PackageVerify { repair });
        self.answer(request.timeout(ANSWER * 15)).await
    }

    /// Deletes a version that nothing needs.
    pub async fn package_delete(&self, id: &str, version: &str) -> Answer<PackageVersion> {
        self.act(Method::DELETE, &["packages", id, "versions", version])
            .await
    }

    /// Writes a version's archive as it was pushed, and gives its digest.
    pub async fn package_download(
        &self,
        id: &str,
        version: &str,
        to: &mut dyn std::io::Write,
    ) -> Answer<Digest> {
        self.download(&["packages", id, "versions", version, "archive"], to)
            .await
    }

    /// Removes what nothing names from the repository, or says what that would be. It takes a while.
    pub async fn package_collect(&self, body: PackageCollect) -> Answer<PackageCollected> {
        let request = self
            .request(Method::POST, &["packages", "collect"], &[])?
            .json(&body);
        self.answer(request.timeout(ANSWER * 10)).await
    }

    /// Begins an upload or finds one to resume.
    pub async fn upload_create(&self, body: &UploadCreate) -> Answer<Upload> {
        self.send(Method::POST, &["uploads"], body).await
    }

    /// How far an upload is.
    pub async fn upload(&self, id: &str) -> Answer<Upload> {
        self.get(&["uploads", id], &[]).await
    }

    /// Appends bytes at an offset, which must be where the upload stands.
    pub async fn upload_append(&self, id: &str, offset: u64, bytes: Vec<u8>) -> Answer<Upload> {
        let offset = offset.to_string();
        let request = self
            .request(Method::PATCH, &["uploads", id], &[("offset", &offset)])?
            .header("content-type", "application/octet-stream")
            .body(bytes);
        // Twice the usual: a slow line takes a while for a piece.
        self.answer(request.timeout(ANSWER * 2)).await
    }

    /// Takes the archive apart and makes it a version of its package.
    pub async fn upload_finish(
        &self,
        id: &str,
        platform: Option<PackagePlatform>,
    ) -> Answer<PackageVersion> {
        let query: &[(&str, &str)] = match platform {
            Some(PackagePlatform::Linux) => &[("platform", "linux")],
            None => &[],
        };
        let request = self.request(Method::POST, &["uploads", id, "finish"], query)?;
        // A large archive takes minutes to take apart.
        self.answer(request.timeout(ANSWER * 15)).await
    }

    /// A project's releases, the newest first.
    pub async fn releases(&self, project: &str) -> Answer<Page<Release>> {
        self.get(&["projects", project, "releases"], &[]).await
    }

    /// One release and what it pins.
    pub async fn release(&self, project: &str, version: &str) -> Answer<ReleaseDetail> {
        self.get(&["projects", project, "releases", version], &[])
            .await
    }

    /// Makes a release.
    pub async fn release_create(
        &self,
        project: &str,
        body: &ReleaseCreate,
    ) -> Answer<ReleaseDetail> {
        self.send(Method::POST, &["projects", project, "releases"], body)
            .await
    }
}

/// What becomes of releases.
impl Client {
    /// Blocks a release.
    pub async fn release_block(
        &self,
        project: &str,
        version: &str,
        body: &ReleaseBlockCreate,
    ) -> Answer<ReleaseDetail> {
        let path = ["projects", project, "releases", version, "block"];
        self.send(Method::POST, &path, body).await
    }

    /// Lifts the block on a release.
    pub async fn release_unblock(
        &self,
        project: &str,
        version: &str,
        body: &ReleaseUnblockCreate,
    ) -> Answer<ReleaseDetail> {
        let path = ["projects", project, "releases", version, "unblock"];
        self.send(Method::POST, &path, body).await
    }

    /// Gives a release the variables of its project, or says what would change.
    pub async fn release_refresh(
        &self,
        project: &str,
        version: &str,
        body: &RefreshVariables,
    ) -> Answer<VariablesChanged> {
        let path = [
            "projects",
            project,
            "releases",
            version,
            "variables",
            "refresh",
        ];
        self.send(Method::POST, &path, body).await
    }

    /// Gives a release variables back that it had, or says what would change.
    pub async fn release_revert(
        &self,
        project: &str,
        version: &str,
        body: &RevertVariables,
    ) -> Answer<VariablesChanged> {
        let path = [
            "projects",
            project,
            "releases",
            version,
            "variables",
            "revert",
        ];
        self.send(Method::POST, &path, body).await
    }

    /// How the second release differs from the first.
    pub async fn release_diff(
        &self,
        project: &str,
        first: &str,
        second: &str,
    ) -> Answer<ReleaseDiff> {
        self.get(
            &["projects", project, "releases", first, "diff", second],
            &[],
        )
        .await
    }

    /// How the project as it is now differs from a release.
    pub async fn release_drift(&self, project: &str, version: &str) -> Answer<ReleaseDrift> {
        self.get(&["projects", project, "releases", version, "drift"], &[])
            .await
    }

    /// What a release brings to an environment.
    pub async fn release_changes(
        &self,
        project: &str,
        version: &str,
        environment: &str,
    ) -> Answer<ReleaseChanges> {
        let path = ["projects", project, "releases", version, "changes"];
        self.get(&path, &[("environment", environment)]).await
    }

    /// Removes what the rules no longer keep, or says what that is.
    pub async fn retention(&self, body: &RetentionRun) -> Answer<RetentionResult> {
        let request = self.request(Method::POST, &["retention"], &[])?.json(body);
        // A store of many objects takes minutes to walk.
        self.answer(request.timeout(ANSWER * 15)).await
    }
}

/// Deployments and tasks.
impl Client {
    /// What a deployment in fact used.
    pub async fn deployment(&self, number: &str) -> Answer<DeploymentManifest> {
        self.get(&["deployments", number], &[]).await
    }

    /// How the second deployment differed from the first.
    pub async fn deployment_diff(&self, first: &str, second: &str) -> Answer<DeploymentDiff> {
        self.get(&["deployments", first, "diff", second], &[]).await
    }

    /// What a deployment would do.
    pub async fn plan(&self, body: &DeploymentCreate) -> Answer<PlanBody> {
        self.send(Method::POST, &["plans"], body).await
    }

    /// What a deployment would ask for.
    pub async fn prompts(&self, body: &DeploymentCreate) -> Answer<Page<PlanPrompt>> {
        self.send(Method::POST, &["prompts"], body).await
    }

    /// Queues a deployment.
    pub async fn deploy(&self, body: &DeploymentCreate) -> Answer<Task> {
        self.send(Method::POST, &["deployments"], body).await
    }

    /// What runs where.
    pub async fn status(&self, project: Option<&str>) -> Answer<StatusBody> {
        let query: Vec<_> = project.iter().map(|name| ("project", *name)).collect();
        self.get(&["status"], &query).await
    }

    /// Tasks, the newest first; `before` a task's number.
    pub async fn tasks(
        &self,
        project: Option<&str>,
        before: Option<&str>,
        limit: u32,
    ) -> Answer<Page<Task>> {
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(project.map(|name| ("project", name)));
        query.extend(before.map(|before| ("before", before)));
        self.get(&["tasks"], &query).await
    }

    /// The locks that are held, perhaps only those on one target.
    pub async fn locks(&self, target: Option<&str>) -> Answer<Page<HeldLock>> {
        let query: Vec<_> = target.iter().map(|name| ("target", *name)).collect();
        self.get(&["locks"], &query).await
    }

    /// Breaks a lock.
    pub async fn lock_break(&self, body: &LockBreak) -> Answer<Page<HeldLock>> {
        self.send(Method::POST, &["locks", "break"], body).await
    }

    /// The tasks that wait, in the order in which they start.
    pub async fn task_queue(&self) -> Answer<Page<Task>> {
        self.get(&["tasks", "queue"], &[]).await
    }

    /// Moves a task that waits to the top of the queue.
    pub async fn task_move_to_top(&self, number: &str) -> Answer<Task> {
        self.send::<Value, _>(Method::POST, &["tasks", number, "move-to-top"], &json!({}))
            .await
    }

    /// A task with the matrix of its steps and targets.
    pub async fn task(&self, number: &str) -> Answer<TaskDetail> {
        self.get(&["tasks", number], &[]).await
    }

    /// Asks a task to stop.
    pub async fn task_cancel(&self, number: &str) -> Answer<Task> {
        self.send::<Value, _>(Method::POST, &["tasks", number, "cancel"], &json!({}))
            .await
    }

    /// Says how attempts of a task ended of which nothing is known.
    pub async fn task_resolve(&self, number: &str, body: &TaskResolve) -> Answer<TaskResolved> {
        self.send(Method::POST, &["tasks", number, "resolve"], body)
            .await
    }

    /// A page of a task's events after a sequence.
    pub async fn task_events(&self, number: &str, after: u64) -> Answer<Page<TaskEvent>> {
        let after = after.to_string();
        self.get(&["tasks", number, "events"], &[("after", &after)])
            .await
    }

    /// A page of a task's log after a sequence.
    pub async fn task_log(&self, number: &str, after: u64) -> Answer<Page<LogLine>> {
        let after = after.to_string();
        self.get(&["tasks", number, "log"], &[("after", &after)])
            .await
    }

    /// The files that a task's steps left behind.
    pub async fn artifacts(&self, number: &str) -> Answer<Page<Artifact>> {
        self.get(&["tasks", number, "artifacts"], &[]).await
    }

    /// Writes one of them somewhere, as it comes; gives the digest of what came.
    pub async fn artifact(
        &self,
        number: &str,
        artifact: u64,
        to: &mut dyn std::io::Write,
    ) -> Answer<Digest> {
        let artifact = artifact.to_string();
        self.download(&["tasks", number, "artifacts", &artifact], to)
            .await
    }

    /// Follows a task's events to its end.
    pub fn follow_events(&self, number: &str, after: u64) -> Follower {
        let path = ["tasks", number, "events", "stream"];
        Follower::new(self.clone(), &path, Some(after))
    }

    /// Follows a task's log to its end.
    pub fn follow_log(&self, number: &str, after: u64) -> Follower {
        let path = ["tasks", number, "log", "stream"];
        Follower::new(self.clone(), &path, Some(after))
    }
}

fn place_query(place: &VariablePlace) -> Vec<(&str, &str)> {
    let all = [
        ("environment", &place.environment),
        ("target", &place.target),
        ("step", &place.step),
        ("channel", &place.channel),
        ("release", &place.release),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .collect()
}

fn secret_path(path: &str) -> Vec<&str> {
    std::iter::once("secrets").chain(path.split('/')).collect()
}

/// What deployments ask people, and teams.
impl Client {
    /// What waits for a person; of one task all that it ever asked.
    pub async fn interruptions(&self, task: Option<&str>) -> Answer<Page<Interruption>> {
        let query: Vec<_> = task.iter().map(|task| ("task", *task)).collect();
        self.get(&["interruptions"], &query).await
    }

    /// One by its name.
    pub async fn interruption(&self, name: &str) -> Answer<Interruption> {
        self.get(&["interruptions", name], &[]).await
    }

    /// Takes care of one.
    pub async fn interruption_take(&self, name: &str) -> Answer<Interruption> {
        self.act(Method::POST, &["interruptions", name, "take"])
            .await
    }

    /// Answers one.
    pub async fn interruption_answer(
        &self,
        name: &str,
        body: &InterruptionAnswer,
    ) -> Answer<InterruptionAnswered> {
        let path = ["interruptions", name, "answer"];
        self.send(Method::POST, &path, body).await
    }

    /// All teams that have a member.
    pub async fn teams(&self) -> Answer<Page<Team>> {
        self.get(&["teams"], &[]).await
    }

    /// Puts a key into a team.
    pub async fn team_add(&self, team: &str, key: &str) -> Answer<Team> {
        let body = TeamAdd {
            key: key.to_owned(),
        };
        self.send(Method::POST, &["teams", team, "members"], &body)
            .await
    }

    /// Takes a key out of a team.
    pub async fn team_remove(&self, team: &str, key: &str) -> Answer<Team> {
        self.act(Method::DELETE, &["teams", team, "members", key])
            .await
    }
}
