//! Texts that mean themselves.

/// Renders to nothing and reads no variable.
const NOTHING: &str = r#"#{if "0" == "1"}#{/if}"#;

/// A text as a template that evaluates to it. Agents evaluate every value, secrets as well: what
/// somebody who deploys or releases may write must read no variable by a `#{` in it.
///
/// A run of `#` before a `{` is judged as a whole (`shared/template`): of an even run one goes and the
/// brace is text, so an odd run gets one more. No run stands for an even one; there an odd run of two
/// more than come out opens a tag of nothing, and the last `#` of the run comes after it.
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(at) = rest.find("#{") {
        let (before, after) = rest.split_at(at);
        let kept = before.trim_end_matches('#');
        let run = before.len() - kept.len() + 1;
        out.push_str(kept);
        if run % 2 == 1 {
            out.extend(std::iter::repeat_n('#', run + 1));
        } else {
            out.extend(std::iter::repeat_n('#', run));
            out.push_str(NOTHING);
            out.push_str("##");
        }
        // The brace stays where it is.
        rest = after.get(1..).unwrap_or_default();
        if let Some(stripped) = rest.strip_prefix('{') {
            out.push('{');
            rest = stripped;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::Timestamp;
    use mantle_template::{Options, Variables, references, render};
    use proptest::prelude::*;

    use super::literal;

    fn rendered(text: &str) -> String {
        let variables: Variables = [("Secret".to_owned(), "s3cr3t".to_owned())]
            .into_iter()
            .collect();
        let options = Options::new(Timestamp::UNIX_EPOCH);
        render(text, &variables, &options)
            .unwrap()
            .text
            .into_owned()
    }

    #[test]
    fn runs_of_any_length_come_out_as_they_were() {
        for text in [
            "",
            "plain",
            "#{Secret}",
            "##{Secret}",
            "###{Secret}",
            "####{Secret}",
            "#####{Secret}",
            "a##{Secret}b#{Secret}###{",
            "#{if Secret}x#{/if}",
            "##{if Secret}x##{/if}",
            "#",
            "##",
            "#{",
            "##{",
            "#{#{##{Secret}}}",
        ] {
            let escaped = literal(text);
            assert_eq!(rendered(&escaped), text, "{escaped}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_said_and_reads_nothing(
            text in "(#|##|\\{|\\}|#\\{|Secret|#\\{Secret\\}|if |/if|each a in |\"| |\\||x){0,24}",
        ) {
            let escaped = literal(&text);
            prop_assert_eq!(rendered(&escaped), text);
            prop_assert!(references(&escaped).names.is_empty(), "{}", escaped);
        }
    }
}
