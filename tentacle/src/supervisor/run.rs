//! One attempt from claim to result.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mantle_shared::fault;
use mantle_shared::order::{Order, OutputLimits};
use mantle_shared::protocol::{AttemptEnd, Outcome, RecordHasher};
use tokio::sync::oneshot;

use super::artifacts;
use super::child::Sink;
use super::evaluate::{Evaluator, secrets};
use super::files::{self, ResultFile};
use super::own;
use super::packages::Cached;
use super::stop::{StopReason, StopState};
use super::wake::Waker;
use super::{EXIT_DONE, EXIT_SETUP, complain};
use crate::actions::values::show_duration;
use crate::actions::{self, ActionContext, ActionError, ActionReport, Names, StopToken};
use crate::artifacts::Artifacts;
use crate::output::recorder::{Recorder, RecorderOptions, now_us};
use crate::output::seal::Sealer;
use crate::output::spool::SpoolWriter;
use crate::process::Tree;
use crate::state_dir::StateDir;

/// How often the attempt's folder is looked at for a cancel.
const LOOK: Duration = Duration::from_millis(40);
/// How long an action that was stopped, and its tree killed, may take to notice.
const STOP_MARGIN: Duration = Duration::from_secs(10);
/// Points of time further away than this cannot be computed with on every platform.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(24 * 365);
/// Nobody waits longer for a process that was asked to end.
const LONGEST_GRACE: Duration = Duration::from_hours(1);
/// How long a result that cannot be written is tried again.
const RESULT_RETRIES: u32 = 3000;

/// Runs the action of an order; gives the supervisor's exit code.
pub(super) fn run(
    dir: &Path,
    state_dir: &StateDir,
    (mut order, output_cap): (Order, u64),
    tree: Tree,
    watcher: Watcher,
) -> u8 {
    let started_at_us = now_us();
    own::add(&mut order, state_dir);
    let waker = match Waker::start() {
        Ok(waker) => waker,
        Err(error) => {
            return complain(EXIT_SETUP, &format!("no thread to wake the agent: {error}"));
        }
    };
    let stop = StopState::new(StopToken::new());
    let tree = Arc::new(tree);
    let end = match begin(dir, &order, output_cap, &stop, &waker) {
        Ok((recorder, evaluator)) => {
            let recorder = Arc::new(Mutex::new(recorder));
            let sink = Sink {
                recorder: Arc::clone(&recorder),
                tree: Arc::clone(&tree),
                stop: stop.clone(),
            };
            let done = supervise(dir, state_dir, &order, sink, evaluator, watcher);
            files::remove_private(dir);
            let limit = bounded(order.timeout_ms, LONGEST_TIMEOUT);
            conclude(&recorder, &stop, (done, limit), started_at_us)
        }
        Err(message) => nothing_started(message, started_at_us),
    };
    fault::point("supervisor.before_result");
    let code = write_result(
        dir,
        &ResultFile {
            attempt: order.attempt,
            end,
        },
    );
    waker.wake();
    tree.release();
    code
}

fn bounded(time_ms: u64, most: Duration) -> Duration {
    Duration::from_millis(time_ms).min(most)
}

/// Sets up what must be there before the action may say a word.
fn begin(
    dir: &Path,
    order: &Order,
    output_cap: u64,
    stop: &StopState,
    waker: &Waker,
) -> Result<(Recorder, Evaluator), String> {
    let evaluator = Evaluator::new(&order.variables);
    let variables = evaluator.variables(&order.variables);
    let sealer = Sealer::new(&order.seal_key, order.attempt).map_err(|error| error.to_string())?;
    let store = SpoolWriter::create(dir, order.attempt)
        .map_err(|error| format!("the record file could not be made: {error}"))?;
    let waker = waker.clone();
    let options = RecorderOptions {
        attempt: order.attempt,
        limits: OutputLimits {
            cap_bytes: order.output.cap_bytes.min(output_cap),
            ..order.output
        },
        secrets: secrets(&order.variables, &variables),
        sealer,
        stop: stop.token().clone(),
        wake: Box::new(move || waker.wake()),
    };
    let recorder = Recorder::new(Box::new(store), options).map_err(|error| error.to_string())?;
    for folder in [files::WORK_DIR, files::PRIVATE_DIR] {
        crate::durable::create_private_folder(&dir.join(folder))
            .map_err(|error| format!("the folder '{folder}' could not be made: {error}"))?;
    }
    Ok((recorder, evaluator))
}

