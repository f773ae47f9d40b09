#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use crate::{Options, Variables, render};

#[test]
fn smoke() {
    let variables: Variables = [("Name", "World"), ("Greeting", "Hello #{Name | ToUpper}")]
        .into_iter()
        .collect();
    let options = Options::new(jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(
        render("#{Greeting}!", &variables, &options).unwrap().text,
        "Hello WORLD!"
    );
}
