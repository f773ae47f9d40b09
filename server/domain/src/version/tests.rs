//! Versions, ranges and expressions.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn v(text: &str) -> Version {
    Version::parse(text).unwrap()
}

#[test]
fn versions_sort_as_documented() {
    let ascending = [
        "0.9",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0",
        "1.0.0.1",
        "1.2",
        "1.10",
        "2026.01.02",
    ];
    for pair in ascending.windows(2) {
        assert!(v(pair[0]) < v(pair[1]), "{pair:?}");
    }
}

#[test]
fn the_same_version_has_many_spellings() {
    for (a, b) in [
        ("1", "1.0.0.0"),
        ("1.2.3", "1.2.3+build.5"),
        ("01.002.3", "1.2.3"),
        ("1.0-BETA.01", "1.0.0-beta.1"),
    ] {
        assert_eq!(v(a), v(b), "{a} {b}");
    }
    assert_eq!(v("01.2").to_string(), "01.2");
    assert!(!v("1.0+a").is_same_build(&v("1.0+b")));
    assert!(v("1.0+a").is_same_build(&v("1.0.0+A")));
}

#[test]
fn what_is_no_version_says_why() {
    for text in [
        "",
        "x",
        "1.",
        "1.2.3.4.5",
        "1.0-",
        "1.0-a..b",
        "1.0-a b",
        "1.0+",
        "-1",
        "1.99999999999999999999",
    ] {
        let error = Version::parse(text).unwrap_err().to_string();
        assert!(error.contains("is not a version"), "{error}");
    }
}

/// Section 1.3 of the reference (versions as they are typed) knows no letter in front, and tags of
/// repositories have one.
#[test]
fn a_letter_in_front_is_refused_by_name() {
    for text in ["v1.2.3", "V1", "v1.2.3-rc.1"] {
        let error = Version::parse(text).unwrap_err().to_string();
        assert!(error.contains("'v' in front"), "{error}");
    }
    for text in ["version1", "v", "vv.1"] {
        let error = Version::parse(text).unwrap_err().to_string();
        assert!(error.contains("must be numbers"), "{error}");
    }
}

#[test]
fn ranges_are_nugets() {
    for (range, version, inside) in [
        ("1.0", "1.0", true),
        ("1.0", "9.0", true),
        ("1.0", "0.9", false),
        ("[1.0]", "1.0.0", true),
        ("[1.0]", "1.0.1", false),
        ("[1.0,2.0)", "1.9.9", true),
        ("[1.0,2.0)", "2.0", false),
        ("[1.0,2.0)", "2.0-beta", true),
        ("(1.0,)", "1.0", false),
        ("(1.0,)", "1.0.0.1", true),
        ("(,2.0]", "0.1-alpha", true),
        ("(,2.0]", "2.0.1", false),
        ("[ 1.0 , 2.0 ]", "2.0", true),
        ("[1.0]", "1.0+build", true),
        ("[1.0.0-beta.1,1.0.0)", "1.0.0-rc.1", true),
        ("[1.0.0-beta.1,1.0.0)", "1.0.0-alpha", false),
        ("[1.0.0-beta.1,1.0.0)", "1.0.0", false),
        ("[01.02,1.3)", "1.2.0.0", true),
        ("(1.2.3.4,2)", "1.2.3.5", true),
        ("(1.2.3.4,2)", "1.2.3", false),
    ] {
        assert_eq!(
            Range::parse(range).unwrap().contains(&v(version)),
            inside,
            "{range} {version}"
        );
    }
    for bad in [
        "",
        "[1.0",
        "(1.0)",
        "[1,2,3]",
        "[2.0,1.0]",
        "(1.0,1.0]",
        "[]",
        "1.0]",
        "[a,b]",
        "(,)",
        "[ , ]",
        "[,)",
        "(,1.3..2]",
        "(1.2.3.4.5,2]",
        "[-1,2]",
    ] {
        assert!(Range::parse(bad).is_err(), "{bad}");
    }
}

/// Section 1.3 of the reference, version rules; the subject is the pre-release text with `+metadata`.
#[test]
fn expressions_see_the_pre_release_and_the_metadata() {
    for (pattern, versions) in [
        // Stable, without metadata.
        ("^$", [true, false, false, false]),
        // Stable, with or without metadata.
        (r"^(|\+.*)$", [true, true, false, false]),
        // Any pre-release.
        (r"^[^\+].*", [false, false, true, true]),
        ("^beta", [false, false, true, false]),
        ("beta", [false, true, true, false]),
        ("^(?!beta).+", [false, true, false, true]),
        (r"(?<=beta)\.\d+", [false, true, true, false]),
        (r"(?<!beta)\.\d+", [false, false, false, true]),
        (r"^(?'name'[a-z]+)\.\d+", [false, false, true, true]),
        ("^[a-z-[b]]", [false, false, false, true]),
        ("(?i)^RC", [false, false, false, true]),
    ] {
        let pattern = PrereleasePattern::parse(pattern).unwrap();
        let texts = ["1.0", "1.0+beta.5", "1.0-beta.2", "1.0-rc.1+sha"];
        for (text, matches) in texts.iter().zip(versions) {
            assert_eq!(pattern.accepts(&v(text)), Ok(matches), "{pattern:?} {text}");
        }
    }
}

#[test]
fn expressions_are_bounded() {
    for bad in [
        "(",
        "[",
        "(?<=",
        "(?<open-close>x)",
        "a**",
        &"a".repeat(1001),
    ] {
        let error = PrereleasePattern::parse(bad).unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }
    let version = v(&format!("1.0-{}", "a".repeat(200)));
    for (pattern, linear) in [
        (r"^(a+)+$", true),
        (r"^(a|aa)+b$", true),
        (r"^(?=(a+)+$)(a+)+\1b$", false),
        (r"(?=(a*)*b)x", false),
    ] {
        let started = std::time::Instant::now();
        let answer = PrereleasePattern::parse(pattern).unwrap().accepts(&version);
        assert!(started.elapsed().as_secs() < 10, "{pattern}");
        assert!(!linear || answer.is_ok(), "{pattern} {answer:?}");
        if let Err(error) = answer {
            assert!(matches!(error, PatternError::TooSlow { .. }), "{error}");
        }
    }
}

fn any_version() -> impl Strategy<Value = Version> {
    "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(-[0-9a-zA-Z]{1,3}(\\.[0-9a-zA-Z-]{1,3}){0,2})?(\\+[a-z0-9]{1,3})?"
        .prop_map(|text| v(&text))
}

proptest! {
    #[test]
    fn the_order_is_total(a in any_version(), b in any_version(), c in any_version()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,40}") {
        let _ = Version::parse(&text);
        let _ = Range::parse(&text);
        let _ = PrereleasePattern::parse(&text);
    }
}