type Done = Result<ActionReport, ActionError>;

/// Runs the action on a thread of its own and watches over it: cancel, deadline, and an action that
/// does not listen.
fn supervise(
    dir: &Path,
    state_dir: &StateDir,
    order: &Order,
    sink: Sink,
    evaluator: Evaluator,
    watcher: Watcher,
) -> Done {
    let deadline = Instant::now() + bounded(order.timeout_ms, LONGEST_TIMEOUT);
    let stop = sink.stop.clone();
    let tree = Arc::clone(&sink.tree);
    // A cancel that came before the start leaves nothing to start.
    if let Some(cancel) = files::read_cancel(dir) {
        stop.stop(
            StopReason::Cancelled,
            bounded(cancel.grace_ms.into(), LONGEST_GRACE),
        );
        return Err(ActionError::Stopped);
    }
    let (sender, receiver) = oneshot::channel();
    let (dir_owned, state_dir, order_owned) = (dir.to_path_buf(), state_dir.clone(), order.clone());
    std::thread::Builder::new()
        .name("action".to_owned())
        .spawn(move || {
            let work = || act(&dir_owned, &state_dir, &order_owned, &sink, &evaluator, deadline);
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
                .unwrap_or_else(|_| Err(ActionError::failed("the action broke down (a defect of the agent; its supervisor.log says where)")));
            // Nobody listens once the action was given up.
            let _ = sender.send(done);
        })
        .map_err(|error| ActionError::failed(format!("no thread for the action: {error}")))?;
    let grace = bounded(order.grace_ms, LONGEST_GRACE);
    let Watcher { runtime, hint } = watcher;
    runtime.block_on(watch(dir, deadline, grace, &stop, &tree, receiver, hint))
}

async fn watch(
    dir: &Path,
    deadline: Instant,
    grace: Duration,
    stop: &StopState,
    tree: &Tree,
    mut done: oneshot::Receiver<Done>,
    mut hint: Hint,
) -> Done {
    let mut look = tokio::time::interval(LOOK);
    let mut give_up: Option<Instant> = None;
    loop {
        tokio::select! {
            done = &mut done => {
                return done.unwrap_or_else(|_| Err(ActionError::failed("the action's thread ended")));
            }
            _ = look.tick() => {}
            () = hint.wait() => {}
        }
        if stop.asked().is_none() {
            if let Some(cancel) = files::read_cancel(dir) {
                let grace = bounded(cancel.grace_ms.into(), LONGEST_GRACE);
                stop.stop(StopReason::Cancelled, grace);
            } else if Instant::now() >= deadline {
                stop.stop(StopReason::TimedOut, grace);
            }
        }
        if let Some((_, grace)) = stop.asked() {
            let limit = *give_up.get_or_insert_with(|| Instant::now() + grace + STOP_MARGIN);
            if Instant::now() >= limit {
                let left = tree.kill_all(Duration::from_secs(1));
                stop.abandon(left.iter().map(|survivor| survivor.pid.to_string()));
                return Err(ActionError::Stopped);
            }
        }
    }
}

/// What watches over the action. It is there before the claim: from then on SIGTERM may come.
pub(super) struct Watcher {
    runtime: tokio::runtime::Runtime,
    hint: Hint,
}

impl Watcher {
    pub(super) fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let hint = Hint::new();
        drop(entered);
        Ok(Self { runtime, hint })
    }
}

