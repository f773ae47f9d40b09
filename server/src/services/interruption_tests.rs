//! Answering, as people meet it: who may, what is refused, and that a refusal changes nothing.
//! No server drives the task here: what is asked stands in the rows that one would have written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mantle_domain::ids::ApiKeyId;
use mantle_domain::interruption::Question;
use mantle_domain::permission::Actor;
use mantle_domain::plan::NodeRef;
use mantle_shared::ids::TaskId;
use mantle_shared::protocol::Outcome;

use super::interruptions::InterruptionBody;
use super::testing::{House, INFRASTRUCTURE, PROJECT, a_house, a_reader};
use super::{Caller, Error, mint};
use crate::api::body::{ApiKeyCreate, InterruptionAnswer, InterruptionState, ReleaseCreate};
use crate::store::{
    InterruptionRow, NewTask, NodeId, TaskKind, api_key_find_live, environment_find,
    interruption_insert, interruption_mark_closed, project_find, release_find, task_insert,
    task_lease_take, task_mark_cancel_asked, task_mark_started,
};

const NODE: NodeRef = NodeRef {
    step: 0,
    action: 0,
    node: 0,
};

fn failure() -> Question {
    Question::Failure {
        node: NODE,
        outcome: Outcome::Failed,
        message: "exit code 3".to_owned(),
        required: false,
    }
}

fn manual() -> Question {
    Question::Manual {
        node: NODE,
        instructions: "look at it".to_owned(),
        teams: vec!["managers".to_owned()],
        approvals: 2,
        not_by: Some("ann".to_owned()),
    }
}

