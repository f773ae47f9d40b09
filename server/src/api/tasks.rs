//! Tasks: how they stand, their events and logs in pages and live.

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::body::{LogLine, Page, Task, TaskDetail, TaskEvent, TaskResolve, TaskResolved};
use super::error::ApiResult;
use super::extract::{Json, LastEventId, Path, Query};
use crate::services::{Caller, Followed, Services};

/// Clients take three silent intervals for a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The most tasks of one page.
const MOST: u32 = 1000;

/// Which tasks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TaskQuery {
    /// Only of this project.
    project: Option<String>,
    /// Only of this kind: `deployment`, `health-check` or `all`. Without it all but health checks.
    kind: Option<String>,
    /// Only tasks with a lower number than this one.
    before: Option<String>,
    /// How many, at most 1000.
    limit: Option<u32>,
}

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AfterQuery {
    /// Only what has a higher sequence.
    #[serde(default)]
    after: u64,
}

/// Tasks, the newest first.
#[utoipa::path(get, path = "/tasks", tag = "tasks", params(TaskQuery), responses((status = 200, body = Page<Task>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
    Query(query): Query<TaskQuery>,
) -> ApiResult<Json<Page<Task>>> {
    Ok(Json(
        services
            .task_list(
                &caller,
                query.project.as_deref(),
                query.kind.as_deref(),
                (
                    query.before.as_deref(),
                    query.limit.unwrap_or(100).clamp(1, MOST),
                ),
            )
            .await?,
    ))
}

/// The tasks that wait, in the order in which they start, each with the reason.
#[utoipa::path(get, path = "/tasks/queue", tag = "tasks", responses((status = 200, body = Page<Task>)))]
pub(super) async fn queue(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<Task>>> {
    Ok(Json(services.task_queue(&caller).await?))
}

/// Moves a task that waits to the top of the queue; takes the permission to change its order.
#[utoipa::path(post, path = "/tasks/{task}/move-to-top", tag = "tasks", params(("task" = String, Path, description = "its number")), responses((status = 200, body = Task)))]
pub(super) async fn move_to_top(
    State(services): State<Services>,
    caller: Caller,
    Path(task): Path<String>,
) -> ApiResult<Json<Task>> {
    Ok(Json(services.task_move_to_top(&caller, &task).await?))
}

/// A task with the matrix of its steps and targets.
#[utoipa::path(get, path = "/tasks/{task}", tag = "tasks", params(("task" = String, Path, description = "its number")), responses((status = 200, body = TaskDetail)))]
pub(super) async fn show(
    State(services): State<Services>,
    caller: Caller,
    Path(task): Path<String>,
) -> ApiResult<Json<TaskDetail>> {
    Ok(Json(services.task_show(&caller, &task).await?))
}

/// Asks a task to stop.
#[utoipa::path(post, path = "/tasks/{task}/cancel", tag = "tasks", params(("task" = String, Path, description = "its number")), responses((status = 200, body = Task)))]
pub(super) async fn cancel(
    State(services): State<Services>,
    caller: Caller,
    Path(task): Path<String>,
) -> ApiResult<Json<Task>> {
    Ok(Json(services.task_cancel(&caller, &task).await?))
}

/// Says how attempts of a task ended of which nothing is known: their agent is gone for good, lost its
/// journal or could not stop them. Takes the permission to say how work ended.
#[utoipa::path(post, path = "/tasks/{task}/resolve", tag = "tasks", params(("task" = String, Path, description = "its number")), request_body = TaskResolve, responses((status = 200, body = TaskResolved)))]
pub(super) async fn resolve(
    State(services): State<Services>,
    caller: Caller,
    Path(task): Path<String>,
    Json(body): Json<TaskResolve>,
) -> ApiResult<Json<TaskResolved>> {
    Ok(Json(services.task_resolve(&caller, &task, &body).await?))
}

/// A page of a task's events.
#[utoipa::path(get, path = "/tasks/{task}/events", tag = "tasks", params(("task" = String, Path, description = "its number"), AfterQuery), responses((status = 200, body = Page<TaskEvent>)))]
pub(super) async fn events(
    State(services): State<Services>,
    caller: Caller,
    Path(task): Path<String>,
    Query(query): Query<AfterQuery>,
) -> ApiResult<Json<Page<TaskEvent>>> {
    Ok(Json(
        services.task_events(&caller, &task, query.after).await?,
    ))
}

/// A page of a task's log.
#[utoipa::path(get, path = "/tasks/{task}/log", tag = "tasks", params(("task" = String, Path, description = "its number"), AfterQuery), responses((status = 200, body = Page<LogLine>)))]
pub(super) async fn log(
    State(services): State<Services>,
    caller: Caller,
    Path(task): Path<String>,
    Query(query): Query<AfterQuery>,
) -> ApiResult<Json<Page<LogLine>>> {
    Ok(Json(services.task_log(&caller, &task, query.after).await?))
}

/// A task's events, live: each `event` with its sequence as id, then `done` with the task.
#[utoipa::path(get, path = "/tasks/{task}/events/stream", tag = "tasks",
    params(("task" = String, Path, description = "its number"), AfterQuery),
    responses((status = 200, content_type = "text/event-stream", body = TaskEvent)))]
pub(super) async fn events_stream(
    State(services): State<Services>,
    caller: Caller,
    Path(task): Path<String>,
    Query(query): Query<AfterQuery>,
    last: Option<LastEventId>,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let after = resume(&query, last);
    Ok(live(services.follow_events(&caller, &task, after).await?))
}

/// A task's log, live: each `log` with its sequence as id, then `done` with the task.
#[utoipa::path(get, path = "/tasks/{task}/log/stream", tag = "tasks",
    params(("task" = String, Path, description = "its number"), AfterQuery),
    responses((status = 200, content_type = "text/event-stream", body = LogLine)))]
pub(super) async fn log_stream(
    State(services): State<Services>,
    caller: Caller,
    Path(task): Path<String>,
    Query(query): Query<AfterQuery>,
    last: Option<LastEventId>,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let after = resume(&query, last);
    Ok(live(services.follow_log(&caller, &task, after).await?))
}

/// A browser that reconnects by itself repeats its first URL, so the header is the newer word.
fn resume(query: &AfterQuery, last: Option<LastEventId>) -> u64 {
    last.map_or(0, |last| last.0).max(query.after)
}

fn live(items: mpsc::Receiver<Followed>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = ReceiverStream::new(items).map(|item| {
        Ok(match item {
            Followed::Event(event) => named("event", Some(event.seq), &event),
            Followed::Line(line) => named("log", Some(line.seq), &line),
            Followed::Done(task) => named("done", None, &task),
        })
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive"))
}

fn named<T: Serialize>(name: &str, id: Option<u64>, value: &T) -> Event {
    let event = Event::default().event(name);
    let event = match id {
        Some(id) => event.id(id.to_string()),
        None => event,
    };
    // JSON of our own types has no line break and cannot fail.
    event.data(serde_json::to_string(value).unwrap_or_default())
}
