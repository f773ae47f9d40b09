//! What travels over HTTP: the bodies of requests and answers, one file a resource.
//!
//! They are a contract of their own, neither rows nor domain types. Requests refuse a field that
//! they do not know; answers only ever gain fields, so an older client reads a newer server.

mod access;
mod apply;
mod artifact;
mod deployment;
mod health;
mod interruption;
mod lock;
mod package;
mod release;
mod resolution;
mod server;
mod target;
mod task;
mod variable;

pub use access::{
    ApiKey, ApiKeyCreate, ApiKeyCreated, AuditEntry, AuditVerified, InstallCommandCreate,
    InstallOs, JoinToken, JoinTokenCreate, JoinTokenCreated, Secret, SecretSet,
};
pub use apply::{
    ApplyFile, ApplyRequest, ApplyResult, Change, ChangeKind, Environment, Export, Lifecycle,
    Phase, Project, ProjectDetail,
};
pub use artifact::{Artifact, ArtifactState};
pub use deployment::{
    DeploymentChoices, DeploymentCreate, DeploymentDiff, DeploymentManifest, LeftOutTarget,
    PlanAction, PlanBody, PlanNode, PlanNotUndone, PlanPrompt, PlanPutBack, PlanRequest,
    PlanRollBack, PlanStep, PlanTarget, RetentionCount, RetentionItem, RetentionResult,
    RetentionRun, Rollback, StatusBody, StatusCell, StatusRow, StatusUnderWay, UnavailableTargets,
    UnhealthyTargets,
};
pub use health::{
    CheckResult, CheckStatus, CheckedTarget, HealthCheck, HealthCheckRun, TargetCheck,
};
pub use interruption::{
    Interruption, InterruptionAnswer, InterruptionAnswered, InterruptionGiven, InterruptionKind,
    InterruptionState, Team, TeamAdd, TeamMember,
};
pub use lock::{HeldLock, LockBreak};
pub use package::{
    Package, PackageCollect, PackageCollected, PackagePlatform, PackageProblem, PackageVerified,
    PackageVerify, PackageVersion, Upload, UploadCreate,
};
pub use release::{
    BroughtRelease, FileChange, OlderVariables, OlderVariablesIn, PackageDiff, QueuedTask,
    RefreshVariables, Release, ReleaseBlockCreate, ReleaseBlocked, ReleaseChanges, ReleaseCreate,
    ReleaseDetail, ReleaseDiff, ReleaseDrift, ReleaseEdit, ReleasePackage, ReleaseUnblockCreate,
    ReleaseUnblocked, RevertVariables, RunningRelease, VariableSnapshotEntry, VariablesChanged,
};
pub use resolution::{
    ActionResolution, ResolvedAttempt, TaskResolve, TaskResolved, UnresolvedAttempt,
};
pub use server::{
    AgentAhead, MissingPackage, Page, RestoredServer, ServerInfo, ServerRecovered, ServerRoom,
    ServerStatus, UdpBuffers,
};
pub use target::{
    Agent, MaintenanceSet, Target, TargetAgent, TargetHealth, TargetMaintenance, TargetState,
    TargetTags,
};
pub use task::{
    ActionView, LogKind, LogLine, PackagesView, StepView, SubjectView, Task, TaskDetail, TaskEvent,
    TaskEventKind, TaskPriority, TaskState, TaskWarning, WorkState,
};
pub use variable::{
    Answers, OriginSource, ValueView, VariableCandidate, VariableExplanation, VariableOnTargets,
    VariableOrigin, VariablePlace, VariablePut, VariableRemove, VariableScope, VariableSet,
    VariableSetDetail, VariableView,
};
