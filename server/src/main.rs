//! Parses the command line and starts the right thing.

fn main() {}
