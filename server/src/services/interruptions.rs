//! What deployments ask people: listing, taking care of it, answering.
//!
//! An answer is a row. The server that drives the task takes it in and decides what comes of it, now
//! or after a restart; whoever answers is told at once if the rules forbid it.

use mantle_domain::interruption::{
    self, Answer, Asked, CannotAnswer, Given, Person, Question, approved_by, check_answer,
    check_person, decided,
};
use mantle_domain::permission::Permission;
use mantle_domain::state::{Closed, view};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::declared::read;
use super::deployments::DeploymentOrder;
use super::error::{Error, Result};
use super::tasks::number as task_number;
use super::{Caller, Deed, SHOWN_MOST, Services, at, names, teams};
use crate::api::body::{
    Interruption, InterruptionAnswer, InterruptionAnswered, InterruptionGiven, InterruptionKind,
    InterruptionState, Page,
};
use crate::store::{
    InterruptionAnswerRow, InterruptionRow, TaskRow, TaskState, Tx, interruption_answer_insert,
    interruption_answer_list, interruption_find, interruption_list_of_task, interruption_list_open,
    interruption_mark_taken, task_fetch,
};

/// What the row of an interruption holds: the question and the names of what it is about. Fields
/// are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptionBody {
    /// What is asked.
    pub question: Question,
    /// The step.
    pub step: String,
    /// The action; empty for a step's question.
    #[serde(default)]
    pub action: String,
    /// The target that it is about; empty if it is about none.
    #[serde(default)]
    pub target: String,
    /// The target whose agent ran it; empty if none did.
    #[serde(default)]
    pub executor: String,
}

/// One with all that the rules need.
struct Open {
    task: TaskRow,
    row: InterruptionRow,
    body: InterruptionBody,
    given: Vec<Given>,
}

/// Use cases of interruptions.
impl Services {
    /// What is asked and not answered, the oldest first; of one task all that was ever asked.
    pub async fn interruption_list(
        &self,
        caller: &Caller,
        task: Option<&str>,
    ) -> Result<Page<Interruption>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let items = if let Some(text) = task {
            let task = names::task(&mut tx, text).await?;
            of_task(&mut tx, &task).await?
        } else {
            all_open(&mut tx).await?
        };
        Ok(Page { items, next: None })
    }

    /// One by its name, such as `T-12.1`; the task's number will do if it asks only one thing.
    pub async fn interruption_show(&self, caller: &Caller, name: &str) -> Result<Interruption> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        shape(&find(&mut tx, name).await?)
    }

    /// Takes care of one: nobody else answers what one person decides, unless they take it over.
    pub async fn interruption_take(&self, caller: &Caller, name: &str) -> Result<Interruption> {
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let mut one = find(&mut tx, name).await?;
        let shown = one.name();
        one.must_be_open()?;
        let teams = self.may_answer(&mut tx, caller, &one).await?;
        check_person(&one.asked(&shown), person(caller, &teams)).map_err(cannot)?;
        if one.body.question.approvals() > 1 {
            return Err(Error::refused(
                "takes-several",
                format!(
                    "{shown} takes {} people, so that nobody takes care of it alone",
                    one.body.question.approvals()
                ),
                format!("answer it: mantle interruption answer {shown} proceed"),
            ));
        }
        let by = &caller.actor.name;
        let before = one.row.taken_by.clone();
        let (task, number) = (one.row.task_id, one.row.number);
        interruption_mark_taken(&mut tx, task, number, by, now.as_microsecond()).await?;
        let deed = Deed {
            action: "interruption.take",
            subject: &shown,
            id: Some(task.as_uuid()),
            detail: json!({"from": before}),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        one.row.taken_by = Some(by.clone());
        one.row.taken_at_us = Some(now.as_microsecond());
        shape(&one)
    }

    /// Answers one. What comes of it is decided by whoever drives the task.
    pub async fn interruption_answer(
        &self,
        caller: &Caller,
        name: &str,
        request: &InterruptionAnswer,
    ) -> Result<InterruptionAnswered> {
        let answer: Answer = request.answer.parse().map_err(|error| {
            let all: Vec<&str> = Answer::typed().map(Answer::word).collect();
            Error::invalid(
                "bad-answer",
                format!("{error}"),
                format!("the answers are {}", all.join(", ")),
            )
        })?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let mut one = find(&mut tx, name).await?;
        let shown = one.name();
        one.must_be_open()?;
        let teams = self.may_answer(&mut tx, caller, &one).await?;
        // The one character that PostgreSQL takes in no text.
        let notes = request.notes.replace('\0', "");
        let notes = notes.trim();
        check_answer(&one.asked(&shown), person(caller, &teams), answer, notes).map_err(cannot)?;
        let row = InterruptionAnswerRow {
            number: one.row.number,
            answered_by: caller.actor.name.clone(),
            answer: answer.word().to_owned(),
            notes: notes.to_owned(),
            at_us: now.as_microsecond(),
        };
        let task = one.row.task_id;
        interruption_answer_insert(&mut tx, task, &row).await?;
        let deed = Deed {
            action: "interruption.answer",
            subject: &shown,
            id: Some(task.as_uuid()),
            detail: json!({"answer": answer.word(), "notes": notes}),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        self.wake.answered(task);
        one.given.push(Given {
            by: row.answered_by,
            answer,
            notes: row.notes,
            at: now,
        });
        Ok(InterruptionAnswered {
            missing: match decided(&one.body.question, &one.given) {
                Some(_) => 0,
                None => interruption::missing(&one.asked(&shown)),
            },
            interruption: shape(&one)?,
        })
    }

    /// Where teams are named their members may answer, elsewhere whoever has the permission. Gives
    /// the caller's teams.
    async fn may_answer(&self, tx: &mut Tx, caller: &Caller, one: &Open) -> Result<Vec<String>> {
        if one.body.question.teams().is_empty() {
            caller.may(Permission::Answer)?;
        }
        teams::of_caller(tx, caller).await
    }
}

/// What is open anywhere, the oldest first.
async fn all_open(tx: &mut Tx) -> Result<Vec<Interruption>> {
    let rows = interruption_list_open(tx, SHOWN_MOST).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let task = task_fetch(tx, row.task_id).await?;
        let open = open(tx, task, row).await?;
        items.push(shape(&open)?);
    }
    Ok(items)
}

