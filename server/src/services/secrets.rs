//! Secrets: set, list, delete. A value goes in and is never given out here.

use mantle_domain::ids::SecretVersionId;
use mantle_domain::permission::Permission;
use serde_json::json;

use super::error::{Error, Result};
use super::{Caller, Deed, SHOWN, Services, at, mint};
use crate::api::body::{Secret, SecretSet};
use crate::security::{self, SECRET_VERSION_TABLE};
use crate::store::{
    NewSecretVersion, SecretRow, secret_delete, secret_find, secret_list, secret_set,
    secret_version_prune,
};

/// Certificates with their chains fit; files do not belong here.
const MOST_BYTES: usize = 64 * 1024;
const MOST_PATH: usize = 200;

/// Use cases of secrets.
impl Services {
    /// The paths of all secrets that have a value.
    pub async fn secret_list(&self, caller: &Caller) -> Result<Vec<Secret>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let rows = secret_list(&mut tx, "", SHOWN).await?;
        Ok(rows.iter().map(shape).collect())
    }

    /// Gives a secret a new value. What releases pinned stays what it was.
    pub async fn secret_set(
        &self,
        caller: &Caller,
        path: &str,
        request: SecretSet,
    ) -> Result<Secret> {
        caller.may(Permission::ManageSecrets)?;
        check_path(path)?;
        if request.value.is_empty() || request.value.len() > MOST_BYTES {
            return Err(Error::invalid(
                "bad-secret",
                format!("the value of '{path}' is empty or larger than 64 KiB"),
                "give a value; files belong into a package",
            ));
        }
        let value = security::Secret::new(request.value);
        let id = SecretVersionId::from_uuid(mint());
        let sealed = self
            .master_key
            .seal(SECRET_VERSION_TABLE, id.as_bytes(), &value)
            .map_err(|error| Error::internal("sealing a secret", error))?;
        let now = self.now();
        let new = NewSecretVersion {
            id,
            path: path.to_owned(),
            key_id: self.master_key.active_id(),
            ciphertext: sealed,
            mark: self.master_key.mark(&value),
            at_us: now.as_microsecond(),
            by: caller.actor.name.clone(),
        };
        let mut tx = self.store.begin().await?;
        let number = secret_set(&mut tx, &new).await?;
        secret_version_prune(&mut tx, path).await?;
        let deed = Deed {
            action: "secret.set",
            subject: path,
            id: Some(id.as_uuid()),
            detail: json!({"number": number}),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        Ok(Secret {
            path: path.to_owned(),
            versions: number,
            updated_at: now,
        })
    }

    /// Takes a secret's value away.
    pub async fn secret_delete(&self, caller: &Caller, path: &str) -> Result<()> {
        caller.may(Permission::ManageSecrets)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let found = secret_find(&mut tx, path).await?;
        if found.is_none_or(|row| row.current_version.is_none()) {
            let all = secret_list(&mut tx, "", SHOWN).await?;
            return Err(Error::not_found(
                "secret",
                path,
                all.iter().map(|row| row.path.as_str()),
                "'mantle secret list' shows all",
            ));
        }
        secret_delete(&mut tx, path, now.as_microsecond(), &caller.actor.name).await?;
        let deed = Deed {
            action: "secret.delete",
            subject: path,
            id: None,
            detail: json!({}),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn check_path(path: &str) -> Result<()> {
    let fits = path.len() <= MOST_PATH
        && path.split('/').all(|part| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
                && !part.chars().all(|c| c == '.')
        });
    if fits {
        return Ok(());
    }
    let shown: String = path.chars().take(MOST_PATH).collect();
    Err(Error::invalid(
        "bad-secret-path",
        format!("'{shown}' cannot be a secret's path"),
        "write it like octofx/database-password: words of letters, digits and . - _ with / between",
    ))
}

fn shape(row: &SecretRow) -> Secret {
    Secret {
        path: row.path.clone(),
        versions: row.number,
        updated_at: at(row.changed_at_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_words_with_slashes_between() {
        for good in ["a", "octofx/database-password", "a.b/c_d/e-1"] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a b",
            "a/..",
            &"x".repeat(201),
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }
}
