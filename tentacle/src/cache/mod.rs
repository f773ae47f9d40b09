//! Packages on this machine: chunks and manifests by digest.
