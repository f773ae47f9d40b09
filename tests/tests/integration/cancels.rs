//! Cancelling: a start in flight (S44), a running script and all that it started (S45), what it left
//! behind (S46), and a connection that drops under the cancel (S48).
//!
//! What must hold each time: the agent's word decides, it is asked until it gives it, and what was
//! cancelled does not run any more.

use std::time::{Duration, Instant};

use mantle::api::body::{ActionView, TaskDetail, TaskState, WorkState};
use mantle_shared::protocol::CancelResult;
use mantle_tests::lines::check_lines;
use mantle_tests::proxy::{Direction, Proxy};
use mantle_tests::wait::{wait_for, wait_until};
use mantle_tests::{Effects, World};

use crate::fleet::{self, Fleet, quoted};
use crate::rig::{FullAgent, Home, SOON, Server, hasty};

/// How long a step may take to its end once its script has ended or was told to (S46).
const STEP_END: Duration = Duration::from_secs(5);
/// How soon both ends notice that the line is dead.
const IDLE: Duration = Duration::from_secs(3);
/// Steps of these tests end by themselves before anything else gives up on them, so that a test that
/// fails leaves nothing running.
const LOOKS: u32 = 1200;

/// A server and an agent in this process, with a line between them that can be broken.
struct Pair {
    server: Server,
    proxy: Proxy,
    home: Home,
    agent: FullAgent,
    effects: Effects,
    world: World,
}

impl Pair {
    async fn start(seed: u64) -> Self {
        let world = World::new();
        let server = Server::start(&world).await;
        let proxy = Proxy::start(server.addr, seed).unwrap();
        let home = server.enrol("web01", &["web"], proxy.addr()).await;
        let agent = FullAgent::start(&home, hasty(IDLE));
        server.online(home.agent, true).await;
        Self {
            server,
            proxy,
            home,
            agent,
            effects: Effects::at(world.path("effects")),
            world,
        }
    }

    /// A project `shop` whose one script notes its start and each request to stop, goes on until the
    /// gate opens, and notes that it came to its end.
    async fn project(&self) {
        let script = format!(
            "asked() {{ {asked}; }}
trap asked TERM
{start}
n=0; while [ ! -e '{gate}' ] && [ $n -lt {LOOKS} ]; do sleep 0.05; n=$((n+1)); done
{end}",
            asked = self.effects.shell("asked", "work", "web01"),
            start = self.effects.shell("start", "work", "web01"),
            gate = self.world.path("gate").display(),
            end = self.effects.shell("end", "work", "web01"),
        );
        let step = format!(
            "process:\n  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, grace: 30s, with: {{ run: {} }} }}] }}\n",
            quoted(&script)
        );
        self.server.project("shop", &step).await;
    }

    async fn did(&self, what: &str) {
        wait_until(&format!("the script did: {what}"), SOON, || {
            self.times(what) > 0
        })
        .await;
    }

    fn times(&self, what: &str) -> usize {
        self.effects.count(what, "work", "web01")
    }

    /// The line is dead, and both ends know.
    async fn both_offline(&self) {
        let ends = || self.agent.seen().ends.len();
        wait_until("the agent gives the connection up", SOON, || ends() > 0).await;
        self.server.online(self.home.agent, false).await;
    }

    /// Asks for the cancel and waits until the deployment has taken note of it.
    async fn cancel(&self, task: &str) {
        let (services, caller) = (&self.server.services, &self.server.caller);
        services.task_cancel(caller, task).await.unwrap();
        wait_for("the deployment is being cancelled", SOON, || async {
            let events = services.task_events(caller, task, 0).await.unwrap().items;
            let noted = |state| state == Some(TaskState::Cancelling);
            if events.iter().any(|event| noted(event.task_state)) {
                Ok(())
            } else {
                Err(format!("{events:?}"))
            }
        })
        .await;
    }

    /// Nothing is said of the attempt that its agent has not said.
    async fn undecided(&self, task: &str) {
        let shown = self.server.task(task).await;
        assert!(!shown.task.state.is_over(), "{shown:?}");
        let action = action(&shown);
        assert_ne!(action.state, WorkState::Cancelled, "{action:?}");
        assert_eq!(action.ended_at, None, "{action:?}");
    }

    /// The task ended as cancelled after one attempt.
    async fn ends_cancelled(&self, task: &str) -> ActionView {
        let over = self.server.over(task, SOON).await;
        assert_eq!(over.task.state, TaskState::Cancelled, "{over:?}");
        let action = action(&over).clone();
        assert_eq!(action.state, WorkState::Cancelled, "{action:?}");
        assert_eq!(action.attempts, 1, "{action:?}");
        action
    }
}

fn action(task: &TaskDetail) -> &ActionView {
    &task.steps[0].targets[0].actions[0]
}

