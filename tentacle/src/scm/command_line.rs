//! The one line in which Windows keeps a service's program and what it is given: taken apart as programs
//! take it apart (`CommandLineToArgvW`).

/// The program and its arguments. Where the program is not in quotation marks, spaces may be part of its
/// path: Windows then tries each beginning that a space ends, the shortest first, and so is it here.
pub fn split(line: &str, is_file: &dyn Fn(&str) -> bool) -> (String, Vec<String>) {
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix('"') {
        // A path has no quotation marks, so that the first one ends it.
        let (program, rest) = rest.split_once('"').unwrap_or((rest, ""));
        return (program.to_owned(), words(rest));
    }
    let ends = line.match_indices([' ', '\t']).map(|(at, _)| at);
    let found = ends
        .chain([line.len()])
        .filter_map(|at| line.split_at_checked(at))
        .find(|(program, _)| is_file(program) || is_file(&format!("{program}.exe")));
    let (program, rest) = found
        .or_else(|| line.split_once([' ', '\t']))
        .unwrap_or((line, ""));
    (program.to_owned(), words(rest))
}

/// The words of a line, by the rules of Microsoft's C library.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let mut slashes = 1;
                while chars.next_if_eq(&'\\').is_some() {
                    slashes += 1;
                }
                let word = word.get_or_insert_default();
                // Before a quotation mark two of them are one, and an odd one makes the mark a character.
                if chars.peek() == Some(&'"') {
                    word.extend(std::iter::repeat_n('\\', slashes / 2));
                    if slashes % 2 == 1 {
                        word.extend(chars.next());
                    }
                } else {
                    word.extend(std::iter::repeat_n('\\', slashes));
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                if quoted && chars.next_if_eq(&'"').is_some() {
                    word.push('"');
                } else {
                    quoted = !quoted;
                }
            }
            ' ' | '\t' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_a_program_gets() {
        for (line, expected) in [
            ("", &[][..]),
            ("  --port  80 ", &["--port", "80"]),
            (r#""a b" c"#, &["a b", "c"]),
            (r#"--name="The Gulls" "" x"#, &["--name=The Gulls", "", "x"]),
            (r#"C:\a\ "C:\b c\\" d"#, &[r"C:\a\", r"C:\b c\", "d"]),
            (r#"a\"b "c\\\"d""#, &[r#"a"b"#, r#"c\"d"#]),
            (r#""a""b" c"#, &[r#"a"b"#, "c"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn the_program_is_what_windows_would_start() {
        let is_file =
            |path: &str| [r"C:\Program Files\Shop\shop.exe", r"C:\a b.exe"].contains(&path);
        for (line, program, arguments) in [
            (
                r#""C:\Program Files\Shop\shop.exe" --port 80"#,
                r"C:\Program Files\Shop\shop.exe",
                &["--port", "80"][..],
            ),
            (
                r"C:\Program Files\Shop\shop.exe -k x",
                r"C:\Program Files\Shop\shop.exe",
                &["-k", "x"],
            ),
            (r"C:\a b c", r"C:\a b", &["c"]),
            // Not there: the first word, as for whoever reads it.
            (r"C:\gone\x.exe -k", r"C:\gone\x.exe", &["-k"]),
            (r"C:\gone\x.exe", r"C:\gone\x.exe", &[]),
        ] {
            let (found, rest) = split(line, &is_file);
            assert_eq!(
                (found.as_str(), rest.as_slice()),
                (
                    program,
                    &arguments
                        .iter()
                        .map(|word| (*word).to_owned())
                        .collect::<Vec<_>>()[..]
                ),
                "{line}"
            );
        }
    }
}
