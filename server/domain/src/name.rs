//! The names that people type and that become parts of paths: one rule for files, commands and
//! agents that join, so that what one of them takes, the others take too.

/// The longest name of anything, in bytes.
pub const LONGEST: usize = 200;
/// What a tag may hold inside beyond the characters of every name.
pub const IN_TAGS: &[char] = &['/'];
/// What an environment's name may hold inside beyond the characters of every name.
pub const IN_ENVIRONMENTS: &[char] = &[' '];
/// A target's name is a plain one.
pub const IN_TARGETS: &[char] = &[];

/// Whether a name has only letters, digits, `.`, `_`, `-` and `extra`, begins with a letter or a
/// digit and does not end with a dot or one of `extra`.
pub fn is_sound(name: &str, extra: &[char]) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.chars().all(|c| plain(c) || extra.contains(&c))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        && name.len() <= LONGEST
}

/// What to do about a name that is not sound.
pub fn remedy(extra: &[char]) -> String {
    let mut allowed = "letters, digits, '.', '_' and '-'".to_owned();
    for c in extra {
        let shown = if *c == ' ' {
            "spaces".to_owned()
        } else {
            format!("'{c}'")
        };
        allowed = format!("{shown}, {allowed}");
    }
    format!("use {allowed}, beginning and ending with a letter or digit")
}

/// `a tag`, `an environment`.
pub fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}

/// The longest name of a key or a team, in characters.
pub const LONGEST_WORD: usize = 100;

/// Whether a name that people give to keys and teams fits one word in a table, a path and a
/// command line.
pub fn is_word(word: &str) -> bool {
    !word.is_empty()
        && word.chars().count() <= LONGEST_WORD
        && word
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rule_says_which_names_are_sound() {
        let sound = [
            ("load-balancer", IN_TAGS),
            ("role/web", IN_TAGS),
            ("pre production", IN_ENVIRONMENTS),
            ("web01.example.com", IN_TARGETS),
        ];
        for (name, extra) in sound {
            assert!(is_sound(name, extra), "{name}");
        }
        let long = "x".repeat(LONGEST + 1);
        let unsound = [
            ("", IN_TAGS),
            ("a@b+c", IN_TAGS),
            ("a b", IN_TAGS),
            ("a,b", IN_TAGS),
            ("/a", IN_TAGS),
            ("a/", IN_TAGS),
            ("..", IN_TARGETS),
            ("a/b", IN_TARGETS),
            ("žluť", IN_TARGETS),
            (" test", IN_ENVIRONMENTS),
            (long.as_str(), IN_TARGETS),
        ];
        for (name, extra) in unsound {
            assert!(!is_sound(name, extra), "{name}");
        }
    }

    #[test]
    fn articles_follow_the_sound() {
        assert_eq!(with_article("environment"), "an environment");
        assert_eq!(with_article("tag"), "a tag");
    }
}
