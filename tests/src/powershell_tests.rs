//! PowerShell is not there to run: what is written in it stays small, and a grammar as small reads it. It
//! finds what would end a script before its first line: quotation marks and brackets that do not close, and
//! what Windows PowerShell 5.1 does not know.

use std::path::Path;

use mantle::installers::Reached;
use mantle::installers::line::{Joining, windows};

/// A bracket, quotation mark or operator that is wrong, with its line.
fn read(text: &str) -> Result<(), String> {
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut line = 1;
    let mut code = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            // An escape outside of texts: the next character means nothing.
            '`' => drop(chars.next_if(|next| *next != '\n')),
            '#' if code
                .ends_with(|before: char| before.is_whitespace() || ";{(".contains(before))
                || code.is_empty() =>
            {
                while chars.next_if(|next| *next != '\n').is_some() {}
                continue;
            }
            '\'' | '"' => {
                let begun = line;
                if c == '"' {
                    expandable(&mut chars, &mut line)?;
                } else {
                    literal(&mut chars, &mut line);
                }
                if chars.next() != Some(c) {
                    return Err(format!("line {begun}: the text does not end"));
                }
                code.push('\u{1}');
                continue;
            }
            '(' | '{' | '[' => open.push((c, line)),
            ')' | '}' | ']' => match (open.pop(), c) {
                (Some(('(', _)), ')') | (Some(('{', _)), '}') | (Some(('[', _)), ']') => {}
                (Some((other, begun)), _) => {
                    return Err(format!(
                        "line {line}: '{c}' closes the '{other}' of line {begun}"
                    ));
                }
                (None, _) => return Err(format!("line {line}: '{c}' closes nothing")),
            },
            _ => {}
        }
        code.push(c);
    }
    if let Some((c, begun)) = open.pop() {
        return Err(format!("line {begun}: '{c}' is not closed"));
    }
    // What came with PowerShell 7.
    for newer in [
        " && ",
        " || ",
        "??",
        " ? ",
        "?.",
        "-Parallel",
        "ConvertFrom-Json -AsHashtable",
    ] {
        if code.contains(newer) {
            return Err(format!("Windows PowerShell 5.1 does not know '{newer}'"));
        }
    }
    Ok(())
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// To the mark that ends it; two of them are one in the text.
fn literal(chars: &mut Chars<'_>, line: &mut usize) {
    while let Some(c) = chars.peek().copied() {
        if c == '\'' {
            let mut rest = chars.clone();
            rest.next();
            if rest.peek() != Some(&'\'') {
                return;
            }
            chars.next();
        }
        *line += usize::from(c == '\n');
        chars.next();
    }
}

/// The same, with escapes, and commands in `$(...)` that have texts of their own.
fn expandable(chars: &mut Chars<'_>, line: &mut usize) -> Result<(), String> {
    while let Some(c) = chars.peek().copied() {
        match c {
            '"' => {
                let mut rest = chars.clone();
                rest.next();
                if rest.peek() != Some(&'"') {
                    return Ok(());
                }
                chars.next();
            }
            '`' => drop(chars.next()),
            '$' => {
                let mut rest = chars.clone();
                rest.next();
                if rest.peek() == Some(&'(') {
                    chars.next();
                    chars.next();
                    command(chars, line)?;
                    continue;
                }
            }
            _ => {}
        }
        *line += usize::from(c == '\n');
        chars.next();
    }
    Ok(())
}

/// To the bracket that closes it, and past it.
fn command(chars: &mut Chars<'_>, line: &mut usize) -> Result<(), String> {
    let begun = *line;
    let mut depth = 1;
    while let Some(c) = chars.next() {
        match c {
            '\n' => *line += 1,
            '(' => depth += 1,
            ')' => depth -= 1,
            '\'' => {
                literal(chars, line);
                chars.next();
            }
            '"' => {
                expandable(chars, line)?;
                chars.next();
            }
            _ => {}
        }
        if depth == 0 {
            return Ok(());
        }
    }
    Err(format!("line {begun}: '$(' is not closed"))
}

#[test]
fn the_grammar_finds_what_powershell_would_refuse() {
    for good in [
        "",
        "# it's (a comment\n$a = 'it''s' # \"\n",
        "if ($a) { \"x $($b['c']) `\" y\" }",
        "& \"$d\\tentacle.$(Get-Random).old\"; $a = @(1, 2)[0]",
        "\"a\"\"b\"",
        "$a -replace 'x?', 'y'",
    ] {
        assert_eq!(read(good), Ok(()), "{good}");
    }
    for (bad, says) in [
        ("'it's'", "does not end"),
        ("\"x", "does not end"),
        ("if ($a) { 1 ", "'{' is not closed"),
        ("if ($a) } ", "closes nothing"),
        ("@(1}", "closes the '('"),
        ("\n\"$(a\"", "line 2"),
        ("a && b", "5.1"),
        ("$a ?? $b", "5.1"),
        ("$a ? 1 : 2", "5.1"),
    ] {
        let wrong = read(bad).expect_err(bad);
        assert!(wrong.contains(says), "{bad}: {wrong}");
    }
}

#[test]
fn what_is_written_in_powershell_is_sound() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in [
        "packaging/windows/verify.ps1",
        "tentacle/src/actions/helpers/helpers.ps1",
    ] {
        let text = std::fs::read_to_string(top.join(file)).expect(file);
        read(&text).unwrap_or_else(|wrong| panic!("{file}: {wrong}"));
        assert!(
            text.is_ascii(),
            "{file}: 5.1 reads a file without a mark in the machine's code page"
        );
    }
    let at = Reached {
        url: "https://deploy.example:7443".to_owned(),
        server: "deploy.example:7443".to_owned(),
        pin: "cGlu".to_owned(),
        key_digest: "AB12".to_owned(),
    };
    for name in [
        None,
        Some("web'01"),
        Some("$(whoami)"),
        Some("web\u{2019}01; x"),
    ] {
        let joining = Joining {
            token: "mj1.a.b.c",
            name,
        };
        let line = windows(&at, joining, "0f");
        read(&line).unwrap_or_else(|wrong| panic!("{line}: {wrong}"));
        assert!(line.split("; ").count() <= 16, "{line}");
    }
}