/// A task of the project `shop` that waits for its turn.
pub(super) async fn a_queued_task(house: &House) -> TaskId {
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(PROJECT, false).await.unwrap();
    let request = ReleaseCreate {
        version: Some("1.0.0".to_owned()),
        ..ReleaseCreate::default()
    };
    house
        .services
        .release_create(&house.admin, "shop", &request)
        .await
        .unwrap();
    let mut tx = house.services.store.begin().await.unwrap();
    let project = project_find(&mut tx, "shop").await.unwrap().unwrap();
    let environment = environment_find(&mut tx, "test").await.unwrap().unwrap();
    let release = release_find(&mut tx, project.id, "1.0.0")
        .await
        .unwrap()
        .unwrap();
    let id = TaskId::from_uuid(mint());
    let task = NewTask {
        id,
        kind: TaskKind::Deployment,
        title: "shop 1.0.0 to test".to_owned(),
        project_id: Some(project.id),
        environment_id: Some(environment.id),
        release_id: Some(release.id),
        queue_key: None,
        body: "{\"project\":\"shop\"}".to_owned(),
        variables: None,
        priority: mantle_domain::queue::Priority::Normal,
        not_before_us: None,
        expires_at_us: None,
        at_us: 10,
        by: "ann".to_owned(),
    };
    task_insert(&mut tx, &task).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// One that runs.
pub(super) async fn a_running_task(house: &House) -> TaskId {
    let id = a_queued_task(house).await;
    let mut tx = house.services.store.begin().await.unwrap();
    let minute = std::time::Duration::from_mins(1);
    let lease = task_lease_take(&mut tx, id, NodeId::from_uuid(mint()), minute)
        .await
        .unwrap();
    task_mark_started(&mut tx, id, lease.epoch, 20)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    id
}

async fn ask(house: &House, task: TaskId, number: u32, question: Question) {
    let body = InterruptionBody {
        question,
        step: "Say hello".to_owned(),
        action: "Say hello".to_owned(),
        target: "web01".to_owned(),
        executor: "web01".to_owned(),
    };
    let row = InterruptionRow {
        task_id: task,
        number,
        body: serde_json::to_string(&body).unwrap(),
        raised_at_us: 30,
        deadline_us: 40,
        taken_by: None,
        taken_at_us: None,
        closed: None,
        closed_at_us: None,
    };
    let mut tx = house.services.store.begin().await.unwrap();
    interruption_insert(&mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
}

/// Somebody with a key of their own.
async fn somebody(house: &House, name: &str, team: &str) -> Caller {
    let request = ApiKeyCreate {
        name: name.to_owned(),
        team: Some(team.to_owned()),
        expires_in_s: None,
    };
    let services = &house.services;
    services
        .api_key_create(&house.admin, &request)
        .await
        .unwrap();
    let mut tx = services.store.read().await.unwrap();
    let row = api_key_find_live(&mut tx, name).await.unwrap().unwrap();
    let key: ApiKeyId = row.id;
    Caller {
        actor: Actor {
            key: Some(key),
            name: name.to_owned(),
            team: team.to_owned(),
        },
        request: None,
    }
}

async fn answer(
    house: &House,
    caller: &Caller,
    name: &str,
    answer: &str,
) -> super::Result<crate::api::body::InterruptionAnswered> {
    let request = InterruptionAnswer {
        answer: answer.to_owned(),
        notes: " fine ".to_owned(),
    };
    house
        .services
        .interruption_answer(caller, name, &request)
        .await
}

pub(super) fn refused<T: std::fmt::Debug>(result: super::Result<T>, part: &str) -> String {
    let text = match result.unwrap_err() {
        Error::Forbidden { detail, help } => format!("forbidden: {detail}; {help}"),
        Error::Refused {
            code, detail, help, ..
        }
        | Error::Invalid {
            code, detail, help, ..
        } => format!("{code}: {detail}; {help}"),
        other => format!("{other}"),
    };
    assert!(text.contains(part), "{part}: {text}");
    text
}

#[tokio::test]
async fn a_failure_is_answered_once_by_whoever_takes_care_of_it() {
    let house = a_house().await;
    let task = a_running_task(&house).await;
    ask(&house, task, 1, failure()).await;
    let (ann, bob) = (
        somebody(&house, "ann", "administrators").await,
        somebody(&house, "bob", "administrators").await,
    );
    let services = &house.services;
    refused(
        answer(&house, &a_reader(), "T-1.1", "retry").await,
        "forbidden",
    );
    refused(
        services.interruption_take(&a_reader(), "T-1.1").await,
        "forbidden",
    );
    refused(answer(&house, &ann, "T-1.1", "maybe").await, "bad-answer");
    refused(
        answer(&house, &ann, "T-1.1", "proceed").await,
        "not-offered",
    );
    refused(answer(&house, &ann, "T-1.2", "retry").await, "T-1.2");
    let taken = services.interruption_take(&ann, "T-1").await.unwrap();
    assert_eq!(taken.taken_by.as_deref(), Some("ann"));
    let text = refused(
        answer(&house, &bob, "T-1.1", "retry").await,
        "taken-by-another",
    );
    assert!(text.contains("mantle interruption take T-1.1"), "{text}");
    services.interruption_take(&bob, "T-1.1").await.unwrap();
    let answered = answer(&house, &bob, "T-1.1", "retry").await.unwrap();
    assert_eq!(answered.missing, 0);
    assert_eq!(answered.interruption.answers[0].notes, "fine");
    // Whoever drives the task has not taken it in yet; it is decided all the same.
    let text = refused(
        answer(&house, &bob, "T-1.1", "fail").await,
        "interruption-over",
    );
    assert!(text.contains("bob answered 'retry'"), "{text}");
    let audit = services.audit_list(&house.admin, None, 100).await.unwrap();
    let actions: Vec<&str> = audit.items.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(
        &actions[..3],
        [
            "interruption.answer",
            "interruption.take",
            "interruption.take"
        ]
    );
}

#[tokio::test]
async fn a_manual_action_is_its_teams_and_takes_two_of_them_but_not_who_deployed() {
    let house = a_house().await;
    let task = a_running_task(&house).await;
    ask(&house, task, 1, manual()).await;
    let services = &house.services;
    let ann = somebody(&house, "ann", "administrators").await;
    let bob = somebody(&house, "bob", "managers").await;
    let cat = somebody(&house, "cat", "readers").await;
    let text = refused(answer(&house, &cat, "T-1.1", "proceed").await, "'managers'");
    assert!(text.contains("mantle team add managers cat"), "{text}");
    refused(
        services.team_add(&bob, "managers", "cat").await,
        "forbidden",
    );
    for name in ["ann", "cat"] {
        let team = services.team_add(&house.admin, "managers", name).await;
        assert!(team.unwrap().members.iter().any(|one| one.key == name));
    }
    let twice = services.team_add(&house.admin, "managers", "cat").await;
    assert!(matches!(twice, Err(Error::Exists { .. })), "{twice:?}");
    refused(
        answer(&house, &ann, "T-1.1", "proceed").await,
        "another person",
    );
    refused(
        services.interruption_take(&bob, "T-1.1").await,
        "takes-several",
    );
    let first = answer(&house, &bob, "T-1.1", "proceed").await.unwrap();
    assert_eq!(first.missing, 1);
    refused(
        answer(&house, &bob, "T-1.1", "proceed").await,
        "answered-before",
    );
    let second = answer(&house, &cat, "T-1.1", "proceed").await.unwrap();
    assert_eq!(second.missing, 0);
    assert_eq!(second.interruption.approved_by, ["bob", "cat"]);
    let text = refused(
        answer(&house, &ann, "T-1.1", "abort").await,
        "interruption-over",
    );
    assert!(text.contains("mantle task show T-1"), "{text}");
}

#[tokio::test]
async fn who_left_a_team_or_lost_the_key_answers_for_it_no_more() {
    let house = a_house().await;
    let task = a_running_task(&house).await;
    ask(&house, task, 1, manual()).await;
    let services = &house.services;
    let cat = somebody(&house, "cat", "readers").await;
    services
        .team_add(&house.admin, "managers", "cat")
        .await
        .unwrap();
    let own = services.team_remove(&house.admin, "readers", "cat").await;
    refused(own, "own-team");
    services
        .team_remove(&house.admin, "managers", "cat")
        .await
        .unwrap();
    refused(answer(&house, &cat, "T-1.1", "proceed").await, "'managers'");
    services
        .team_add(&house.admin, "managers", "cat")
        .await
        .unwrap();
    services
        .api_key_revoke(&house.admin, "cat", false)
        .await
        .unwrap();
    let again = somebody(&house, "cat", "readers").await;
    refused(
        answer(&house, &again, "T-1.1", "proceed").await,
        "'managers'",
    );
    let teams = services.team_list(&house.admin).await.unwrap();
    let managers = teams.items.iter().find(|team| team.name == "managers");
    assert_eq!(managers, None, "{teams:?}");
}

#[tokio::test]
async fn what_is_over_or_about_to_stop_takes_no_answer_and_lists_say_how_it_stands() {
    let house = a_house().await;
    let task = a_running_task(&house).await;
    for number in 1..=2 {
        ask(&house, task, number, failure()).await;
    }
    let services = &house.services;
    let ann = somebody(&house, "ann", "administrators").await;
    let text = refused(
        services.interruption_show(&ann, "T-1").await,
        "several-asked",
    );
    assert!(text.contains("T-1.1"), "{text}");
    let mut tx = services.store.begin().await.unwrap();
    interruption_mark_closed(&mut tx, task, 1, "\"expired\"", 50)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let text = refused(
        answer(&house, &ann, "T-1.1", "retry").await,
        "interruption-over",
    );
    assert!(text.contains("nobody answered in time"), "{text}");
    let open = services.interruption_list(&ann, None).await.unwrap();
    let ids: Vec<&str> = open.items.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["T-1.2"]);
    let all = services.interruption_list(&ann, Some("T-1")).await.unwrap();
    let states: Vec<_> = all.items.iter().map(|one| one.state).collect();
    assert_eq!(
        states,
        [InterruptionState::Expired, InterruptionState::Open]
    );
    let mut tx = services.store.begin().await.unwrap();
    task_mark_cancel_asked(&mut tx, task, "bob", 60)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let text = refused(
        answer(&house, &ann, "T-1", "retry").await,
        "interruption-over",
    );
    assert!(text.contains("asked to stop"), "{text}");
}
