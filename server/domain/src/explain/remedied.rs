//! How a target comes to take part where none does: the least that has to be done.

use super::Remedy;

/// How a target of an environment comes to take part.
pub(super) fn remedied(remedy: Option<&Remedy>, tag: Option<&str>, environment: &str) -> String {
    let tagged = tag.map(|tag| format!("--tag {tag} ")).unwrap_or_default();
    let join = format!("mantle agent token create {tagged}--environment {environment}");
    match (remedy, tag) {
        (Some(Remedy::Enable(target)), _) => {
            format!("let '{target}' take part: mantle target enable {target}")
        }
        (Some(Remedy::EndMaintenance(target)), _) => {
            format!("let '{target}' take part: mantle target maintenance {target} off")
        }
        (Some(Remedy::Connect(target)), _) => {
            format!("bring '{target}' back: {}", looked_at(target))
        }
        (Some(Remedy::Cure(target)), _) => format!(
            "look at '{target}' with 'mantle target show {target}'; once it is cured, check it with 'mantle target check {target}'"
        ),
        (Some(Remedy::Join(target)), _) => format!(
            "let '{target}' join: mantle agent token create --name {target}, then on the machine the line that it shows"
        ),
        (Some(Remedy::Tag(target)), Some(tag)) => format!(
            "tag a target, such as '{target}': mantle target tag {target} {tag}; or let one join: {join}"
        ),
        (Some(Remedy::Tag(_)) | None, _) => {
            format!("let one join: {join}, then on the machine the line that it shows")
        }
    }
}

/// How a target that is away is looked into.
pub(super) fn looked_at(target: &str) -> String {
    format!("look at it with 'mantle target show {target}' and, on the machine, 'tentacle doctor'")
}
