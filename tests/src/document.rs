//! What the documents tell people to type: fenced blocks, inline code, and the commands in shell text.
//!
//! The README and the manual are read here as a person reads them, so that tests can do what they
//! say. The shell is not evaluated: only where one command ends and the next begins is known, which
//! is enough to hold each command line to the program that it names.

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What stands after the fence, such as `sh` or `yaml`.
    pub language: String,
    /// The line of its fence, from 1.
    pub line: usize,
    /// The nearest heading above it.
    pub heading: String,
    /// The text between the fences.
    pub text: String,
}

/// The fenced blocks of a Markdown text, in order.
///
/// # Panics
/// When a fence is not closed.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let mut all = Vec::new();
    let mut heading = String::new();
    let mut open: Option<Block> = None;
    for (index, line) in markdown.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => all.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, Some(language)) => {
                open = Some(Block {
                    language: language.trim().to_owned(),
                    line: index + 1,
                    heading: heading.clone(),
                    text: String::new(),
                });
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix('#') {
                    title
                        .trim_start_matches('#')
                        .trim()
                        .clone_into(&mut heading);
                }
            }
        }
    }
    assert!(open.is_none(), "a fence is not closed: {open:?}");
    all
}

/// Inline code outside of fenced blocks, with the line that it stands in.
pub fn inline_code(markdown: &str) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    let mut fenced = false;
    for (index, line) in markdown.lines().enumerate() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let spans = line.split('`').skip(1).step_by(2);
            all.extend(spans.map(|span| (index + 1, span.to_owned())));
        }
    }
    all
}

/// A simple command of a shell text: its words, without assignments, redirections and keywords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// The line where it ends, from 1.
    pub line: usize,
    /// The program and its arguments, unquoted; what the shell would insert stands as it is.
    pub words: Vec<String>,
}

/// The simple commands of a shell text, those inside of `$(...)` included.
///
/// # Panics
/// When a quote is not closed.
pub fn commands(script: &str) -> Vec<Typed> {
    let mut reader = Reader {
        rest: script.chars().collect(),
        line: 1,
        found: Vec::new(),
        heredocs: Vec::new(),
    };
    reader.rest.reverse();
    reader.list(false);
    reader.found
}

struct Reader {
    /// Reversed, so that the next one is at the end.
    rest: Vec<char>,
    line: usize,
    found: Vec<Typed>,
    heredocs: Vec<String>,
}

/// What becomes of the word that is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Argument,
    Redirection,
    Heredoc,
}

/// A command that is being read.
struct Simple {
    words: Vec<String>,
    word: Option<String>,
    role: Role,
}

impl Reader {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.pop();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn peek(&self) -> Option<char> {
        self.rest.last().copied()
    }

    /// Reads commands up to the end, or up to the `)` that closes a substitution.
    fn list(&mut self, nested: bool) {
        let mut simple = Simple::new();
        while let Some(c) = self.next() {
            match c {
                ')' if nested => break,
                '\n' | ';' | '|' | '&' | '(' | ')' => {
                    let line = self.line - usize::from(c == '\n');
                    simple.end_word(&mut self.heredocs);
                    self.found.extend(simple.end(line));
                    if c == '\n' {
                        self.skip_heredocs();
                    }
                }
                c if c.is_whitespace() => simple.end_word(&mut self.heredocs),
                '#' if simple.word.is_none() => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.next();
                    }
                }
                '<' | '>' => self.redirection(c, &mut simple),
                '\'' => {
                    simple.push("");
                    while let Some(c) = self.next().filter(|c| *c != '\'') {
                        simple.push(c.encode_utf8(&mut [0; 4]));
                    }
                }
                '"' => self.double_quoted(&mut simple),
                c => self.plain(c, &mut simple),
            }
        }
        simple.end_word(&mut self.heredocs);
        self.found.extend(simple.end(self.line));
    }

    fn redirection(&mut self, first: char, simple: &mut Simple) {
        // `2>` is no argument.
        simple.word = simple
            .word
            .take()
            .filter(|word| !word.chars().all(|c| c.is_ascii_digit()));
        simple.end_word(&mut self.heredocs);
        simple.role = Role::Redirection;
        if self.peek() == Some(first) {
            self.next();
            if first == '<' {
                simple.role = Role::Heredoc;
            }
        }
        if self.peek() == Some('&') {
            self.next();
        }
    }

    fn double_quoted(&mut self, simple: &mut Simple) {
        simple.push("");
        loop {
            match self.next() {
                Some('"') => return,
                Some(c) => self.plain(c, simple),
                None => panic!("line {}: a quote is not closed", self.line),
            }
        }
    }

    /// A character that stands for itself, a backslash, or the beginning of a substitution.
    fn plain(&mut self, c: char, simple: &mut Simple) {
        match (c, self.peek()) {
            ('\\', Some('\n')) => {
                self.next();
            }
            ('\\', Some(next)) => {
                self.next();
                simple.push(next.encode_utf8(&mut [0; 4]));
            }
            ('$', Some('(')) => {
                self.next();
                simple.push("$(...)");
                self.list(true);
            }
            (c, _) => simple.push(c.encode_utf8(&mut [0; 4])),
        }
    }

    fn skip_heredocs(&mut self) {
        for end in std::mem::take(&mut self.heredocs) {
            loop {
                let mut line = String::new();
                while let Some(c) = self.next().filter(|c| *c != '\n') {
                    line.push(c);
                }
                if line == end || self.rest.is_empty() {
                    break;
                }
            }
        }
    }
}

