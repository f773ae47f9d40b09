//! What an attempt prints, on its way from the pipe to the disk.
//!
//! ```text
//! pipe -> capture (finds service messages) -> mask -> lines -> recorder (numbers) -> spool
//! ```
//!
//! What holds here: nothing reaches the disk before it was masked; every record has a number and a
//! checksum; memory is bounded whatever is printed; what cannot be kept is counted in a gap record.

pub mod capture;
pub mod lines;
pub mod recorder;
pub mod seal;
pub mod service_message;
pub mod spool;