/// All that a task ever asked, in order.
pub(super) async fn of_task(tx: &mut Tx, task: &TaskRow) -> Result<Vec<Interruption>> {
    let rows = interruption_list_of_task(tx, task.id, SHOWN_MOST).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let answers = interruption_answer_list(tx, task.id).await?;
    rows.into_iter()
        .map(|row| shape(&with_answers(task.clone(), row, &answers)?))
        .collect()
}

fn person<'a>(caller: &'a Caller, teams: &'a [String]) -> Person<'a> {
    Person {
        name: &caller.actor.name,
        teams,
    }
}

fn cannot(why: CannotAnswer) -> Error {
    mantle_domain::explain::Refusal::CannotAnswer(why).into()
}

impl Open {
    fn name(&self) -> String {
        format!("{}.{}", task_number(self.task.number), self.row.number)
    }

    fn asked<'a>(&'a self, name: &'a str) -> Asked<'a> {
        Asked {
            name,
            question: &self.body.question,
            given: &self.given,
            taken_by: self.row.taken_by.as_deref(),
        }
    }

    /// It can be answered: it is not over, nor will be by what was answered already.
    fn must_be_open(&self) -> Result<()> {
        let how = match (&self.row.closed, decided(&self.body.question, &self.given)) {
            (Some(_), _) | (None, Some(_)) => self.how()?,
            (None, None) if self.task.cancel_at_us.is_some() => {
                "its task was asked to stop".to_owned()
            }
            (None, None) if self.task.state != TaskState::Running => "its task is over".to_owned(),
            (None, None) => return Ok(()),
        };
        Err(cannot(CannotAnswer::Closed {
            interruption: self.name(),
            how,
            task: task_number(self.task.number),
        }))
    }

    /// What became of it, for people.
    fn how(&self) -> Result<String> {
        let closed = self.closed()?;
        let by_answer = decided(&self.body.question, &self.given);
        Ok(match (closed, by_answer) {
            (Some(Closed::Expired), _) => "nobody answered in time".to_owned(),
            (Some(Closed::Cancelled), _) => "its task was asked to stop".to_owned(),
            (Some(Closed::Moot), _) => "its target was excluded meanwhile".to_owned(),
            (Some(Closed::Resolved), _) => "it became known how the attempt had ended".to_owned(),
            (Some(Closed::Answered(_)) | None, Some((answer, given))) => {
                format!("{} answered '{answer}'", given.by)
            }
            (Some(Closed::Answered(answer)), None) => format!("it was answered '{answer}'"),
            (None, None) => String::new(),
        })
    }

    fn closed(&self) -> Result<Option<Closed>> {
        let closed = self.row.closed.as_deref();
        closed
            .map(|text| read("reading an interruption", text))
            .transpose()
    }
}

