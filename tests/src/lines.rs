//! The log's checker: every numbered line exactly once and in order, or an account of what is not.
//!
//! A script prints `<word> 1`, `<word> 2`, ... The check knows nothing of how lines travel.

use std::fmt;

/// How a log differs from the numbers 1 to n in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineReport {
    /// Numbers that are not there.
    pub missing: Vec<u64>,
    /// Numbers that are there more than once.
    pub doubled: Vec<u64>,
    /// Pairs (before, after) in which a smaller number follows a larger one.
    pub disordered: Vec<(u64, u64)>,
    /// Numbers that were never printed, and lines whose number cannot be read.
    pub foreign: Vec<String>,
}

impl LineReport {
    /// Nothing is wrong.
    pub fn is_right(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for LineReport {
    /// Counts, and the first few of each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn part<T: fmt::Debug>(f: &mut fmt::Formatter<'_>, name: &str, all: &[T]) -> fmt::Result {
            let some = &all[..all.len().min(10)];
            write!(f, "{} {name} {some:?}; ", all.len())
        }
        part(f, "missing", &self.missing)?;
        part(f, "doubled", &self.doubled)?;
        part(f, "out of order", &self.disordered)?;
        part(f, "foreign", &self.foreign)
    }
}

/// Checks the lines that begin with `<word> `; others are of no concern.
pub fn check_lines<'a>(
    log: impl IntoIterator<Item = &'a str>,
    word: &str,
    count: u64,
) -> LineReport {
    let mut report = LineReport::default();
    let mut times = vec![0_u32; usize::try_from(count).unwrap_or(usize::MAX)];
    let mut last = 0;
    for line in log {
        let Some(rest) = line.strip_prefix(word).and_then(|r| r.strip_prefix(' ')) else {
            continue;
        };
        let number = rest.trim_end().parse::<u64>().ok();
        let place = number
            .and_then(|n| usize::try_from(n).ok()?.checked_sub(1))
            .and_then(|index| times.get_mut(index));
        let (Some(number), Some(place)) = (number, place) else {
            report.foreign.push(line.to_owned());
            continue;
        };
        *place += 1;
        if *place == 2 {
            report.doubled.push(number);
        }
        if number < last {
            report.disordered.push((last, number));
        }
        last = number;
    }
    report.missing = (1_u64..)
        .zip(&times)
        .filter(|(_, times)| **times == 0)
        .map(|(number, _)| number)
        .collect();
    report
}

/// A shell loop that prints `<word> 1` to `<word> n`; `pause` is what runs after each line.
pub fn shell_counting(word: &str, count: u64, pause: &str) -> String {
    let pause = if pause.is_empty() { ":" } else { pause };
    format!("i=1; while [ $i -le {count} ]; do echo \"{word} $i\"; {pause}; i=$((i+1)); done")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(log: &[&str]) -> LineReport {
        check_lines(log.iter().copied(), "line", 3)
    }

    #[test]
    fn a_whole_log_is_right_whatever_stands_between() {
        assert!(report(&["hello", "line 1", "liner 9", "line 2", "line 3", "bye"]).is_right());
    }

    #[test]
    fn each_violation_is_found() {
        assert_eq!(report(&["line 1", "line 3"]).missing, [2]);
        assert_eq!(
            report(&["line 1", "line 2", "line 2", "line 3"]).doubled,
            [2]
        );
        assert_eq!(report(&["line 1", "line 3", "line 2"]).disordered, [(3, 2)]);
        assert_eq!(
            report(&["line 1", "line 2", "line 3", "line 4"]).foreign,
            ["line 4"]
        );
        assert_eq!(
            report(&["line 1", "line 2", "line 3", "line x"]).foreign,
            ["line x"]
        );
        assert_eq!(
            report(&["line 0", "line 1", "line 2", "line 3"]).foreign,
            ["line 0"]
        );
        assert_eq!(report(&[]).missing, [1, 2, 3]);
    }

    #[test]
    fn the_shell_loop_prints_what_is_checked() {
        let output = std::process::Command::new("sh")
            .args(["-c", &shell_counting("line", 3, "")])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(check_lines(text.lines(), "line", 3).is_right(), "{text}");
    }
}
