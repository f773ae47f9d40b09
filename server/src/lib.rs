//! placeholder

pub mod gateway;
