//! The ids of what only the server knows, and those that the wire shares.

pub use mantle_shared::ids::{AgentId, AttemptId, AttemptKey, TargetId, TaskId};
use mantle_shared::typed_id;

typed_id!(
    /// A project.
    ProjectId
);
typed_id!(
    /// An environment.
    EnvironmentId
);
typed_id!(
    /// A lifecycle.
    LifecycleId
);
typed_id!(
    /// A health check.
    HealthCheckId
);
typed_id!(
    /// A variable set.
    VariableSetId
);
typed_id!(
    /// A release of a project.
    ReleaseId
);
typed_id!(
    /// One version of a package in the repository.
    PackageVersionId
);
typed_id!(
    /// One value that a secret has had. Immutable in meaning.
    SecretVersionId
);
typed_id!(
    /// An API key.
    ApiKeyId
);
typed_id!(
    /// A join token.
    JoinTokenId
);
