//! Join tokens: make, list, revoke. Using one is enrolment's, in the gateway's hands.

use std::collections::BTreeSet;

use mantle_domain::ids::JoinTokenId;
use mantle_domain::name::{IN_TAGS, IN_TARGETS};
use mantle_domain::permission::Permission;
use mantle_domain::variable::tags::Tagged;
use serde_json::json;

use super::api_keys::after;
use super::error::{Error, Result};
use super::{Caller, Deed, Services, at, names, ties};
use crate::api::body::{JoinToken, JoinTokenCreate, JoinTokenCreated};
use crate::security::{NewJoinToken, join_token_mint};
use crate::store::{
    Extent, JoinTokenRow, Tx, join_token_find, join_token_insert, join_token_list,
    join_token_mark_revoked, target_find,
};

/// How long a token is good for unless it is said.
const DEFAULT_TTL_S: u64 = 60 * 60;
/// The longest: a token is a key to the house.
const LONGEST_TTL_S: u64 = 30 * 86_400;
const MOST_USES: u32 = 10_000;
const SHOWN: Extent = Extent::First(1000);

/// Use cases of join tokens.
impl Services {
    /// Tokens, the newest first.
    pub async fn join_token_list(&self, caller: &Caller) -> Result<Vec<JoinToken>> {
        caller.may(Permission::ManageTargets)?;
        let mut tx = self.store.read().await?;
        let rows = join_token_list(&mut tx, SHOWN).await?;
        Ok(rows.iter().map(shape).collect())
    }

    /// Makes a token. Its text is in the answer and nowhere else.
    pub async fn join_token_create(
        &self,
        caller: &Caller,
        request: &JoinTokenCreate,
    ) -> Result<JoinTokenCreated> {
        caller.may(Permission::ManageTargets)?;
        let ttl_s = request.ttl_s.unwrap_or(DEFAULT_TTL_S);
        let uses = request.uses.unwrap_or(1);
        check(request, uses, ttl_s)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        for name in &request.environments {
            names::environment(&mut tx, name).await?;
        }
        let new = NewJoinToken {
            name: request.name.clone(),
            tags: request.tags.clone(),
            environments: request.environments.clone(),
            uses,
            expires_at_us: after(now, ttl_s),
            at_us: now.as_microsecond(),
            by: caller.actor.name.clone(),
        };
        let warnings = tied(&mut tx, request).await?;
        let (row, token) = join_token_mint(new, self.server.authority);
        join_token_insert(&mut tx, &row).await?;
        let subject = row.id.to_string();
        let deed = Deed {
            action: "join-token.create",
            subject: &subject,
            id: None,
            detail: json!({
                "uses": uses, "ttl_s": ttl_s, "name": row.name, "tags": row.tags,
                "environments": row.environments,
            }),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        let token = token.to_string();
        // A token for one target is refused to a machine that says another name, or its own.
        let name = row.name.as_ref();
        let name = name.map_or_else(String::new, |name| format!(" --name {name}"));
        Ok(JoinTokenCreated {
            command: format!(
                "tentacle join --server {} --token {token}{name}",
                self.server.advertise
            ),
            join_token: shape(&row),
            token,
            warnings,
        })
    }

    /// Revokes a token by its id.
    pub async fn join_token_revoke(&self, caller: &Caller, id: &str) -> Result<JoinToken> {
        caller.may(Permission::ManageTargets)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let found = match id.parse::<JoinTokenId>() {
            Ok(id) => join_token_find(&mut tx, id).await?,
            Err(_) => None,
        };
        let Some(mut row) = found else {
            return Err(Error::not_found(
                "join token",
                id,
                [],
                "'mantle agent token list' shows their ids",
            ));
        };
        if row.revoked_at_us.is_none() {
            join_token_mark_revoked(&mut tx, row.id, now.as_microsecond()).await?;
            let deed = Deed {
                action: "join-token.revoke",
                subject: id,
                id: None,
                detail: json!({}),
            };
            caller.audit(&mut tx, now, deed).await?;
            tx.commit().await?;
            row.revoked_at_us = Some(now.as_microsecond());
        }
        Ok(shape(&row))
    }
}

/// What the tags that it gives make tie on a target which joins with it.
async fn tied(tx: &mut Tx, request: &JoinTokenCreate) -> Result<Vec<String>> {
    let known = match &request.name {
        Some(name) => target_find(tx, name).await?,
        None => None,
    };
    let before = known.map(|target| target.tags);
    let mut tags: BTreeSet<&String> = request.tags.iter().collect();
    tags.extend(before.iter().flatten());
    if tags.len() < 2 {
        return Ok(Vec::new());
    }
    let tags: Vec<String> = tags.into_iter().cloned().collect();
    let any = "any that joins with it";
    let tagged = Tagged {
        name: request.name.as_deref().unwrap_or(any),
        tags: &tags,
        before: before.as_deref(),
    };
    ties::by_tags(tx, tagged).await
}

fn check(request: &JoinTokenCreate, uses: u32, ttl_s: u64) -> Result<()> {
    if let Some(name) = &request.name {
        names::check("target", name, IN_TARGETS)?;
    }
    for tag in &request.tags {
        names::check("tag", tag, IN_TAGS)?;
    }
    if uses == 0 || uses > MOST_USES {
        return Err(Error::invalid(
            "bad-uses",
            format!("a join token cannot have {uses} uses"),
            format!("give --uses from 1 to {MOST_USES}"),
        ));
    }
    if ttl_s == 0 || ttl_s > LONGEST_TTL_S {
        return Err(Error::invalid(
            "bad-ttl",
            format!("a join token is good for 1 second to 30 days, not for {ttl_s} seconds"),
            "give a --ttl in that range, such as 1h or 30d",
        ));
    }
    Ok(())
}

fn shape(row: &JoinTokenRow) -> JoinToken {
    JoinToken {
        id: row.id.as_uuid(),
        name: row.name.clone(),
        created_by: row.created_by.clone(),
        uses_left: row.uses_left,
        created_at: at(row.created_at_us),
        expires_at: at(row.expires_at_us),
        revoked_at: row.revoked_at_us.map(at),
        tags: row.tags.clone(),
        environments: row.environments.clone(),
    }
}
