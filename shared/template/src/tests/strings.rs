//! Filters on text, versions, URIs and regular expressions.

use super::{check, check_filters};

#[test]
fn filters_are_chained_and_take_arguments() {
    check(&[
        (&[("A", "aB")], "#{A|ToUpper}", "AB"),
        (&[("A", "aB")], "#{A | toupper}", "AB"),
        (&[("A", "aB")], "#{A | ToUpper | ToLower}", "ab"),
        (&[("A", "aB")], "#{ A  |  ToUpper  |  ToLower }", "ab"),
        (&[("A", "a"), ("B", "b")], "#{A | Append #{B}}", "ab"),
        (
            &[("A", "a"), ("B", "b")],
            "#{A | Append #{B | ToUpper} c \" \" #{B}}",
            "aBc b",
        ),
        (&[("A", "a")], "#{A | Append #{Missing}}", "a#{Missing}"),
        (
            &[("A", "a"), ("B", "1")],
            "#{A | Append #{if B}yes#{else}no#{/if}}",
            "ayes",
        ),
        (
            &[("A", "a"), ("L", "1,2")],
            "#{A | Append #{each x in L}<#{x}>#{/each}}",
            "a<1><2>",
        ),
        (&[("A", "a"), ("B", "2")], "#{A | Append #{calc B*3}}", "a6"),
        (
            &[("A", "a"), ("B", "1")],
            "#{A | Append #{if B}#{A | ToUpper}#{/if} z}",
            "aAz",
        ),
        (
            &[("A", "a"), ("B", "1")],
            "#{A | Append #{if B}#{if A}#{A}#{/if}#{/if}}",
            "aa",
        ),
        (&[("A", "a")], "#{A | Append \"\"}", "a"),
        (&[("A", "a")], "#{A | Append \\\"x y\\\"}", "ax y"),
        (&[("A", "a")], "#{A | Append \"#x\"}", "a#x"),
        (&[], "#{ | Append a b}", "ab"),
        (&[], "#{|Prepend x}", "x"),
        (&[], "#{Missing | Append x}", "x"),
        (&[("A", "a")], "#{A | Nope}", "#{A | Nope}"),
        (
            &[("A", "a")],
            "#{A | Nope x \"y z\" #{A}}",
            "#{A | Nope x \"y z\" #{A}}",
        ),
        (&[("A", "a")], "#{A |  Nope  }", "#{A |  Nope  }"),
        (
            &[("A", "a")],
            "#{A | Nope | ToUpper}",
            "#{A | Nope | ToUpper}",
        ),
        (&[], "#{Missing | ToUpper}", "#{Missing | ToUpper}"),
        (&[], "#{ | ToUpper}", "#{ | ToUpper}"),
        (&[("A", "a")], "[#{A | null}]", "[]"),
        (&[], "[#{ | Null}]", "[]"),
    ]);
}

#[test]
fn text_is_cut_and_joined() {
    check_filters(&[
        ("aBc", "ToLower", "abc"),
        ("aBc", "ToLower x", "-"),
        ("straße É", "ToUpper", "STRAßE É"),
        ("İI", "ToLower", "İi"),
        (" a ", "Trim", "a"),
        (" a ", "Trim start", "a "),
        (" a ", "Trim END", " a"),
        (" a ", "Trim middle", "-"),
        ("abcdef", "Substring 2", "ab"),
        ("abcdef", "Substring 2 3", "cde"),
        ("abcdef", "Substring 6", "abcdef"),
        ("abcdef", "Substring 0 0", ""),
        ("abcdef", "Substring 7", "-"),
        ("abcdef", "Substring 4 3", "-"),
        ("abcdef", "Substring -1", "-"),
        ("abcdef", "Substring x", "-"),
        ("abcdef", "Substring", "-"),
        ("abcdef", "Substring 1 2 3", "-"),
        ("äöü", "Substring 1 2", "öü"),
        ("a😀b", "Substring 1 2", "😀"),
        ("abcdef", "Truncate 3", "abc..."),
        ("abcdef", "Truncate 6", "abcdef"),
        ("abcdef", "Truncate 99", "abcdef"),
        ("abcdef", "Truncate 0", "..."),
        ("abcdef", "Truncate -3", "-"),
        ("abcdef", "Truncate", "-"),
        ("a", "Append b", "ab"),
        ("a", "Append", "-"),
        ("a", "Prepend b c", "bca"),
        ("a", "Prepend", "-"),
        ("x\ny", "Indent", "    x\n    y"),
        ("x\ny", "Indent 2", "  x\n  y"),
        ("x\ny", "Indent 0", "x\ny"),
        ("x\ny", "Indent /3", "x\n   y"),
        ("x\ny", "Indent 1/2", " x\n  y"),
        ("x\ny", "Indent --", "--x\n--y"),
        ("x\ny", "Indent \"> \" \". \"", "> x\n. y"),
        ("x\ny", "Indent 256", "256x\n256y"),
        ("x\ny", "Indent 1/256", "1/256x\n1/256y"),
        ("x", "Indent a b c", "-"),
        ("", "Indent a b c", ""),
        ("x\r\ny", "Indent 1", " x\r\n y"),
    ]);
    let wide = format!("{}x", " ".repeat(255));
    check_filters(&[("x", "Indent 255", &wide)]);
}