/// SIGTERM means: look now. It must never end the supervisor, also when a service manager sends it to
/// everybody.
struct Hint {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hint {
    fn new() -> Self {
        Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok(),
        }
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal {
            signal.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// The action itself.
fn act(
    dir: &Path,
    state_dir: &StateDir,
    order: &Order,
    sink: &Sink,
    evaluator: &Evaluator,
    deadline: Instant,
) -> Done {
    let action = actions::find(&order.uses).ok_or_else(|| {
        ActionError::input(format!(
            "this agent has no action type '{}'; upgrade it",
            order.uses
        ))
    })?;
    let with = evaluator.inputs(&order.with, action.verbatim())?;
    let variables = evaluator
        .variables(&order.variables)
        .withholding(order.withheld.clone());
    let names = Names {
        attempt: order.attempt,
        task: order.task,
        task_number: order.task_number.clone(),
        project: order.project.clone(),
        environment: order.environment.clone(),
        release: order.release.clone(),
        step: order.step.clone(),
        action: order.action.clone(),
        subject: order.subject.clone(),
        executor: order.executor.clone(),
        grace: bounded(order.grace_ms, LONGEST_GRACE),
    };
    let package_files = Cached::new(state_dir, sink.stop.token().clone());
    let work_dir = dir.join(files::WORK_DIR);
    let done = action.run(&ActionContext {
        names: &names,
        with: &with,
        variables: &variables,
        packages: &order.packages,
        package_files: &package_files,
        work_dir: &work_dir,
        private_dir: &dir.join(files::PRIVATE_DIR),
        render: &|text| evaluator.text(text),
        state_dir,
        output: sink,
        stop: sink.stop.token(),
        deadline,
    });
    artifacts::collect(sink, &Artifacts::at(state_dir), order.attempt, &work_dir);
    done
}

/// The verdict. An action that ended by itself before the stop reached it ended by itself.
fn conclude(
    recorder: &Mutex<Recorder>,
    stop: &StopState,
    (done, limit): (Done, Duration),
    started_at_us: i64,
) -> AttemptEnd {
    let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = stop.asked().map(|(reason, _)| reason);
    let abandoned = stop.abandoned();
    let (mut outcome, exit_code, mut message) = match (done, asked) {
        (Ok(report), _) => (Outcome::Succeeded, report.exit_code, report.message),
        (Err(_), Some(StopReason::Cancelled)) => (Outcome::Cancelled, None, "cancelled".to_owned()),
        (Err(_), Some(StopReason::TimedOut)) => (
            Outcome::TimedOut,
            None,
            format!(
                "stopped at its deadline: the action's 'timeout' is {}",
                show_duration(limit)
            ),
        ),
        (Err(ActionError::Failed { message, exit_code }), None) => {
            let said = recorder.result_message().map(str::to_owned);
            (Outcome::Failed, exit_code, said.unwrap_or(message))
        }
        (Err(error @ (ActionError::Input { .. } | ActionError::Stopped)), None) => {
            (Outcome::Failed, None, error.to_string())
        }
    };
    if !abandoned.is_empty() && outcome != Outcome::Succeeded {
        outcome = Outcome::Abandoned;
        message = format!("{message}; still running: pid {}", abandoned.join(", "));
    }
    let message = recorder.mask(&message);
    let (records, log) = recorder.finish();
    let message = match (recorder.lost(), message.as_str()) {
        (None, _) => message,
        (Some(lost), "") => lost.to_owned(),
        (Some(lost), said) => format!("{said}; {lost}"),
    };
    AttemptEnd {
        outcome,
        exit_code,
        message,
        records,
        log,
        started_at_us,
        ended_at_us: now_us(),
    }
}

fn nothing_started(message: String, started_at_us: i64) -> AttemptEnd {
    AttemptEnd {
        outcome: Outcome::NotStarted,
        exit_code: None,
        message,
        records: 0,
        log: RecordHasher::new().digest(),
        started_at_us,
        ended_at_us: now_us(),
    }
}

/// A disk may be full for a while; a result that is never written makes the attempt `Unknown`.
fn write_result(dir: &Path, result: &ResultFile) -> u8 {
    for _ in 0..RESULT_RETRIES {
        if files::write_result(dir, result).is_ok() {
            return EXIT_DONE;
        }
        // Somebody removed the folder: no waiting brings it back, and the agent says `Unknown` at once.
        if !dir.exists() {
            return complain(
                EXIT_SETUP,
                "the attempt's folder is gone, and with it the result",
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    complain(EXIT_SETUP, "the result could not be written")
}
