//! Planning, by tables over one farm.
