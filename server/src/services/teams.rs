//! Teams: who is in which, beside the team that a key is made with. What a team is named for is
//! answered by its members.

use std::collections::{BTreeMap, BTreeSet};

use mantle_domain::permission::Permission;
use mantle_domain::plan::{Eyes, Plan};
use serde_json::json;

use super::error::{Error, Result};
use super::{Caller, Deed, Services, at, names};
use crate::api::body::{Page, Team, TeamMember};
use crate::store::{
    ApiKeyRow, StoreError, TeamMemberRow, Tx, api_key_find_live, api_key_list, team_member_delete,
    team_member_insert, team_member_list,
};

/// The names of the keys in each team.
pub type Members = BTreeMap<String, BTreeSet<String>>;

/// Use cases of teams.
impl Services {
    /// All teams that have a member.
    pub async fn team_list(&self, caller: &Caller) -> Result<Page<Team>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        Ok(Page {
            items: teams(&mut tx).await?,
            next: None,
        })
    }

    /// Puts a key into a team.
    pub async fn team_add(&self, caller: &Caller, team: &str, key: &str) -> Result<Team> {
        caller.may(Permission::ManageTeams)?;
        names::check_word("a team", team)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let row = live_key(&mut tx, key).await?;
        let known = members(&mut tx).await?;
        if known.get(team).is_some_and(|names| names.contains(key)) {
            return Err(Error::Exists {
                code: "in-team",
                detail: format!("'{key}' is in team '{team}' already"),
                help: "'mantle team list' shows who is where".to_owned(),
            });
        }
        let member = TeamMemberRow {
            team: team.to_owned(),
            key_id: row.id,
            added_at_us: now.as_microsecond(),
            added_by: caller.actor.name.clone(),
        };
        team_member_insert(&mut tx, &member).await?;
        let deed = Deed {
            action: "team.add",
            subject: team,
            id: Some(row.id.as_uuid()),
            detail: json!({"key": key}),
        };
        caller.audit(&mut tx, now, deed).await?;
        let shown = one(&mut tx, team).await?;
        tx.commit().await?;
        Ok(shown)
    }

    /// Takes a key out of a team.
    pub async fn team_remove(&self, caller: &Caller, team: &str, key: &str) -> Result<Team> {
        caller.may(Permission::ManageTeams)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let row = live_key(&mut tx, key).await?;
        let known = team_member_list(&mut tx).await?;
        let is_in = |member: &TeamMemberRow| member.team == team && member.key_id == row.id;
        if !known.iter().any(is_in) {
            if row.team.as_deref() == Some(team) {
                return Err(Error::refused(
                    "own-team",
                    format!("'{key}' was made with team '{team}', which says what it may do"),
                    format!("revoke it and make another: mantle apikey revoke {key}"),
                ));
            }
            let all = members(&mut tx).await?;
            let here = all.get(team).into_iter().flatten();
            return Err(Error::not_found(
                "member",
                key,
                here.map(String::as_str),
                "'mantle team list' shows who is where",
            ));
        }
        team_member_delete(&mut tx, team, row.id).await?;
        let deed = Deed {
            action: "team.remove",
            subject: team,
            id: Some(row.id.as_uuid()),
            detail: json!({"key": key}),
        };
        caller.audit(&mut tx, now, deed).await?;
        let shown = one(&mut tx, team).await?;
        tx.commit().await?;
        Ok(shown)
    }
}

async fn live_key(tx: &mut Tx, name: &str) -> Result<ApiKeyRow> {
    if let Some(row) = api_key_find_live(tx, name).await? {
        return Ok(row);
    }
    let all = api_key_list(tx).await?;
    let live = all.iter().filter(|row| row.revoked_at_us.is_none());
    Err(Error::not_found(
        "API key",
        name,
        live.map(|row| row.name.as_str()),
        "'mantle apikey list' shows all",
    ))
}

/// The teams of whoever asks: their key's own, and those that it was put into.
pub(super) async fn of_caller(tx: &mut Tx, caller: &Caller) -> Result<Vec<String>> {
    let mut teams = vec![caller.actor.team.clone()];
    if let Some(key) = caller.actor.key {
        let rows = team_member_list(tx).await?;
        let own = rows.into_iter().filter(|row| row.key_id == key);
        teams.extend(own.map(|row| row.team));
    }
    Ok(teams)
}

/// Who is in which team, of the keys that are not revoked.
pub async fn members(tx: &mut Tx) -> std::result::Result<Members, StoreError> {
    let mut all = Members::new();
    for team in teams(tx).await? {
        let names = team.members.into_iter().map(|member| member.key).collect();
        all.insert(team.name, names);
    }
    Ok(all)
}

/// What a plan asks of teams that nobody can answer, or too few, as things stand; of four eyes those
/// of whoever deploys do not count.
pub fn unanswerable(plan: &Plan, members: &Members) -> Vec<String> {
    let deployer = &plan.facts.created_by;
    let actions = plan.steps.iter().flat_map(|step| &step.actions);
    let asking = actions.filter(|action| !action.nodes.is_empty());
    let asks = asking.filter_map(|action| Some((action, action.ask.as_ref()?)));
    let mut warnings = Vec::new();
    for (action, ask) in asks {
        if ask.teams.is_empty() {
            continue;
        }
        let named = ask.teams.iter().filter_map(|team| members.get(team));
        let mut people: BTreeSet<&String> = named.flatten().collect();
        let beside = match ask.eyes {
            Eyes::Four if people.remove(deployer) => {
                format!(" beside {deployer}, who deploys and does not count")
            }
            Eyes::Any | Eyes::Four => String::new(),
        };
        if people.len() < ask.approvals as usize {
            let team = ask.teams.first().map_or("TEAM", String::as_str);
            warnings.push(format!(
                "action '{}' waits for {} of {} to let it go on, and there {}{beside}: mantle team add {team} KEY",
                action.name,
                ask.approvals,
                ask.teams.join(", "),
                match people.len() {
                    0 => "is no member".to_owned(),
                    1 => "is 1 member".to_owned(),
                    count => format!("are {count} members"),
                }
            ));
        }
    }
    warnings
}

async fn one(tx: &mut Tx, name: &str) -> Result<Team> {
    let found = teams(tx).await?.into_iter().find(|team| team.name == name);
    Ok(found.unwrap_or_else(|| Team {
        name: name.to_owned(),
        members: Vec::new(),
    }))
}

async fn teams(tx: &mut Tx) -> std::result::Result<Vec<Team>, StoreError> {
    let keys = api_key_list(tx).await?;
    let live: Vec<&ApiKeyRow> = keys
        .iter()
        .filter(|key| key.revoked_at_us.is_none())
        .collect();
    let mut all: BTreeMap<String, Vec<TeamMember>> = BTreeMap::new();
    for key in &live {
        if let Some(team) = &key.team {
            all.entry(team.clone()).or_default().push(TeamMember {
                key: key.name.clone(),
                own: true,
                since: at(key.created_at_us),
                added_by: key.created_by.clone(),
            });
        }
    }
    for row in team_member_list(tx).await? {
        if let Some(key) = live.iter().find(|key| key.id == row.key_id) {
            all.entry(row.team).or_default().push(TeamMember {
                key: key.name.clone(),
                own: false,
                since: at(row.added_at_us),
                added_by: row.added_by,
            });
        }
    }
    let shown = all
        .into_iter()
        .map(|(name, members)| Team { name, members });
    Ok(shown.collect())
}