/// Waits until the one action was ordered.
async fn ordered(pair: &Pair, task: &str) {
    wait_for("the action is ordered", SOON, || async {
        let shown = pair.server.task(task).await;
        match shown.steps.first() {
            Some(_) if action(&shown).attempts == 1 => Ok(()),
            _ => Err(format!("{shown:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s44_a_start_that_was_lost_is_cancelled_by_the_agents_word_and_never_starts() {
    let pair = Pair::start(44).await;
    pair.project().await;
    pair.proxy.drop_all();
    let task = pair.server.deploy("shop").await;
    ordered(&pair, &task).await;
    pair.both_offline().await;
    pair.cancel(&task).await;
    // The order may have arrived for all that the server knows.
    pair.undecided(&task).await;
    assert!(pair.agent.seen().starts.is_empty(), "it was lost");
    pair.proxy.pass();
    let action = pair.ends_cancelled(&task).await;
    assert!(action.message.contains("before it started"), "{action:?}");
    let seen = pair.agent.seen();
    assert_eq!(seen.cancels.len(), 1, "{seen:?}");
    assert_eq!(seen.cancel_answers[0].result, CancelResult::Voided);
    assert!(seen.starts.is_empty(), "nor was it sent later: {seen:?}");
    assert_eq!(pair.effects.read(), [], "nothing ran");
    pair.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s44_a_start_whose_answer_was_lost_is_killed_by_its_cancel() {
    let pair = Pair::start(45).await;
    pair.project().await;
    // What the server says arrives, what the agent says does not.
    pair.proxy.one_way(Direction::ToClient);
    let task = pair.server.deploy("shop").await;
    pair.did("start").await;
    pair.both_offline().await;
    pair.cancel(&task).await;
    pair.undecided(&task).await;
    assert_eq!(pair.times("asked"), 0, "nobody has told it");
    pair.proxy.pass();
    pair.did("asked").await;
    // It winds up in its own time, and until then it is not over.
    pair.undecided(&task).await;
    pair.world.file("gate", "");
    let action = pair.ends_cancelled(&task).await;
    assert_eq!(action.message, "cancelled", "the agent's own word");
    assert!(!pair.effects.process_of("start", "work").process_lives());
    let seen = pair.agent.seen();
    assert!(
        seen.cancel_answers
            .iter()
            .all(|answer| answer.result == CancelResult::Cancelling),
        "{seen:?}"
    );
    pair.effects.assert_each_once([("work", "web01")]);
    pair.agent.stop().await;
}

/// A script works, is cancelled while the line does this, and the line comes back.
async fn cancelled_over(seed: u64, breaks: impl FnOnce(&Proxy), arrives: bool) {
    let pair = Pair::start(seed).await;
    pair.project().await;
    let task = pair.server.deploy("shop").await;
    pair.did("start").await;
    pair.server.action_is(&task, WorkState::Running).await;
    breaks(&pair.proxy);
    pair.cancel(&task).await;
    if arrives {
        pair.did("asked").await;
    }
    pair.both_offline().await;
    pair.undecided(&task).await;
    assert_eq!(pair.times("asked"), usize::from(arrives));
    pair.proxy.pass();

    // It is asked again until it has answered, and does not ask the script again.
    let due = if arrives { 2 } else { 1 };
    wait_until("the cancel is answered", SOON, || {
        let seen = pair.agent.seen();
        seen.cancels.len() >= due && seen.cancel_answers.len() == seen.cancels.len()
    })
    .await;
    pair.did("asked").await;
    pair.undecided(&task).await;
    pair.world.file("gate", "");
    pair.ends_cancelled(&task).await;
    let seen = pair.agent.seen();
    let attempts: Vec<_> = seen.cancels.iter().map(|cancel| cancel.attempt).collect();
    assert!(attempts.iter().all(|id| *id == seen.starts[0].attempt));
    assert_eq!(pair.times("asked"), 1, "it was applied once");
    pair.effects.assert_each_once([("work", "web01")]);
    pair.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_a_cancel_whose_answer_is_lost_is_applied_once() {
    let breaks = |proxy: &Proxy| proxy.one_way(Direction::ToClient);
    cancelled_over(48, breaks, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_a_cancel_that_is_lost_is_given_again() {
    cancelled_over(49, Proxy::drop_all, false).await;
}

/// Types the cancel and waits for the end of the deployment; gives how long that took.
async fn cancelled(fleet: &Fleet, task: &str) -> Duration {
    let since = Instant::now();
    fleet.server.ok(&["task", "cancel", task]).await;
    fleet.task_is(task, "cancelled", fleet::SOON).await;
    since.elapsed()
}

#[tokio::test]
async fn s45_a_running_script_is_asked_then_its_whole_tree_is_killed_and_the_tail_arrives() {
    let grace = Duration::from_secs(2);
    let fleet = Fleet::new(1).await;
    let effects = &fleet.effects;
    // A script of its own that notes its start, does this and listens to nothing.
    let deaf = |who: &str, does: &str| {
        let start = effects.shell("start", who, "web01");
        let text = format!("trap '' TERM\n{start}\n{does}\nwhile :; do sleep 0.1; done\n");
        let path = fleet.world.file(&format!("{who}.sh"), &text);
        format!("sh '{}'", path.display())
    };
    let child = deaf("child", "");
    let grandchild = deaf("grandchild", "");
    // In a session of its own, with a child of its own.
    let daemon = deaf("daemon", &format!("{grandchild} &"));
    // The script takes note of the request and counts on, until it is killed: first the line, then
    // a note that it was printed.
    let script = format!(
        "{child} &
setsid {daemon} &
trap 'echo asked to stop' TERM
{start}
i=1; while :; do echo \"line $i\"; echo $i > '{printed}'; sleep 0.02; i=$((i+1)); done",
        start = effects.shell("start", "work", "web01"),
        printed = fleet.world.path("printed").display(),
    );
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, grace: 2s, with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    );
    fleet.release("stubborn", &process).await;
    let task = fleet.detach("stubborn").await;
    let all = ["work", "child", "grandchild", "daemon"];
    wait_until("the whole tree is at work", fleet::SOON, || {
        all.iter()
            .all(|who| effects.count("start", who, "web01") == 1)
    })
    .await;
    let took = cancelled(&fleet, &task).await;
    assert!(took >= grace, "it had its grace, and not {took:?}");
    assert!(took < grace + Duration::from_secs(20), "after {took:?}");
    for who in all {
        let process = effects.process_of("start", who);
        assert!(!process.process_lives(), "{who} lives: {process:?}");
    }
    let printed = std::fs::read_to_string(fleet.world.path("printed")).unwrap();
    // The kill may come while the file is being written.
    let printed: u64 = printed.trim().parse().unwrap_or(1);
    let log = fleet.log(&task).await;
    let texts: Vec<&str> = log.iter().map(|line| line.text.as_str()).collect();
    let count = texts
        .iter()
        .filter(|text| text.starts_with("line "))
        .count() as u64;
    assert!(
        count >= printed,
        "{printed} lines were printed and {count} arrived"
    );
    let report = check_lines(texts.iter().copied(), "line", count);
    assert!(report.is_right(), "{report}");
    let asked: Vec<usize> = (0..texts.len())
        .filter(|at| texts[*at] == "asked to stop")
        .collect();
    let [asked] = asked[..] else {
        panic!("asked once, not at {asked:?}");
    };
    let tail = texts[asked..].iter().filter(|t| t.starts_with("line "));
    assert!(tail.count() > 10, "it went on through its grace: {texts:?}");
}

/// A script leaves a daemon behind that holds its output, and then does this.
async fn leaves_a_daemon(fleet: &Fleet, then: &str) -> String {
    let daemon = format!(
        "{}\nexec sleep 600\n",
        fleet.effects.shell("start", "daemon", "web01")
    );
    let daemon = fleet.world.file("daemon.sh", &daemon);
    let end = fleet.effects.shell("end", "work", "web01");
    // In a session of its own, its parent gone: what daemonises itself.
    let script = format!(
        "stops() {{ {end}; exit 0; }}
trap stops TERM
( setsid sh '{daemon}' & )
while [ ! -s '{effects}' ]; do sleep 0.02; done
{then}
{end}",
        daemon = daemon.display(),
        effects = fleet.effects.path().display(),
    );
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, grace: 1s, with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    );
    fleet.release("leaves", &process).await;
    fleet.detach("leaves").await
}

/// The script has ended: its step ends soon after, and the daemon is dead and named.
async fn ends_soon(fleet: &Fleet, task: &str, state: &str) {
    wait_until("the script ends", fleet::SOON, || {
        fleet.effects.count("end", "work", "web01") == 1
    })
    .await;
    fleet.task_is(task, state, STEP_END).await;
    let daemon = fleet.effects.process_of("start", "daemon");
    let log = fleet.log(task).await;
    let named = format!("sleep (pid {})", daemon.pid);
    assert!(
        log.iter().any(|line| line.text.contains(&named)),
        "{named} is not in {log:?}"
    );
    assert!(!daemon.process_lives(), "{daemon:?} lives");
}

#[tokio::test]
async fn s46_a_daemon_that_holds_the_output_does_not_hold_the_end_of_its_step() {
    let fleet = Fleet::new(1).await;
    let task = leaves_a_daemon(&fleet, ":").await;
    ends_soon(&fleet, &task, "succeeded").await;
}

#[tokio::test]
async fn s46_a_daemon_that_holds_the_output_does_not_hold_a_cancel() {
    let fleet = Fleet::new(1).await;
    let then = format!(
        "{}\nsleep 60 & wait",
        fleet.effects.shell("start", "work", "web01")
    );
    let task = leaves_a_daemon(&fleet, &then).await;
    wait_until("the script is at work", fleet::SOON, || {
        fleet.effects.count("start", "work", "web01") == 1
    })
    .await;
    fleet.server.ok(&["task", "cancel", &task]).await;
    ends_soon(&fleet, &task, "cancelled").await;
}
