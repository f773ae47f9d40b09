//! What most tests need to be there, with nothing in it that they are about.

use mantle_domain::ids::{
    AgentId, EnvironmentId, LifecycleId, ProjectId, ReleaseId, TargetId, TaskId,
};
use mantle_domain::queue::Priority;
use mantle_shared::Digest;
use mantle_shared::uuid::Uuid;

use crate::store::{
    AgentProfile, AgentRow, AgentStatus, EnvironmentRow, LifecycleRow, NewTask, ProjectRow,
    ReleaseRow, SnapshotKind, Store, TargetRow, TaskKind, agent_insert, environment_insert,
    lifecycle_insert, project_insert, release_insert, snapshot_keep, target_insert, task_insert,
};

/// A project in an environment with a release and a target.
pub(super) struct World {
    pub(super) project: ProjectId,
    pub(super) environment: EnvironmentId,
    pub(super) release: ReleaseId,
    pub(super) target: TargetId,
    pub(super) agent: AgentId,
}

pub(super) fn uuid() -> Uuid {
    Uuid::now_v7()
}

pub(super) fn an_environment(name: &str) -> EnvironmentRow {
    EnvironmentRow {
        id: EnvironmentId::from_uuid(uuid()),
        name: name.to_owned(),
        position: 1,
        body: "{}".to_owned(),
        revision: 1,
        changed_at_us: 5,
    }
}

pub(super) fn a_lifecycle(name: &str) -> LifecycleRow {
    LifecycleRow {
        id: LifecycleId::from_uuid(uuid()),
        name: name.to_owned(),
        body: "{}".to_owned(),
        revision: 1,
        changed_at_us: 5,
    }
}

pub(super) fn a_project(slug: &str, lifecycle: LifecycleId) -> ProjectRow {
    ProjectRow {
        id: ProjectId::from_uuid(uuid()),
        slug: slug.to_owned(),
        name: slug.to_uppercase(),
        lifecycle_id: Some(lifecycle),
        body: "{}".to_owned(),
        revision: 1,
        created_at_us: 5,
        changed_at_us: 5,
    }
}

pub(super) fn a_target(name: &str, environments: &[EnvironmentId]) -> TargetRow {
    TargetRow {
        id: TargetId::from_uuid(uuid()),
        name: name.to_owned(),
        disabled: false,
        maintenance: None,
        created_at_us: 5,
        tags: vec!["db".to_owned(), "web".to_owned()],
        environments: environments.to_vec(),
    }
}

pub(super) fn an_agent(target: &TargetRow) -> AgentRow {
    AgentRow {
        id: AgentId::from_uuid(uuid()),
        target_id: Some(target.id),
        name: target.name.clone(),
        status: AgentStatus::Active,
        profile: AgentProfile {
            features: vec!["action:script".to_owned()],
            ..AgentProfile::default()
        },
        highest_epoch: 0,
        join_token_id: None,
        enrolled_at_us: 5,
        revoked_at_us: None,
        last_seen_at_us: None,
    }
}

pub(super) async fn a_release(store: &Store, project: ProjectId, version: &str) -> ReleaseId {
    let mut tx = store.begin().await.unwrap();
    let mut keep = Vec::new();
    for kind in [
        SnapshotKind::Process,
        SnapshotKind::Packages,
        SnapshotKind::Variables,
    ] {
        let body = format!("{{\"{}\":\"{version}\"}}", kind.word());
        keep.push(
            snapshot_keep(&mut tx, kind, body.as_bytes(), &[], 5)
                .await
                .unwrap(),
        );
    }
    let release = ReleaseRow {
        id: ReleaseId::from_uuid(uuid()),
        project_id: project,
        version: version.to_owned(),
        channel: "default".to_owned(),
        process: keep[0],
        packages: keep[1],
        variables: keep[2],
        variables_number: 1,
        notes: String::new(),
        fields: "{}".to_owned(),
        blocked: None,
        unblocked: None,
        created_at_us: 6,
        created_by: "ada".to_owned(),
    };
    release_insert(&mut tx, &release).await.unwrap();
    tx.commit().await.unwrap();
    release.id
}

pub(super) async fn a_world(store: &Store) -> World {
    let environment = an_environment("test");
    let lifecycle = a_lifecycle("default");
    let project = a_project("octofx", lifecycle.id);
    let target = a_target("web-01", &[environment.id]);
    let agent = an_agent(&target);
    let mut tx = store.begin().await.unwrap();
    environment_insert(&mut tx, &environment).await.unwrap();
    lifecycle_insert(&mut tx, &lifecycle).await.unwrap();
    project_insert(&mut tx, &project).await.unwrap();
    target_insert(&mut tx, &target).await.unwrap();
    agent_insert(&mut tx, &agent).await.unwrap();
    tx.commit().await.unwrap();
    World {
        project: project.id,
        environment: environment.id,
        release: a_release(store, project.id, "1.0.0").await,
        target: target.id,
        agent: agent.id,
    }
}

pub(super) async fn a_task(store: &Store, world: &World, queue_key: Option<&str>) -> TaskId {
    let mut tx = store.begin().await.unwrap();
    let task = a_new_task(world, queue_key, None);
    task_insert(&mut tx, &task).await.unwrap();
    tx.commit().await.unwrap();
    task.id
}

pub(super) fn a_new_task(
    world: &World,
    queue_key: Option<&str>,
    variables: Option<Digest>,
) -> NewTask {
    NewTask {
        id: TaskId::from_uuid(uuid()),
        kind: TaskKind::Deployment,
        title: "deploy octofx 1.0.0 to test".to_owned(),
        project_id: Some(world.project),
        environment_id: Some(world.environment),
        release_id: Some(world.release),
        queue_key: queue_key.map(str::to_owned),
        body: "{}".to_owned(),
        variables,
        priority: Priority::Normal,
        not_before_us: None,
        expires_at_us: None,
        at_us: 10,
        by: "ada".to_owned(),
    }
}