/// `T-12.1`, or `T-12` if only one is open there.
async fn find(tx: &mut Tx, name: &str) -> Result<Open> {
    let (task, number) = match name.split_once('.') {
        Some((task, number)) => (task, Some(number.parse::<u32>().ok())),
        None => (name, None),
    };
    let task = names::task(tx, task).await?;
    let wanted = match number {
        Some(number) => number,
        None => only_open(tx, &task).await?,
    };
    let row = match wanted {
        Some(wanted) => interruption_find(tx, task.id, wanted).await?,
        None => None,
    };
    if let Some(row) = row {
        return open(tx, task, row).await;
    }
    let shown = task_number(task.number);
    let help = format!("'mantle interruption list --task {shown}' shows what {shown} asked");
    Err(Error::not_found("interruption", name, [], help))
}

/// The number of the only one that is open in a task, if there is one.
async fn only_open(tx: &mut Tx, task: &TaskRow) -> Result<Option<u32>> {
    let rows = interruption_list_of_task(tx, task.id, SHOWN_MOST).await?;
    let open = rows.iter().filter(|row| row.closed.is_none());
    let open: Vec<u32> = open.map(|row| row.number).collect();
    match open.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        [first, ..] => {
            let shown = task_number(task.number);
            Err(Error::refused(
                "several-asked",
                format!("{shown} asks {} things", open.len()),
                format!(
                    "name one, such as {shown}.{first}; 'mantle interruption list --task {shown}' shows them"
                ),
            ))
        }
    }
}

async fn open(tx: &mut Tx, task: TaskRow, row: InterruptionRow) -> Result<Open> {
    let answers = interruption_answer_list(tx, task.id).await?;
    with_answers(task, row, &answers)
}

fn with_answers(
    task: TaskRow,
    row: InterruptionRow,
    answers: &[InterruptionAnswerRow],
) -> Result<Open> {
    let own = answers.iter().filter(|answer| answer.number == row.number);
    let given = own.map(|answer| {
        let word = answer.answer.parse::<Answer>();
        Ok(Given {
            by: answer.answered_by.clone(),
            answer: word.map_err(|error| Error::internal("reading an answer", error))?,
            notes: answer.notes.clone(),
            at: at(answer.at_us),
        })
    });
    let given = given.collect::<Result<_>>()?;
    let body = read("reading an interruption", &row.body)?;
    Ok(Open {
        task,
        row,
        body,
        given,
    })
}

fn shape(one: &Open) -> Result<Interruption> {
    let order: DeploymentOrder = serde_json::from_str(&one.task.body).unwrap_or_default();
    let question = &one.body.question;
    let (kind, instructions) = match question {
        Question::Failure { .. } => (InterruptionKind::Failure, String::new()),
        Question::Manual { instructions, .. } => (InterruptionKind::Manual, instructions.clone()),
        Question::Pause { .. } => (InterruptionKind::Pause, String::new()),
    };
    let closed = one.closed()?;
    let state = match closed {
        None => InterruptionState::Open,
        Some(Closed::Answered(_)) => InterruptionState::Answered,
        Some(Closed::Expired) => InterruptionState::Expired,
        Some(Closed::Cancelled) => InterruptionState::Cancelled,
        Some(Closed::Moot | Closed::Resolved) => InterruptionState::Moot,
    };
    let approved = approved_by(question, &one.given);
    Ok(Interruption {
        id: one.name(),
        task: task_number(one.task.number),
        project: order.project,
        version: order.version,
        environment: order.environment,
        kind,
        step: one.body.step.clone(),
        action: one.body.action.clone(),
        target: one.body.target.clone(),
        executor: one.body.executor.clone(),
        question: view::asks(question),
        instructions,
        choices: question
            .choices()
            .iter()
            .map(|answer| answer.word().to_owned())
            .collect(),
        teams: question.teams().to_vec(),
        approvals: question.approvals(),
        approved_by: approved.iter().map(|given| given.by.clone()).collect(),
        not_by: question.not_by().map(str::to_owned),
        raised_at: at(one.row.raised_at_us),
        deadline: at(one.row.deadline_us),
        taken_by: one.row.taken_by.clone(),
        taken_at: one.row.taken_at_us.map(at),
        answers: one.given.iter().map(given).collect(),
        state,
        outcome: match closed {
            None => String::new(),
            Some(_) => one.how()?,
        },
        closed_at: one.row.closed_at_us.map(at),
    })
}

fn given(given: &Given) -> InterruptionGiven {
    InterruptionGiven {
        by: given.by.clone(),
        answer: given.answer.word().to_owned(),
        notes: given.notes.clone(),
        at: given.at,
    }
}
