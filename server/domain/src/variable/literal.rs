//! Texts that mean themselves.

/// A text as a template that evaluates to it. Agents evaluate every value, secrets as well: what
/// somebody who deploys or releases may write must read no variable by a `#{` in it.
pub fn literal(text: &str) -> String {
    text.replace("#{", "##{")
}
