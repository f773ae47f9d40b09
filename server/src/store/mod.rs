//! The database: the only SQL of the server.
//!
//! One file an aggregate. Its functions are named noun first, take the transaction they run in and
//! write one dialect that SQLite and PostgreSQL share: `$1` parameters, integers of 64 bits, text
//! and bytes. A change that expects a state names it in its `WHERE` and checks that a row was hit.
//!
//! A transaction keeps all of what was done in it or nothing. What the caller does next (an answer,
//! an order to an agent, an acknowledgement) comes after its commit.

mod agent;
mod answered;
mod api_key;
mod artifact;
mod attempt;
mod audit;
mod copy;
mod dashboard;
mod deployment;
mod environment;
mod error;
mod extent;
mod health;
mod held_lock;
mod ids;
mod interruption;
mod join_token;
mod lifecycle;
mod lock;
mod log;
mod log_chunk;
mod migrate;
mod open;
mod package;
mod plan;
mod project;
mod release;
mod reserve;
mod resolution;
mod retention;
mod room;
mod secret;
mod server_meta;
mod snapshot;
mod target;
mod task;
mod task_event;
mod task_lease;
mod task_queue;
mod team;
mod tx;
mod upkeep;
mod upload;
mod value;
mod variable_set;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use agent::{
    AgentKeyRow, AgentKeyStatus, AgentProfile, AgentRow, AgentStatus, agent_fetch,
    agent_find_of_target, agent_insert, agent_key_find, agent_key_find_offered, agent_key_insert,
    agent_key_list_allowed, agent_key_mark_current, agent_key_retire_offered, agent_list,
    agent_list_revoked, agent_mark_connected, agent_mark_revoked, agent_mark_seen,
    agent_mark_seen_until,
};
pub use answered::{
    AnsweredVariables, Leaving, answered_drop_left, answered_list_left, task_answered,
};
pub use api_key::{
    ApiKeyRow, api_key_find, api_key_find_live, api_key_insert, api_key_list, api_key_mark_revoked,
    api_key_mark_used,
};
pub use artifact::{
    ArtifactRow, ArtifactState, NewArtifact, artifact_find, artifact_insert_all,
    artifact_is_waiting, artifact_list, artifact_list_agents, artifact_list_digests,
    artifact_list_open, artifact_mark_kept, artifact_mark_lost, artifact_mark_stored,
};
pub use attempt::{
    AttemptRow, AttemptState, attempt_find, attempt_insert, attempt_list_live_of_agent,
    attempt_list_of_task, attempt_mark_ended, attempt_mark_running,
};
pub use audit::{
    AuditEntry, AuditFault, AuditHead, AuditVerdict, audit_append, audit_head, audit_list,
    audit_verify,
};
pub use copy::{
    COPIED_FILES, CopiedArtifact, CopiedPackage, CopyFacts, MaintenanceLock, sqlite_copy,
    sqlite_copy_check, sqlite_copy_facts, sqlite_copy_mark, sqlite_copy_meta,
};
pub use dashboard::{
    DashboardCell, DashboardProject, dashboard_cell_list, dashboard_project_list,
    dashboard_release_list,
};
pub use deployment::{
    DeploymentCurrentRow, DeploymentSucceeded, TargetCurrentFilter, TargetCurrentRow, TargetState,
    automatic_deployment_claim, deployment_current_list, deployment_current_show,
    deployment_manifest_find, deployment_manifest_insert, release_place_list, target_current_list,
    target_current_show,
};
pub use environment::{
    EnvironmentRow, environment_delete, environment_fetch, environment_find, environment_insert,
    environment_list, environment_update,
};
pub use error::{Result, StoreError};
pub use extent::Extent;
pub use health::{
    HealthCheckRow, TargetHealthRow, health_check_delete, health_check_find, health_check_insert,
    health_check_list, health_check_mark_queued, health_check_update, target_health_list,
    target_health_list_of_check, target_health_show,
};
pub use held_lock::{
    HeldLockRow, LockEnd, held_lock_insert, held_lock_list, held_lock_mark_broken,
    held_lock_mark_ended, held_lock_release, held_lock_resolve,
};
pub use ids::{NodeId, UploadId};
pub use interruption::{
    InterruptionAnswerRow, InterruptionRow, interruption_answer_insert, interruption_answer_list,
    interruption_answer_withdraw, interruption_find, interruption_insert,
    interruption_list_of_task, interruption_list_open, interruption_mark_closed,
    interruption_mark_taken, task_mark_awaiting,
};
pub use join_token::{
    JoinTokenRow, join_token_find, join_token_insert, join_token_list, join_token_mark_revoked,
    join_token_use,
};
pub use lifecycle::{
    LifecycleRow, lifecycle_delete, lifecycle_fetch, lifecycle_find, lifecycle_insert,
    lifecycle_list, lifecycle_update,
};
pub use lock::LockError;
pub use log::{
    LogAppended, LogRecord, LogVariable, LogVariables, log_append, log_append_server,
    log_artifacts, log_delete, log_digest, log_last, log_position, log_read, log_read_attempt,
    log_read_before, log_read_remarks, log_sealed_variables, log_skip, log_variables,
};
pub use mantle_domain::audit::AuditRow;
pub use migrate::MigrateError;
pub use open::{LOGS_FILE, OpenError, STATE_FILE, Store, StoreConfig};
pub use package::{
    PackageSummary, PackageVersionRow, package_list, package_version_delete, package_version_find,
    package_version_insert, package_version_list, package_version_list_all,
    package_version_list_digests,
};
pub use plan::{plan_find, plan_keep, plan_prune};
pub use project::{
    ProjectRow, project_delete, project_fetch, project_find, project_insert, project_list,
    project_update,
};
pub use release::{
    ReleaseBlock, ReleaseOutline, ReleaseRow, ReleaseUnblock, ReleaseVariablesRow,
    release_count_of_channel, release_fetch, release_find, release_insert, release_list,
    release_list_packages, release_mark_blocked, release_mark_unblocked, release_outline_list,
    release_pin_list, release_replace_notes, release_replace_variables, release_variables_list,
};
pub use reserve::Reserve;
pub use resolution::{
    ResolutionRow, resolution_delete, resolution_find, resolution_insert,
    resolution_list_of_target, resolution_list_of_task, resolution_list_pending,
    resolution_mark_taken,
};
pub use retention::{
    release_before, release_delete, release_reach_list, retired_task_done, retired_task_list,
    secret_version_prune_all, task_list_of_release, task_open_list,
};
pub use room::{RoomLeft, RoomPlace};
pub use secret::{
    ANSWER_PATH, NewSecretVersion, SecretRow, SecretVersionRow, secret_delete, secret_find,
    secret_keep, secret_list, secret_list_current, secret_set, secret_version_fetch,
    secret_version_list_other_key, secret_version_prune, secret_version_reseal,
};
pub use server_meta::{
    MAX_RUNNING, META_AUTHORITY, META_CONNECTION_ID_KEY, META_INSTANCE_ID, META_MASTER_KEY_CHECK,
    META_RESET_KEY, META_RESTORED, connected_find, connected_keep, epoch_current, epoch_next,
    epoch_raise, max_running, max_running_keep, now_us, server_meta_find, server_meta_keep,
    server_meta_remove, server_meta_replace,
};
pub use snapshot::{SnapshotKind, snapshot_fetch, snapshot_keep};
pub use target::{
    Maintenance, TargetRow, target_delete, target_fetch, target_find, target_insert, target_list,
    target_mark_disabled, target_mark_maintenance, target_replace_environments,
    target_replace_tags,
};
pub use task::{
    Lease, NewTask, TaskFilter, TaskKind, TaskOutcome, TaskRow, TaskState, task_fetch, task_find,
    task_find_open, task_insert, task_list, task_list_past, task_list_past_keys, task_list_running,
    task_list_succeeded, task_mark_cancel_asked, task_mark_done, task_mark_dropped,
    task_mark_started, task_mark_warned,
};
pub use task_event::{
    EventsAppended, NewTaskEvent, TaskEventRow, task_event_append, task_event_append_after_end,
    task_event_list,
};
pub use task_lease::{
    task_lease_clear, task_lease_release, task_lease_release_all, task_lease_renew, task_lease_take,
};
pub use task_queue::{
    QueueRow, task_mark_moved_up, task_queue_list, task_queue_list_running, task_start_list,
};
pub use team::{TeamMemberRow, team_member_delete, team_member_insert, team_member_list};
pub use tx::{LogTx, Tx};
pub use upkeep::{
    PastAudit, PastTask, TaskHold, audit_cut, audit_cut_find, log_bytes, log_bytes_of, log_shorten,
    past_audit_bytes, past_audit_list, past_task_bytes, past_task_list, task_exists,
    task_log_retire, task_retire,
};
pub use upload::{
    UploadRow, upload_advance, upload_delete, upload_find, upload_find_same, upload_insert,
    upload_list_idle,
};
pub use variable_set::{
    VariableSetRow, variable_set_delete, variable_set_find, variable_set_insert, variable_set_list,
    variable_set_update,
};
