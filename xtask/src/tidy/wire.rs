//! What messages may be made of. The codec does not describe itself, so nothing of serde that needs
//! that; and nothing recursive, so that no message can nest without end.

use regex::Regex;

use super::Findings;
use crate::tree::Tree;

/// Serde's attributes that a codec without field names cannot carry.
const ATTRIBUTES: &str =
    r"\b(skip_serializing_if|skip_serializing|skip_deserializing|flatten|untagged|tag|content)\b";

/// Plain types only, in everything that crosses the wire.
pub(super) fn plain_types(tree: &Tree, findings: &mut Findings) {
    let (Ok(attribute), Ok(recursive)) = (
        Regex::new(&format!(r"#\[serde\([^\]]*{ATTRIBUTES}")),
        Regex::new(r"\b(Box|Vec|Option|Arc|Rc)<\s*Self\s*>|\bBox<"),
    ) else {
        findings.add("xtask/src/tidy/wire.rs", 1, "a pattern cannot be read");
        return;
    };
    for (file, source) in tree.rust() {
        if !file.path.starts_with("shared/src/protocol/") {
            continue;
        }
        let is_message = file.path.starts_with("shared/src/protocol/messages");
        for (line, code) in source.code() {
            if attribute.is_match(code) {
                findings.add(
                    &file.path,
                    line,
                    format!("this attribute does not survive the codec: {}", code.trim()),
                );
            }
            let boxed = recursive.find(code).map(|found| found.as_str());
            if boxed.is_some_and(|text| is_message || text.contains("Self")) {
                findings.add(&file.path, line, "no recursive type crosses the wire");
            }
        }
    }
}
