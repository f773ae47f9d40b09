//! Bulk streams: the receiver asks, by digest and offset.
//!
//! Packages go to the agent, artifacts come from it, and whoever receives opens the stream.
//!
//! The agent opens a bidirectional stream for each request. For every object asked, in order, the
//! server answers [`ObjectFollows`] and then exactly `wire_bytes` raw bytes, or [`ObjectRefused`].
//! An object is served only if it can be reached from a manifest granted to the agent's task.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{AttemptId, TaskId};

/// The most objects that one request may ask for.
pub const MAX_OBJECTS_A_REQUEST: usize = 1024;

/// Send these objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchObjects {
    /// The task under whose grant they are asked.
    pub task: TaskId,
    /// The root of the granted manifest that they belong to.
    pub root: Digest,
    /// Which, and from where on. At most [`MAX_OBJECTS_A_REQUEST`].
    pub objects: Vec<ObjectRequest>,
}

/// One object of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRequest {
    /// A folder of the manifest or a chunk of a file.
    pub digest: Digest,
    /// Skip this many bytes of its wire form, which the agent has from an earlier try.
    pub offset: u64,
}

/// An object's bytes follow, raw, after this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFollows {
    /// Which object.
    pub digest: Digest,
    /// How its bytes are encoded.
    pub encoding: Encoding,
    /// How many raw bytes follow on the stream (its wire form less the offset).
    pub wire_bytes: u64,
    /// The object's size once decoded.
    pub size_bytes: u64,
}

/// How an object's bytes are encoded on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// One zstd frame.
    Zstd,
}

/// An object will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRefused {
    /// Which object.
    pub digest: Digest,
    /// Why.
    pub reason: ObjectRefusal,
}

/// Why an object is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ObjectRefusal {
    /// It is not part of what the task was granted. Also the answer for what does not exist.
    NotGranted,
    /// It is granted, but the store has lost it or it is damaged.
    Missing,
    /// The server moves as much as it may; ask again.
    Busy,
}

/// The server asks for an artifact, on a stream that it opens. The agent answers with
/// [`ArtifactFollows`] and then exactly `wire_bytes` raw bytes, or with [`ArtifactRefused`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchArtifact {
    /// The attempt that left it behind.
    pub attempt: AttemptId,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Skip this many bytes, which the server has from an earlier try.
    pub offset: u64,
}

/// An artifact's bytes follow, raw, after this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFollows {
    /// How many raw bytes follow on the stream: its size less the offset.
    pub wire_bytes: u64,
}

/// An artifact will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRefused {
    /// Why.
    pub reason: ArtifactRefusal,
}

/// Why an artifact is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ArtifactRefusal {
    /// It is not there, and will not be.
    Missing,
    /// It cannot be read just now; ask again.
    Unreadable,
}

/// The server has stored an artifact for good, or wants it no more: the agent may remove it. Said on a
/// stream that the server opens, answered with [`ArtifactDropped`] once it is gone; saying it again is
/// harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropArtifact {
    /// The attempt that left it behind.
    pub attempt: AttemptId,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// An artifact is not on the agent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactDropped {
    /// Which.
    pub digest: Digest,
}
