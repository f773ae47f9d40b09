//! Markdown to HTML, laid out as the original's library lays it out: a line for each block, tables included.

use std::fmt::Write as _;

use pulldown_cmark::{
    Alignment, CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd, TextMergeStream,
};

use super::{Answer, Call};

pub(super) fn to_html(call: &Call<'_>) -> Answer {
    let text = call.plain()?.trim();
    let mut writer = Writer::default();
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_SUPERSCRIPT
        | Options::ENABLE_SUBSCRIPT;
    for event in TextMergeStream::new(Parser::new_ext(text, options)) {
        writer.event(event);
    }
    writer.line();
    writer.out.push('\n');
    Ok(writer.out)
}

#[derive(Default)]
struct Writer {
    out: String,
    alignments: Vec<Alignment>,
    column: usize,
    in_head: bool,
    /// Inside a link no further links are made; inside an image only its text counts.
    links: usize,
    images: Vec<(String, String)>,
    alt: String,
    code: bool,
}

impl Writer {
    /// Begins a new line unless one has just begun.
    fn line(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
    }

    fn event(&mut self, event: Event<'_>) {
        if !self.images.is_empty() {
            return self.in_image(event);
        }
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.links > 0 || self.code => escape(&text, &mut self.out),
            Event::Text(text) => linkify(&text, &mut self.out),
            Event::Code(text) => {
                self.out.push_str("<code>");
                escape(&text, &mut self.out);
                self.out.push_str("</code>");
            }
            Event::Html(text) | Event::InlineHtml(text) => self.out.push_str(&text),
            Event::SoftBreak => self.out.push('\n'),
            Event::HardBreak => self.out.push_str("<br />\n"),
            Event::Rule => {
                self.line();
                self.out.push_str("<hr />\n");
            }
            // Not enabled.
            Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::TaskListMarker(_) => {}
        }
    }

    fn in_image(&mut self, event: Event<'_>) {
        match event {
            Event::Text(text) | Event::Code(text) => self.alt.push_str(&text),
            Event::SoftBreak | Event::HardBreak => self.alt.push(' '),
            Event::Start(Tag::Image {
                dest_url, title, ..
            }) => {
                self.images
                    .push((dest_url.into_string(), title.into_string()));
            }
            Event::End(TagEnd::Image) => {
                if let Some((url, title)) = self.images.pop()
                    && self.images.is_empty()
                {
                    let alt = std::mem::take(&mut self.alt);
                    self.out.push_str("<img src=\"");
                    url_escape(&url, &mut self.out);
                    self.out.push_str("\" alt=\"");
                    escape(&alt, &mut self.out);
                    self.out.push('"');
                    self.title(&title);
                    self.out.push_str(" />");
                }
            }
            _ => {}
        }
    }

    fn title(&mut self, title: &str) {
        if !title.is_empty() {
            self.out.push_str(" title=\"");
            escape(title, &mut self.out);
            self.out.push('"');
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        let block = |this: &mut Self, text: &str| {
            this.line();
            this.out.push_str(text);
        };
        match tag {
            Tag::Paragraph => block(self, "<p>"),
            Tag::Heading { level, .. } => block(self, &format!("<{level}>")),
            Tag::BlockQuote(_) => block(self, "<blockquote>\n"),
            Tag::CodeBlock(kind) => {
                self.code = true;
                block(self, "<pre><code");
                if let CodeBlockKind::Fenced(info) = kind
                    && let Some(language) = info.split_whitespace().next()
                {
                    self.out.push_str(" class=\"language-");
                    escape(language, &mut self.out);
                    self.out.push('"');
                }
                self.out.push('>');
            }
            Tag::List(None) => block(self, "<ul>\n"),
            Tag::List(Some(1)) => block(self, "<ol>\n"),
            Tag::List(Some(first)) => block(self, &format!("<ol start=\"{first}\">\n")),
            Tag::Item => block(self, "<li>"),
            Tag::Table(alignments) => {
                self.alignments = alignments;
                block(self, "<table>\n");
            }
            Tag::TableHead => {
                self.in_head = true;
                self.column = 0;
                self.out.push_str("<thead>\n<tr>\n");
            }
            Tag::TableRow => {
                self.column = 0;
                self.out.push_str("<tr>\n");
            }
            Tag::TableCell => {
                self.out.push_str(if self.in_head { "<th" } else { "<td" });
                self.out.push_str(match self.alignments.get(self.column) {
                    Some(Alignment::Left) => " style=\"text-align: left;\">",
                    Some(Alignment::Center) => " style=\"text-align: center;\">",
                    Some(Alignment::Right) => " style=\"text-align: right;\">",
                    Some(Alignment::None) | None => ">",
                });
            }
            Tag::Link {
                dest_url, title, ..
            } => self.link(&dest_url, &title),
            Tag::Image {
                dest_url, title, ..
            } => self
                .images
                .push((dest_url.into_string(), title.into_string())),
            Tag::Emphasis => self.out.push_str("<em>"),
            Tag::Strong => self.out.push_str("<strong>"),
            Tag::Strikethrough => self.out.push_str("<del>"),
            Tag::Superscript => self.out.push_str("<sup>"),
            Tag::Subscript => self.out.push_str("<sub>"),
            _ => {}
        }
    }

    fn link(&mut self, url: &CowStr<'_>, title: &str) {
        self.links += 1;
        self.out.push_str("<a href=\"");
        if url.contains('@') && !url.contains(':') {
            self.out.push_str("mailto:");
        }
        url_escape(url, &mut self.out);
        self.out.push('"');
        self.title(title);
        self.out.push('>');
    }

    fn end(&mut self, tag: TagEnd) {
        let text = match tag {
            TagEnd::Paragraph => "</p>\n",
            TagEnd::Heading(level) => {
                // Writing to a String cannot fail; so below.
                let _ = writeln!(self.out, "</{level}>");
                return;
            }
            TagEnd::BlockQuote(_) => "</blockquote>\n",
            TagEnd::CodeBlock => {
                self.code = false;
                "</code></pre>\n"
            }
            TagEnd::List(true) => "</ol>\n",
            TagEnd::List(false) => "</ul>\n",
            TagEnd::Item => "</li>\n",
            TagEnd::Table if self.in_head => "</table>\n",
            TagEnd::Table => "</tbody>\n</table>\n",
            TagEnd::TableHead => {
                self.in_head = false;
                "</tr>\n</thead>\n<tbody>\n"
            }
            TagEnd::TableRow => "</tr>\n",
            TagEnd::TableCell => {
                self.column += 1;
                if self.in_head { "</th>\n" } else { "</td>\n" }
            }
            TagEnd::Link => {
                self.links = self.links.saturating_sub(1);
                "</a>"
            }
            TagEnd::Emphasis => "</em>",
            TagEnd::Strong => "</strong>",
            TagEnd::Strikethrough => "</del>",
            TagEnd::Superscript => "</sup>",
            TagEnd::Subscript => "</sub>",
            _ => "",
        };
        self.out.push_str(text);
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
}

fn url_escape(url: &str, out: &mut String) {
    for c in url.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            _ if c.is_ascii_alphanumeric() || "-_.+!*'(),%#@?=;:/$~".contains(c) => out.push(c),
            _ => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
}

/// Writes text, making links of the URLs in it.
fn linkify(text: &str, out: &mut String) {
    let starts = ["http://", "https://", "ftp://", "mailto:", "www."];
    let mut rest = text;
    let mut previous = ' ';
    loop {
        let begins = |at: &usize| {
            let tail = rest.as_bytes().get(*at..).unwrap_or_default();
            starts
                .iter()
                .any(|start| tail.starts_with(start.as_bytes()))
        };
        let found = (0..rest.len()).find(begins);
        let Some(at) = found else {
            return escape(rest, out);
        };
        let (before, tail) = rest.split_at(at);
        escape(before, out);
        previous = before.chars().next_back().unwrap_or(previous);
        let end = tail
            .find(|c: char| c.is_whitespace() || c == '<')
            .unwrap_or(tail.len());
        let link = tail
            .get(..end)
            .unwrap_or_default()
            .trim_end_matches(['?', '!', '.', ',', ':', '*', '_', '~', ')', '"', '\'']);
        let bare = starts
            .iter()
            .any(|start| link.len() <= start.len() && start.starts_with(link));
        if bare || previous.is_alphanumeric() {
            let skip = tail.chars().next().map_or(0, char::len_utf8);
            escape(tail.get(..skip).unwrap_or_default(), out);
            previous = tail.chars().next().unwrap_or(previous);
            rest = tail.get(skip..).unwrap_or_default();
            continue;
        }
        out.push_str("<a href=\"");
        if link.starts_with("www.") {
            out.push_str("http://");
        }
        url_escape(link, out);
        out.push_str("\">");
        escape(link.strip_prefix("mailto:").unwrap_or(link), out);
        out.push_str("</a>");
        previous = link.chars().next_back().unwrap_or(previous);
        rest = tail.get(link.len()..).unwrap_or_default();
    }
}
