//! What is shown in the place of secrets, and of what is made from them. The server never has their values
//! where it evaluates something to show, so what hangs on one in another way than by having it in it (a
//! filter, a condition) is only known on the target.

use mantle_shared::Digest;
use mantle_template::{Made, Variables};

use super::effective::{Effective, EffectiveSet, EffectiveValue};

/// So many digits tell two ways apart of making something from the same secrets.
const RECIPE_SHOWN: usize = 8;

/// What stands in for a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// Where the secret would stand as it is.
    pub text: String,
    /// Its name in what is made from it, such as `secret shop/password`.
    pub label: String,
}

impl StandIn {
    /// `(secret NAME)`.
    pub fn named(name: &str) -> Self {
        Self {
            text: format!("(secret {name})"),
            label: format!("secret {name}"),
        }
    }

    /// By what a person knows the secret: its path, or the variable.
    pub fn of(secret: &Effective) -> Self {
        match &secret.value {
            EffectiveValue::Secret(pinned) => Self::named(&pinned.path),
            EffectiveValue::Unpinned(path) => Self::named(path),
            EffectiveValue::Text(_) | EffectiveValue::Sealed { .. } => Self {
                text: "(secret)".to_owned(),
                label: format!("secret {}", secret.name),
            },
        }
    }
}

/// For people: `(made from secret shop/password on the target)`.
pub fn made(labels: &[&str], _recipe: &str) -> String {
    format!("(made from {} on the target)", labels.join(" and "))
}

/// For who compares: what else it is made from tells two apart as well.
pub fn made_comparably(labels: &[&str], recipe: &str) -> String {
    let digest = Digest::of(recipe.as_bytes()).to_string();
    let way: String = digest.chars().take(RECIPE_SHOWN).collect();
    format!("(made from {} on the target, #{way})", labels.join(" and "))
}

impl EffectiveSet {
    /// For rendering what is shown: secrets as what `secret` says, and what is made from them as `made`
    /// does.
    pub fn shown_variables(&self, secret: impl Fn(&Effective) -> StandIn, made: Made) -> Variables {
        let mut variables = self.to_template_variables(|_| None);
        for variable in self.iter().filter(|variable| variable.value.is_secret()) {
            let StandIn { text, label } = secret(variable);
            variables.stand_in(variable.name.clone(), text, label);
        }
        variables.made_by(made);
        variables
    }
}
