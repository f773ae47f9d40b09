//! What changes between two texts, for the log: few lines, and none that may hold a secret.

/// The most lines of a difference that are told.
const MOST_LINES: usize = 60;
/// The most characters of a line that are told.
const MOST_CHARACTERS: usize = 200;
/// The most lines that are compared with each other: the work grows with the product.
const MOST_COMPARED: usize = 2_000;
/// What stands in place of a line.
const HIDDEN: &str = "********";

/// What may be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    /// Values, of which no line is told that holds one.
    pub(super) secrets: &'a [&'a str],
    /// Whether lines that go may be told: they may hold secrets of before, which nobody knows here.
    pub(super) removed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Same,
    Removed(&'a str),
    Added(&'a str),
}

/// The difference as lines that begin with `-` and `+`, and `@` with the line's number where it goes on
/// elsewhere.
pub(super) fn show(before: &str, after: &str, shown: Shown<'_>) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let mut told = Vec::new();
    let (mut at, mut apart) = (1, true);
    for line in compare(&old, &new) {
        if line == Line::Same {
            at += 1;
            apart = true;
            continue;
        }
        if std::mem::take(&mut apart) {
            told.push(format!("@ line {at}"));
        }
        match line {
            Line::Removed(text) if shown.removed => told.push(format!("- {}", cut(text, shown))),
            Line::Removed(_) => told.push(format!("- {HIDDEN}")),
            Line::Added(text) => {
                told.push(format!("+ {}", cut(text, shown)));
                at += 1;
            }
            Line::Same => {}
        }
    }
    let more = told.len().saturating_sub(MOST_LINES);
    if more > 0 {
        told.truncate(MOST_LINES);
        told.push(format!("... and {more} more lines"));
    }
    if told.is_empty() {
        told.push("only line ends or the encoding change".to_owned());
    }
    told
}

fn cut(line: &str, shown: Shown<'_>) -> String {
    if holds_secret(line, shown.secrets) {
        return HIDDEN.to_owned();
    }
    match line.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

/// Whether a line holds a secret, or a line of one that has several.
fn holds_secret(line: &str, secrets: &[&str]) -> bool {
    let parts = secrets.iter().flat_map(|secret| secret.lines());
    let mut parts = parts.map(str::trim).filter(|part| !part.is_empty());
    parts.any(|part| line.contains(part))
}

/// By the longest lines in common, between what both begin and end with.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let start = common(old.iter().copied(), new.iter().copied());
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let end = common(
        old_rest.iter().rev().copied(),
        new_rest.iter().rev().copied(),
    );
    let old_middle = &old_rest[..old_rest.len() - end];
    let new_middle = &new_rest[..new_rest.len() - end];
    let mut lines = vec![Line::Same; start];
    if old_middle.len().max(new_middle.len()) > MOST_COMPARED {
        lines.extend(old_middle.iter().copied().map(Line::Removed));
        lines.extend(new_middle.iter().copied().map(Line::Added));
    } else {
        lines.extend(middle(old_middle, new_middle));
    }
    lines.extend(std::iter::repeat_n(Line::Same, end));
    lines
}

fn common<'a>(old: impl Iterator<Item = &'a str>, new: impl Iterator<Item = &'a str>) -> usize {
    old.zip(new).take_while(|(old, new)| old == new).count()
}

fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let width = new.len() + 1;
    // How many lines in common are ahead of each pair of places.
    let mut ahead = vec![0_u16; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            ahead[i * width + j] = if old[i] == new[j] {
                ahead[(i + 1) * width + j + 1] + 1
            } else {
                ahead[(i + 1) * width + j].max(ahead[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(Line::Same);
            (i, j) = (i + 1, j + 1);
        } else if i < old.len()
            && (j == new.len() || ahead[(i + 1) * width + j] >= ahead[i * width + j + 1])
        {
            lines.push(Line::Removed(old[i]));
            i += 1;
        } else {
            lines.push(Line::Added(new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Shown<'_> = Shown {
        secrets: &[],
        removed: true,
    };

    #[test]
    fn what_changes_is_told_with_its_place() {
        let told = show("a\nb\nc\nd\n", "a\nB\nc\nd\ne\n", ALL);
        assert_eq!(told, ["@ line 2", "- b", "+ B", "@ line 5", "+ e"]);
        assert_eq!(show("", "x", ALL), ["@ line 1", "+ x"]);
        assert_eq!(show("x", "", ALL), ["@ line 1", "- x"]);
        assert_eq!(
            show("a\r\n", "a\n", ALL),
            ["only line ends or the encoding change"]
        );
        let moved = show("1\n2\n3\n4", "2\n3\n4\n1", ALL);
        assert_eq!(moved, ["@ line 1", "- 1", "@ line 4", "+ 1"]);
    }

    #[test]
    fn no_secret_of_now_or_of_before_is_told() {
        let shown = Shown {
            secrets: &["s3cret", "-----\nkey one\n-----", ""],
            removed: false,
        };
        let told = show(
            "user=a\npassword=old\n",
            "user=b\npassword=s3cret\nkey one\nplain\n",
            shown,
        );
        let text = told.join("\n");
        assert!(
            text.contains("+ user=b") && text.contains("+ plain"),
            "{text}"
        );
        for hidden in ["old", "s3cret", "key one", "user=a"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }

    #[test]
    fn much_is_bounded() {
        let long = "x".repeat(1000);
        let told = show("", &long, ALL);
        assert_eq!(told[1].len(), 2 + MOST_CHARACTERS + 3);
        let many: Vec<String> = (0..5_000).map(|line| line.to_string()).collect();
        let many = many.join("\n");
        let told = show("first\n", &many, ALL);
        assert_eq!(told.len(), MOST_LINES + 1);
        assert!(told[MOST_LINES].contains("more lines"), "{told:?}");
    }
}
