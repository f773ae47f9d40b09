//! Filters that encode, digest and mark up.

use super::check_filters;

#[test]
fn text_is_made_safe_for_other_languages() {
    check_filters(&[
        (
            "<a href=\"x\">'&/",
            "HtmlEscape",
            "&lt;a href=&quot;x&quot;&gt;&apos;&amp;&#x2F;",
        ),
        ("<a>'\"&/", "XmlEscape", "&lt;a&gt;&apos;&quot;&amp;/"),
        (
            "say \"hi\"\\\r\n\t/é",
            "JsonEscape",
            "say \\\"hi\\\"\\\\\\r\\n\\t/é",
        ),
        ("a b/c?d=é&%", "UriEscape", "a%20b/c?d=%C3%A9&%25"),
        ("[1]#!*'()", "UriEscape", "[1]#!*'()"),
        ("a b/c?d=é~", "UriDataEscape", "a%20b%2Fc%3Fd%3D%C3%A9~"),
        ("!*'()", "UriDataEscape", "%21%2A%27%28%29"),
        ("it's", "YamlSingleQuoteEscape", "it''s"),
        ("a\nb\n\nc", "YamlSingleQuoteEscape", "a\n\nb\n\n\nc"),
        ("a\r\nb", "YamlSingleQuoteEscape", "a\r\n\r\nb"),
        ("a\n\r\nb", "YamlSingleQuoteEscape", "a\n\n\r\nb"),
        ("a\rb", "YamlSingleQuoteEscape", "a\rb"),
        ("\"\\\t\r\n'", "YamlDoubleQuoteEscape", "\\\"\\\\\\t\\r\\n'"),
        (
            "é😀\u{7f}",
            "YamlDoubleQuoteEscape",
            "\\u00e9\\ud83d\\ude00\\u007f",
        ),
        ("a b:c=d\\", "PropertiesKeyEscape", "a\\ b\\:c\\=d\\\\"),
        (" a b:c=d", "PropertiesValueEscape", "\\ a b:c=d"),
        ("é ÿ 日\t", "PropertiesValueEscape", "é \\u00ff \\u65e5\\t"),
        ("x", "HtmlEscape y", "-"),
        ("x", "JsonEscape y", "-"),
        ("", "XmlEscape", ""),
    ]);
}

#[test]
fn bytes_are_encoded_and_digested() {
    check_filters(&[
        ("hello", "ToBase64", "aGVsbG8="),
        ("hello", "ToBase64 utf8", "aGVsbG8="),
        ("hé", "ToBase64 UTF-8", "aMOp"),
        ("hi", "ToBase64 unicode", "aABpAA=="),
        ("hi", "ToBase64 latin", "-"),
        ("hi", "ToBase64 utf8 x", "-"),
        ("aGVsbG8=", "FromBase64", "hello"),
        ("aGVs bG8=\n", "FromBase64", "hello"),
        ("aABpAA==", "FromBase64 unicode", "hi"),
        ("***", "FromBase64", "-"),
        ("abc", "Md5", "900150983cd24fb0d6963f7d28e17f72"),
        ("abc", "Sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            "abc",
            "Sha256",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        ("abc", "Sha256 4", "ba7816bf"),
        ("abc", "Sha256 utf8 2", "ba78"),
        ("abc", "Sha256 2 utf8", "ba78"),
        ("YWJj", "Sha256 base64 2", "ba78"),
        ("abc", "Md5 999", "900150983cd24fb0d6963f7d28e17f72"),
        ("", "Md5", "d41d8cd98f00b204e9800998ecf8427e"),
        ("", "Sha384 3", "38b060"),
        ("", "Sha512 3", "cf83e1"),
        ("abc", "Md5 0", "-"),
        ("abc", "Md5 -2", "-"),
        ("abc", "Md5 rot13", "-"),
        ("abc", "Md5 2 3", "-"),
        ("abc", "Md5 utf8 2 x", "-"),
        ("***", "Md5 base64", "-"),
        ("abc", "HashBucket 1", "0"),
        ("abc", "HashBucket 10", "9"),
        ("", "HashBucket 10", ""),
        (
            "abc",
            "HashBucket 0",
            "[HashBucket error: bucket count '0' is not a positive integer]",
        ),
        (
            "abc",
            "HashBucket",
            "[HashBucket error: expected a single bucket count]",
        ),
    ]);
}

#[test]
fn markdown_becomes_html() {
    check_filters(&[
        ("plain", "Markdown", "<p>plain</p>\n\n"),
        (
            "  *em* **strong** `code<` ~~gone~~ ",
            "MarkdownToHtml",
            "<p><em>em</em> <strong>strong</strong> <code>code&lt;</code> <del>gone</del></p>\n\n",
        ),
        (
            "# Title\n\ntext",
            "Markdown",
            "<h1>Title</h1>\n<p>text</p>\n\n",
        ),
        (
            "- a\n- b",
            "Markdown",
            "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n\n",
        ),
        (
            "3. a\n4. b",
            "Markdown",
            "<ol start=\"3\">\n<li>a</li>\n<li>b</li>\n</ol>\n\n",
        ),
        (
            "- a\n  - b",
            "Markdown",
            "<ul>\n<li>a\n<ul>\n<li>b</li>\n</ul>\n</li>\n</ul>\n\n",
        ),
        (
            "> q",
            "Markdown",
            "<blockquote>\n<p>q</p>\n</blockquote>\n\n",
        ),
        (
            "```rust\na < b\n```",
            "Markdown",
            "<pre><code class=\"language-rust\">a &lt; b\n</code></pre>\n\n",
        ),
        ("a  \nb", "Markdown", "<p>a<br />\nb</p>\n\n"),
        ("---", "Markdown", "<hr />\n\n"),
        (
            "[t](http://x.y/?a=1&b=2 \"T\")",
            "Markdown",
            "<p><a href=\"http://x.y/?a=1&amp;b=2\" title=\"T\">t</a></p>\n\n",
        ),
        (
            "![alt *x*](i.png)",
            "Markdown",
            "<p><img src=\"i.png\" alt=\"alt x\" /></p>\n\n",
        ),
        (
            "see https://x.y/z.",
            "Markdown",
            "<p>see <a href=\"https://x.y/z\">https://x.y/z</a>.</p>\n\n",
        ),
        (
            "www.x.y",
            "Markdown",
            "<p><a href=\"http://www.x.y\">www.x.y</a></p>\n\n",
        ),
        (
            "|A|B|\n|-|-:|\n|1|2|",
            "Markdown",
            "<table>\n<thead>\n<tr>\n<th>A</th>\n<th style=\"text-align: right;\">B</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td>1</td>\n<td style=\"text-align: right;\">2</td>\n</tr>\n</tbody>\n</table>\n\n",
        ),
        ("a < b & c", "Markdown", "<p>a &lt; b &amp; c</p>\n\n"),
        ("x", "Markdown y", "-"),
    ]);
}
