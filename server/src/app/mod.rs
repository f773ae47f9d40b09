//! The composition root: builds everything once, in order, and hands it down.

pub mod bind;
pub mod data_dir;
pub mod machinery;
pub mod server_file;
