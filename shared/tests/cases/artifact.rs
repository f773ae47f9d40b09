//! Files that attempts left behind.

use mantle_shared::protocol::{
    ArtifactDropped, ArtifactFollows, ArtifactRefused, DropArtifact, FetchArtifact,
};

use super::{Case, artifact_refusals, attempt, case, digest};

pub(super) fn cases() -> Vec<Case> {
    let (attempt, digest) = (attempt(), digest(0x66));
    let fetch = FetchArtifact {
        attempt,
        digest,
        offset: 70_000,
    };
    let follows = ArtifactFollows {
        wire_bytes: 930_000,
    };
    let mut cases = vec![
        case("", fetch),
        case("", follows),
        case("", DropArtifact { attempt, digest }),
        case("", ArtifactDropped { digest }),
    ];
    for (name, reason) in artifact_refusals() {
        cases.push(case(name, ArtifactRefused { reason }));
    }
    cases
}