#[test]
fn text_is_compared() {
    check_filters(&[
        ("release-1", "StartsWith rel", "true"),
        ("release-1", "StartsWith Rel", "false"),
        ("release-1", "StartsWith", "-"),
        ("release-1", "StartsWith a b", "-"),
        ("release-1", "EndsWith -1", "true"),
        ("release-1", "EndsWith \"e-1\"", "true"),
        ("release-1", "EndsWith 2", "false"),
        ("release-1", "Contains ase", "true"),
        ("release-1", "Contains \"\"", "true"),
        ("release-1", "Contains ASE", "false"),
        ("3", "LessThan 10", "true"),
        ("10", "LessThan 3", "false"),
        ("3.0", "LessThanOrEqual 3", "true"),
        ("-1", "GreaterThan -2", "true"),
        ("1e3", "GreaterThanOrEqual 1000", "true"),
        ("1,000", "GreaterThan 1", "-"),
        ("x", "LessThan 1", "-"),
    ]);
}

#[test]
fn regular_expressions_match_and_replace() {
    check_filters(&[
        ("build 42", "Match 42", "true"),
        ("build 42", "Match \"^b.*\\d+$\"", "true"),
        ("build 42", "Match Build", "false"),
        ("build 42", "Match \"(?i)BUILD\"", "true"),
        ("build 42", "Match \"(?<=build )42\"", "true"),
        ("build 42", "Match \"(?!x)b\"", "true"),
        ("aa", "Match \"^(.)\\1$\"", "true"),
        ("aa", "Match \"^(?'c'.)\\k<c>$\"", "true"),
        ("line\n", "Match \"line$\"", "true"),
        ("line\n\n", "Match \"line$\"", "false"),
        ("build 42", "Match", "-"),
        ("build 42", "Match a b", "-"),
        ("build 42", "Match \"(\"", "-"),
        ("aXbX", "Replace X y", "ayby"),
        ("aXbX", "Replace X", "ab"),
        ("aXbX", "Replace x y", "aXbX"),
        ("aXbX", "Replace", "-"),
        ("aXbX", "Replace a b c", "-"),
        ("a.b", "Replace \"\\.\" -", "a-b"),
        (
            "john smith",
            "Replace \"(\\w+) (\\w+)\" \"$2, $1\"",
            "smith, john",
        ),
        (
            "john smith",
            "Replace \"(?<f>\\w+) (?<l>\\w+)\" \"${l}_${f}\"",
            "smith_john",
        ),
        // Groups with a name are numbered after those without.
        ("ab", "Replace \"(?<x>a)(b)\" \"$1$2$+${x}\"", "baaa"),
        ("abc", "Replace b \"[$&]\"", "a[b]c"),
        ("abc", "Replace b \"$$\"", "a$c"),
        ("abc", "Replace b \"$`\"", "aac"),
        ("abc", "Replace b \"$'\"", "acc"),
        ("abc", "Replace b \"$_\"", "aabcc"),
        ("abc", "Replace \"(a)(b)\" \"$+\"", "bc"),
        ("abc", "Replace b \"$9\"", "a$9c"),
        ("abc", "Replace b \"${no}\"", "a${no}c"),
        ("abc", "Replace \"(b)\" \"$1x\"", "abxc"),
        ("abc", "Replace \"(b)\" \"$12\"", "ab2c"),
        ("abc", "Replace \"$\" \"!\"", "abc!"),
        ("abc", "Replace \"^\" \"!\"", "!abc"),
        ("abc", "Replace \"x*\" -", "-a-b-c-"),
        ("5 EUR", "Replace \"\\s*EUR$\" \"\"", "5"),
        ("äöü", "Replace ö o", "äoü"),
    ]);
    check(&[(
        &[("A", "xay"), ("R", "a"), ("T", "\"b\"")],
        "#{A | Replace #{R} #{T}}",
        "x\"b\"y",
    )]);
}

