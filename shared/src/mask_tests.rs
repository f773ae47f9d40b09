//! Masking: no split, encoding or order of writes lets a secret through.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use base64::engine::general_purpose::STANDARD as STANDARD_PAD;

use super::*;

fn set(secrets: &[&str]) -> Arc<MaskSet> {
    Arc::new(MaskSet::new(secrets.iter().copied()).unwrap())
}

fn in_chunks(set: &Arc<MaskSet>, chunks: &[&[u8]]) -> String {
    let mut stream = MaskStream::new(Arc::clone(set));
    let mut out = Vec::new();
    for chunk in chunks {
        stream.push(chunk, &mut out);
    }
    stream.flush(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn s40_a_secret_split_at_every_offset_is_masked() {
    let set = set(&["hunter2-and-more"]);
    let text = b"before hunter2-and-more after";
    for at in 0..=text.len() {
        for second in at..=text.len() {
            let shown = in_chunks(&set, &[&text[..at], &text[at..second], &text[second..]]);
            assert_eq!(shown, "before ******** after");
        }
    }
}

#[test]
fn s40_the_held_back_tail_is_flushed_at_the_end() {
    let set = set(&["hunter2-and-more"]);
    assert_eq!(
        in_chunks(&set, &[b"it ends with hunter2-an"]),
        "it ends with hunter2-an"
    );
}

#[test]
fn s40_a_secret_over_several_lines_is_masked_with_either_line_break() {
    let set = set(&["first line\nsecond"]);
    assert_eq!(
        in_chunks(&set, &[b"a first line\n", b"second b"]),
        "a ******** b"
    );
    assert_eq!(
        in_chunks(&set, &[b"a first line\r", b"\nsecond b"]),
        "a ******** b"
    );
    assert_eq!(
        in_chunks(&set, &[b"prefixed: first line\nx"]),
        "prefixed: ********\nx"
    );
}

#[test]
fn encoded_forms_are_masked() {
    let secret = "p\u{e4}ss/w\"rd with spaces";
    let set = set(&[secret]);
    for before in ["", "x", "xy"] {
        let plain = format!("{before}{secret}-tail");
        for text in [
            STANDARD_NO_PAD.encode(&plain),
            URL_SAFE_NO_PAD.encode(&plain),
        ] {
            let shown = in_chunks(&set, &[text.as_bytes()]);
            assert!(shown.contains(MASK), "{text} -> {shown}");
            assert!(shown.len() < text.len(), "{text} -> {shown}");
        }
    }
    assert_eq!(
        set.mask("q=p%C3%A4ss%2Fw%22rd%20with%20spaces&"),
        "q=********&"
    );
    assert_eq!(set.mask("q=p%c3%a4ss%2fw%22rd+with+spaces&"), "q=********&");
    assert_eq!(
        set.mask(&serde_json::to_string(secret).unwrap()),
        "\"********\""
    );
}

#[test]
fn s40_no_character_of_base64_that_holds_a_bit_of_the_secret_is_left() {
    for secret in [
        "hunter2-and-more",
        "hunter2-and-mor",
        "hunter2-and-mo\u{ff}",
    ] {
        let set = set(&[secret]);
        for (before, after) in ["", "x", "xy", "xyz"]
            .into_iter()
            .flat_map(|before| ["", "\n", "ab", "abc"].map(|after| (before, after)))
        {
            let plain = format!("{before}{secret}{after}");
            for text in [STANDARD_PAD.encode(&plain), URL_SAFE_NO_PAD.encode(&plain)] {
                let from = before.len() * 8 / 6;
                let to = ((before.len() + secret.len()) * 8).div_ceil(6);
                let expected = format!("{}{MASK}{}", &text[..from], &text[to..]);
                assert_eq!(set.mask(&text), expected, "{plain:?} {text}");
                for at in 0..text.len() {
                    let (one, two) = text.as_bytes().split_at(at);
                    assert_eq!(in_chunks(&set, &[one, two]), expected, "{plain:?} at {at}");
                }
            }
        }
    }
}

#[test]
fn the_ways_in_which_libraries_escape_are_masked() {
    let secret = "p\u{e4}ss<w>&'o r/d\u{1f511}";
    let set = set(&[secret]);
    for text in [
        // serde_json, JavaScript, Python's json, Go's encoding/json, PHP.
        r"p\u00e4ss<w>&'o r/d\ud83d\udd11",
        r"p\u00E4ss\u003Cw\u003E\u0026\u0027o r/d\uD83D\uDD11",
        "p\u{e4}ss\\u003cw\\u003e\\u0026'o r/d\u{1f511}",
        "p\u{e4}ss<w>&'o r\\/d\u{1f511}",
        // encodeURIComponent, urllib's quote and quote_plus.
        "p%C3%A4ss%3Cw%3E%26'o%20r%2Fd%F0%9F%94%91",
        "p%C3%A4ss%3Cw%3E%26%27o%20r/d%F0%9F%94%91",
        "p%C3%A4ss%3Cw%3E%26%27o+r%2Fd%F0%9F%94%91",
    ] {
        assert_eq!(set.mask(text), MASK, "{text}");
    }
}

/// As the tools printed them.
#[test]
fn the_ways_in_which_shells_languages_and_pages_quote_are_masked() {
    let secret = "it's <b>\"a\\b\" & $c `d` \u{fc}!";
    let set = set(&[secret]);
    for text in [
        // bash's `set -x`, dash's, Python's shlex.quote, PowerShell, YAML and SQL.
        r#"it'\''s <b>"a\b" & $c `d` ü!"#,
        r#"it'"'"'s <b>"a\b" & $c `d` ü!"#,
        r#"it''s <b>"a\b" & $c `d` ü!"#,
        // bash's `printf %q` and `declare -p`.
        r#"it\'s\ \<b\>\"a\\b\"\ \&\ \$c\ \`d\`\ ü\!"#,
        r#"it's <b>\"a\\b\" & \$c \`d\` ü!"#,
        // Python's repr, ascii and repr of bytes.
        r#"it\'s <b>"a\\b" & $c `d` ü!"#,
        r#"it\'s <b>"a\\b" & $c `d` \xfc!"#,
        r#"it\'s <b>"a\\b" & $c `d` \xc3\xbc!"#,
        // Python's html.escape, Go's, and those that leave quotes alone.
        "it&#x27;s &lt;b&gt;&quot;a\\b&quot; &amp; $c `d` ü!",
        "it&#39;s &lt;b&gt;&#34;a\\b&#34; &amp; $c `d` ü!",
        "it's &lt;b&gt;\"a\\b\" &amp; $c `d` ü!",
        "69742773203c623e22615c622220262024632060646020c3bc21",
        "69742773203C623E22615C622220262024632060646020C3BC21",
    ] {
        assert_eq!(set.mask(text), MASK, "{text}");
        for at in 0..text.len() {
            let (one, two) = text.as_bytes().split_at(at);
            assert_eq!(in_chunks(&set, &[one, two]), MASK, "{text} at {at}");
        }
    }
    let set = self::set(&["tab\there\nand \u{1} there's"]);
    let traced = r"+ : $'tab\there\nand \001 there\'s'";
    assert_eq!(set.mask(traced), "+ : $'********'");
}

#[test]
fn a_scan_finds_what_began_in_the_text_before() {
    let set = set(&["first line\nsecond"]);
    let mut scan = MaskScan::default();
    assert!(scan.find(&set, b"x first lin").is_empty());
    assert_eq!(scan.open_bytes(&set), "first lin".len());
    let found = scan.find(&set, b"e\nsecond, and more");
    assert!(matches!(found.as_slice(), [range] if *range == (0.."e\nsecond".len())));
    assert!(scan.is_idle());
}

#[test]
fn overlapping_and_adjacent_secrets_leave_nothing() {
    let set = set(&["abcdef", "defghi", "cdefg"]);
    assert_eq!(in_chunks(&set, &[b"xabcde", b"fghiy"]), "x********y");
    assert_eq!(in_chunks(&set, &[b"abcdefabcdef"]), "********");
    assert_eq!(in_chunks(&set, &[b"abcdef abcdef"]), "******** ********");
}

#[test]
fn short_secrets_are_masked_as_whole_words() {
    let set = set(&["ab"]);
    assert_eq!(
        set.mask("ab cab ab_ (ab) ab"),
        "******** cab ab_ (********) ********"
    );
}

#[test]
fn a_secret_learnt_later_is_found_in_what_is_held_back() {
    let old = set(&["secret-one"]);
    let mut stream = MaskStream::new(old);
    let mut out = Vec::new();
    stream.push(b"x secret-", &mut out);
    stream.replace_set(&set(&["secret-one", "secret-two"]));
    stream.push(b"two y", &mut out);
    stream.flush(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "x ******** y");
}

#[test]
fn hostile_secrets_cost_linear_time() {
    // A naive search for this looks at every byte as often as the secret is long.
    let secret = "a".repeat(2000);
    let set = set(&[&format!("{secret}b")]);
    let text = vec![b'a'; 2_000_000];
    let begun = std::time::Instant::now();
    let shown = in_chunks(&set, &text.chunks(4096).collect::<Vec<_>>());
    assert_eq!(shown.len(), text.len());
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

/// Masks by looking for every secret at every place.
fn naive(secrets: &[&str], text: &str) -> String {
    let bytes = text.as_bytes();
    let mut secret = vec![false; bytes.len()];
    for at in 0..bytes.len() {
        for known in secrets {
            if bytes[at..].starts_with(known.as_bytes()) {
                secret[at..at + known.len()].fill(true);
            }
        }
    }
    let mut out = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        if !secret[at] {
            out.push(*byte);
        } else if at == 0 || !secret[at - 1] {
            out.extend_from_slice(MASK.as_bytes());
        }
    }
    String::from_utf8(out).unwrap()
}

proptest! {
    /// Whatever the chunks, the result is that of a naive search over the whole, and holds no secret.
    #[test]
    fn s40_chunks_do_not_matter_and_the_result_is_that_of_a_naive_search(
        secrets in proptest::collection::vec("[ab]{4,7}", 1..4),
        text in "[abc\n]{0,60}",
        cuts in proptest::collection::vec(0_usize..60, 0..6),
    ) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let set = set(&secrets);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut at = 0;
        for cut in cuts {
            chunks.push(&text.as_bytes()[at..cut]);
            at = cut;
        }
        chunks.push(&text.as_bytes()[at..]);
        let shown = in_chunks(&set, &chunks);
        prop_assert_eq!(&shown, &naive(&secrets, &text));
        for secret in secrets {
            prop_assert!(!shown.contains(secret), "{} in {}", secret, shown);
        }
    }
}
