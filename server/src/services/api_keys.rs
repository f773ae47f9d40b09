//! API keys: authenticate with, make, list, revoke.

use jiff::Timestamp;
use mantle_domain::permission::{ADMINISTRATORS, Actor, Permission};
use serde_json::json;

use super::error::{Error, Result};
use super::{Caller, Deed, Services, at, names};
use crate::api::body::{ApiKey, ApiKeyCreate, ApiKeyCreated};
use crate::security::{ApiKeyError, NewApiKey, api_key_authenticate, api_key_mint};
use crate::store::{
    ApiKeyRow, api_key_find, api_key_find_live, api_key_insert, api_key_list, api_key_mark_revoked,
    api_key_mark_used, interruption_answer_withdraw,
};

/// A key's last use is noted to the minute.
const NOTE_USE_EVERY_US: i64 = 60 * 1_000_000;
/// The name of the key that the first start makes.
pub const FIRST_KEY: &str = "admin";

/// Use cases of API keys.
impl Services {
    /// Whose key a request shows.
    pub async fn authenticate(&self, token: Option<&str>) -> Result<Actor> {
        let Some(token) = token else {
            return Err(Error::Unauthenticated {
                detail: "the request carries no API key".to_owned(),
            });
        };
        let now_us = self.now().as_microsecond();
        let row = {
            let mut tx = self.store.read().await?;
            match api_key_authenticate(&mut tx, token, now_us).await {
                Ok(row) => row,
                Err(ApiKeyError::Store(error)) => return Err(error.into()),
                Err(
                    error @ (ApiKeyError::Unknown
                    | ApiKeyError::Expired { .. }
                    | ApiKeyError::Revoked { .. }),
                ) => {
                    return Err(Error::Unauthenticated {
                        detail: error.to_string(),
                    });
                }
            }
        };
        self.note_use(&row, now_us).await;
        Ok(Actor {
            key: Some(row.id),
            name: row.name,
            team: row.team.unwrap_or_default(),
        })
    }

    /// All keys, good ones first.
    pub async fn api_key_list(&self, caller: &Caller) -> Result<Vec<ApiKey>> {
        caller.may(Permission::ManageKeys)?;
        let mut tx = self.store.read().await?;
        Ok(api_key_list(&mut tx).await?.iter().map(shape).collect())
    }

    /// Makes a key. Its text is in the answer and nowhere else.
    pub async fn api_key_create(
        &self,
        caller: &Caller,
        request: &ApiKeyCreate,
    ) -> Result<ApiKeyCreated> {
        caller.may(Permission::ManageKeys)?;
        names::check_word("an API key", &request.name)?;
        let team = request.team.as_deref().unwrap_or(ADMINISTRATORS);
        names::check_word("a team", team)?;
        let now = self.now();
        let new = NewApiKey {
            name: request.name.clone(),
            team: Some(team.to_owned()),
            expires_at_us: request.expires_in_s.map(|s| after(now, s)),
            at_us: now.as_microsecond(),
            by: caller.actor.name.clone(),
        };
        let mut tx = self.store.begin().await?;
        if api_key_find_live(&mut tx, &new.name).await?.is_some() {
            return Err(Error::Exists {
                code: "api-key-exists",
                detail: format!("there is an API key '{}' already", new.name),
                help: format!(
                    "choose another name, or 'mantle apikey revoke {}' first",
                    new.name
                ),
            });
        }
        let (row, text) = api_key_mint(new);
        api_key_insert(&mut tx, &row).await?;
        let deed = Deed {
            action: "apikey.create",
            subject: &row.name,
            id: Some(row.id.as_uuid()),
            detail: json!({"team": row.team, "expires_at_us": row.expires_at_us}),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        Ok(ApiKeyCreated {
            key: shape(&row),
            token: text.expose().to_owned(),
        })
    }

    /// Revokes a key by its name: at once, for good. The last administrator's is revoked only by
    /// `force`: nobody could make another one over the network.
    pub async fn api_key_revoke(&self, caller: &Caller, name: &str, force: bool) -> Result<ApiKey> {
        caller.may(Permission::ManageKeys)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let Some(row) = api_key_find_live(&mut tx, name).await? else {
            let all = api_key_list(&mut tx).await?;
            let live = all.iter().filter(|row| row.revoked_at_us.is_none());
            return Err(Error::not_found(
                "API key",
                name,
                live.map(|row| row.name.as_str()),
                "'mantle apikey list' shows all",
            ));
        };
        let now_us = now.as_microsecond();
        let rules = |row: &ApiKeyRow| {
            row.team.as_deref() == Some(ADMINISTRATORS)
                && row.revoked_at_us.is_none()
                && row.expires_at_us.is_none_or(|expires| expires > now_us)
        };
        if !force && rules(&row) {
            let all = api_key_list(&mut tx).await?;
            if !all.iter().any(|other| other.id != row.id && rules(other)) {
                return Err(Error::refused(
                    "last-administrator",
                    format!(
                        "'{name}' is the last key of an administrator; without it nobody can make another"
                    ),
                    format!(
                        "make another first: mantle apikey create NAME; or type --force, and then delete admin.key in the server's data directory and restart the server, which makes a new one: mantle apikey revoke {name} --force"
                    ),
                ));
            }
        }
        api_key_mark_revoked(&mut tx, row.id, now_us).await?;
        let withdrawn = interruption_answer_withdraw(&mut tx, name, now_us).await?;
        let deed = Deed {
            action: "apikey.revoke",
            subject: name,
            id: Some(row.id.as_uuid()),
            detail: json!({"withdrawn_answers": withdrawn.len()}),
        };
        caller.audit(&mut tx, now, deed).await?;
        let row = api_key_find(&mut tx, row.id).await?.unwrap_or(row);
        tx.commit().await?;
        for task in withdrawn {
            self.wake.answered(task);
        }
        Ok(shape(&row))
    }

    /// Notes that a key was used. Nothing hangs on it, so a busy database is no reason to refuse.
    async fn note_use(&self, row: &ApiKeyRow, now_us: i64) {
        let fresh = row
            .last_used_at_us
            .is_some_and(|last| now_us - last < NOTE_USE_EVERY_US);
        if fresh {
            return;
        }
        let noted = self
            .store
            .write(async |tx| api_key_mark_used(tx, row.id, now_us).await)
            .await;
        if let Err(error) = noted {
            tracing::debug!(error = %error, "the use of an API key could not be noted");
        }
    }
}

/// So many seconds later, in microseconds.
pub(super) fn after(now: Timestamp, seconds: u64) -> i64 {
    let us = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| seconds.checked_mul(1_000_000));
    now.as_microsecond().saturating_add(us.unwrap_or(i64::MAX))
}

fn shape(row: &ApiKeyRow) -> ApiKey {
    ApiKey {
        id: row.id.as_uuid(),
        name: row.name.clone(),
        team: row.team.clone().unwrap_or_default(),
        created_at: at(row.created_at_us),
        expires_at: row.expires_at_us.map(at),
        last_used_at: row.last_used_at_us.map(at),
        revoked_at: row.revoked_at_us.map(at),
    }
}