#[test]
fn versions_are_taken_apart() {
    let parts = |version: &'static str, expected: [&str; 8]| {
        let names = [
            "Major",
            "Minor",
            "Patch",
            "Revision",
            "PreRelease",
            "PreReleasePrefix",
            "PreReleaseCounter",
            "Metadata",
        ];
        for (name, expected) in names.iter().zip(expected) {
            check_filters(&[(version, &format!("Version{name}"), expected)]);
        }
    };
    parts("3", ["3", "0", "0", "0", "", "", "", ""]);
    parts("3.2", ["3", "2", "0", "0", "", "", "", ""]);
    parts("3.2.1.9", ["3", "2", "1", "9", "", "", "", ""]);
    parts(
        "3.2.1-rc.7+sha.5",
        ["3", "2", "1", "0", "rc.7", "rc", "7", "sha.5"],
    );
    parts("V3.2.1-rc-x", ["3", "2", "1", "0", "rc-x", "rc", "x", ""]);
    parts("v9", ["9", "0", "0", "0", "", "", "", ""]);
    parts("vNext", ["0", "0", "0", "0", "vNext", "vNext", "", ""]);
    parts("main", ["0", "0", "0", "0", "main", "main", "", ""]);
    parts("1_2-3", ["1", "2", "3", "0", "", "", "", ""]);
    parts("1.2.3beta", ["1", "2", "3", "0", "beta", "beta", "", ""]);
    parts("1.2.3.4.5", ["1", "2", "3", "4", "5", "5", "", ""]);
    parts("7.0.0.GA", ["7", "0", "0", "0", "GA", "GA", "", ""]);
    parts(
        "20300504123456.1",
        [
            "0",
            "0",
            "0",
            "0",
            "20300504123456.1",
            "20300504123456.1",
            "",
            "",
        ],
    );
    parts("1. 2", ["0", "0", "0", "0", "", "", "", ""]);
    check(&[(&[], "#{X | VersionMajor}", "#{X | VersionMajor}")]);
}

#[test]
fn uris_are_taken_apart() {
    const FULL: &str = "HTTPS://user:pw@Www.Example.com:8443/a/b%20c?q=1&r=2#top";
    check_filters(&[
        (FULL, "UriPart Scheme", "https"),
        (FULL, "UriPart UserInfo", "user:pw"),
        (FULL, "UriPart Host", "www.example.com"),
        (FULL, "UriPart DnsSafeHost", "www.example.com"),
        (FULL, "UriPart Authority", "www.example.com:8443"),
        (FULL, "UriPart Port", "8443"),
        (FULL, "UriPart HostAndPort", "www.example.com:8443"),
        (FULL, "UriPart AbsolutePath", "/a/b%20c"),
        (FULL, "UriPart Path", "/a/b c"),
        (FULL, "UriPart Query", "?q=1&r=2"),
        (FULL, "UriPart PathAndQuery", "/a/b%20c?q=1&r=2"),
        (FULL, "UriPart Fragment", "#top"),
        (FULL, "UriPart IsDefaultPort", "false"),
        (
            FULL,
            "UriPart SchemeAndServer",
            "https://www.example.com:8443",
        ),
        (
            FULL,
            "UriPart AbsoluteUri",
            "https://user:pw@www.example.com:8443/a/b%20c?q=1&r=2#top",
        ),
        (
            "http://example.com",
            "UriPart AbsoluteUri",
            "http://example.com/",
        ),
        (
            "http://example.com",
            "UriPart hostandport",
            "example.com:80",
        ),
        ("http://example.com:80/", "UriPart Authority", "example.com"),
        ("http://example.com", "UriPart IsDefaultPort", "true"),
        ("http://example.com", "UriPart HostNameType", "Dns"),
        ("http://10.1.2.3/", "UriPart HostNameType", "IPv4"),
        ("http://[::1]:90/", "UriPart HostNameType", "IPv6"),
        ("http://[::1]:90/", "UriPart DnsSafeHost", "::1"),
        ("http://[::1]:90/", "UriPart IsLoopback", "true"),
        ("http://localhost/", "UriPart IsLoopback", "true"),
        ("http://example.com/", "UriPart IsAbsoluteUri", "true"),
        ("/only/a/path", "UriPart IsAbsoluteUri", "false"),
        ("file:///etc/hosts", "UriPart IsFile", "true"),
        ("file:///etc/hosts", "UriPart Path", "/etc/hosts"),
        ("file://server/share", "UriPart IsUnc", "true"),
        (
            "http://example.com/",
            "UriPart",
            "[UriPart error: no argument given]",
        ),
        (
            "http://example.com/",
            "UriPart Colour",
            "[UriPart Colour error: argument 'Colour' not supported]",
        ),
        (
            "a/b",
            "UriPart Host",
            "[UriPart Host error: This operation is not supported for a relative URI.]",
        ),
    ]);
}