impl Simple {
    fn new() -> Self {
        Self {
            words: Vec::new(),
            word: None,
            role: Role::Argument,
        }
    }

    fn push(&mut self, text: &str) {
        self.word.get_or_insert_default().push_str(text);
    }

    fn end_word(&mut self, heredocs: &mut Vec<String>) {
        let Some(word) = self.word.take() else {
            return;
        };
        match self.role {
            Role::Argument => self.words.push(word),
            Role::Redirection => {}
            Role::Heredoc => heredocs.push(word),
        }
        self.role = Role::Argument;
    }

    /// The command that was read, without what only leads to it.
    fn end(&mut self, line: usize) -> Option<Typed> {
        let words = std::mem::take(&mut self.words);
        let mut words = words.as_slice();
        loop {
            words = match words {
                [first, rest @ ..] if leads(first) => rest,
                [sudo, user, _, rest @ ..] if sudo == "sudo" && user == "-u" => rest,
                rest => {
                    break (!rest.is_empty()).then(|| Typed {
                        line,
                        words: rest.to_vec(),
                    });
                }
            }
        }
    }
}

/// A keyword or an assignment, after which the command itself comes.
fn leads(word: &str) -> bool {
    const KEYWORDS: [&str; 10] = [
        "do", "then", "else", "if", "elif", "while", "until", "!", "{", "exec",
    ];
    let assigns = word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    assigns || KEYWORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(script: &str) -> Vec<String> {
        let found = commands(script).into_iter();
        found.map(|typed| typed.words.join(" ")).collect()
    }

    #[test]
    fn blocks_have_their_language_place_and_heading() {
        let text =
            "# One\n\n```sh\na\nb\n```\n\n## Two `x`\n\n```yaml\n# c\n```\nuse `d e` or `f`\n";
        let found = blocks(text);
        let [sh, yaml] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(
            (sh.language.as_str(), sh.line, sh.heading.as_str()),
            ("sh", 3, "One")
        );
        assert_eq!(sh.text, "a\nb\n");
        assert_eq!((yaml.line, yaml.heading.as_str()), (10, "Two `x`"));
        assert_eq!(
            inline_code(text),
            [
                (8, "x".to_owned()),
                (13, "d e".to_owned()),
                (13, "f".to_owned())
            ]
        );
    }

    #[test]
    #[should_panic(expected = "not closed")]
    fn a_fence_that_is_not_closed_is_not_passed_over() {
        blocks("```sh\nmantle status\n");
    }

    #[test]
    fn commands_are_found_wherever_they_stand() {
        for (script, expected) in [
            ("mantle status # all of it", vec!["mantle status"]),
            (
                "A=1 mantle a; mantle b | cat && c &",
                vec!["mantle a", "mantle b", "cat", "c"],
            ),
            ("mantle a \\\n  b 2> log >&2 < in", vec!["mantle a b"]),
            (
                "cat > f <<'END'\nmantle: v1\nEND\nmantle x",
                vec!["cat", "mantle x"],
            ),
            (
                "for n in 1 2; do\n  t --token \"$(mantle token)\" --name 'a b'\ndone",
                vec![
                    "for n in 1 2",
                    "mantle token",
                    "t --token $(...) --name a b",
                    "done",
                ],
            ),
            ("sudo -u mantle mantle x", vec!["mantle x"]),
            ("echo \"a \\\" ; b\" 'c; d'", vec!["echo a \" ; b c; d"]),
        ] {
            assert_eq!(typed(script), expected, "{script}");
        }
    }
}
