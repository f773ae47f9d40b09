//! Ids that only the store and its callers know.

use mantle_shared::typed_id;

typed_id!(
    /// An upload that is under way.
    UploadId
);
typed_id!(
    /// One running server process. Minted at each start, so that a restart is another holder.
    NodeId
);
