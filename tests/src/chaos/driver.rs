//! Breaks the fleet by the schedule, starts what is down again, and lets everything heal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mantle::client::Client;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::collect::{self, JournalReader};
use super::measure::{self, Times};
use super::report::{Counts, Report};
use super::schedule::{Fault, Scheduled, schedule};
use super::work;
use super::{Interval, Options, SMALL_DISKS, Shared, agent_name};
use crate::checker::{AuditCheck, History, PackageSighting};
use crate::proxy::Proxy;
use crate::{Agent, Server, World};

/// Between two looks at processes that may have ended.
const TEND_EVERY: Duration = Duration::from_millis(50);
/// After this a process that died is started again, as a service manager would.
const REVIVE_AFTER: Duration = Duration::from_millis(500);
/// After the faults every task has this long to end: the bound of I4. A step may have been told to
/// wait for its agent just before; the longest step takes a minute under load.
pub(super) const BOUND: Duration = Duration::from_mins(3);

/// A process that is up, or will be.
pub(super) enum Up {
    Running,
    /// Down on purpose, until its fault ends.
    Down,
    /// To be started at this time.
    Due(Instant),
}

pub(super) struct Member {
    pub(super) agent: Agent,
    pub(super) proxy: Proxy,
    pub(super) journal: JournalReader,
    pub(super) up: Up,
    /// It dies by itself at a point, on purpose.
    pub(super) armed: bool,
}

/// What each process holds.
pub(super) type Holdings = BTreeMap<String, BTreeMap<&'static str, u64>>;

pub(super) struct Chaos {
    pub(super) world: World,
    pub(super) server: Server,
    pub(super) server_up: Up,
    pub(super) server_armed: bool,
    /// Lives of the server; it is killed in the even ones that are announced.
    pub(super) life: u64,
    pub(super) measure_next: bool,
    pub(super) members: Vec<Member>,
    pub(super) client: Client,
    pub(super) shared: Arc<Shared>,
    pub(super) times: Arc<Times>,
    pub(super) counts: Counts,
    pub(super) history: History,
    /// How each task stood when it was first seen to be over.
    pub(super) verdicts: BTreeMap<String, String>,
    pub(super) audits: Vec<JoinHandle<Option<AuditCheck>>>,
    pub(super) secret: String,
    pub(super) say: fn(&str),
}

/// What is due when.
enum Due {
    Begin(Scheduled),
    End(Fault),
}

pub(super) async fn run(options: &Options) -> Report {
    let began = Instant::now();
    let mut chaos = Chaos::set_up(options).await;
    let before = chaos.holdings();
    let faults = options
        .faults
        .clone()
        .unwrap_or_else(|| schedule(options.seed, options.length, options.agents, small(options)));
    for fault in &faults {
        (options.say)(&fault.to_string());
    }
    let steps = chaos.world.path("steps");
    let workers = tokio::spawn(work::deploy(
        chaos.client.clone(),
        Arc::clone(&chaos.shared),
        steps.clone(),
        options.seed,
        BOUND,
    ));
    let watcher = chaos.watch_packages(options.seed);
    (options.say)(&format!(
        "set up in {:.0} s; the faults begin",
        began.elapsed().as_secs_f64()
    ));
    chaos.break_things(faults, options.length).await;
    chaos.heal();
    (options.say)("the faults are over; waiting for what is under way");
    chaos
        .shared
        .over
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let worked = chaos.tend_while(workers).await;
    chaos.history.survivors = worked.survivors;
    chaos.verdicts = worked.verdicts;
    chaos.counts.answers = worked.answers;
    chaos.counts.resolutions = worked.resolutions;
    let (packages, whole) = watcher.join().unwrap_or_default();
    chaos.history.packages = packages;
    chaos.history.packages_whole = whole;
    chaos.collect(&before).await;
    chaos.report(options, began)
}

pub(super) fn small(options: &Options) -> usize {
    SMALL_DISKS.min(options.agents)
}

impl Chaos {
    /// Begins and ends faults as they come due.
    async fn break_things(&mut self, faults: Vec<Scheduled>, length: Duration) {
        let began = Instant::now();
        let mut due: BTreeMap<(Duration, usize), Due> = BTreeMap::new();
        for (number, fault) in faults.into_iter().enumerate() {
            if !fault.lasts.is_zero() {
                let end = Due::End(fault.fault.clone());
                due.insert((fault.at + fault.lasts, 2 * number + 1), end);
            }
            due.insert((fault.at, 2 * number), Due::Begin(fault));
        }
        while began.elapsed() < length {
            while let Some(entry) = due.first_entry()
                && entry.key().0 <= began.elapsed()
            {
                match entry.remove() {
                    Due::Begin(fault) => self.begin(&fault).await,
                    Due::End(fault) => self.end(&fault),
                }
            }
            self.tend();
            tokio::time::sleep(TEND_EVERY).await;
        }
    }

    async fn begin(&mut self, scheduled: &Scheduled) {
        let fault = &scheduled.fault;
        let done = match fault {
            Fault::KillServer => self.server_down(true).await,
            Fault::StopServer => self.server_down(false).await,
            Fault::KillServerAt(point) => self.arm_server(point),
            Fault::FreezeServer => self.freeze_server(),
            Fault::FillServer => self.fill(None),
            Fault::KillAgent(agent) => self.agent_down(*agent, true).await,
            Fault::StopAgent(agent) => self.agent_down(*agent, false).await,
            Fault::KillAgentAt(agent, point) => self.arm_agent(*agent, point),
            Fault::FreezeAgent(agent) => {
                self.shared.disturb(*agent);
                let member = &mut self.members[*agent];
                let runs = matches!(member.up, Up::Running);
                if runs {
                    member.agent.process().freeze();
                }
                runs
            }
            Fault::FillAgent(agent) => self.fill(Some(*agent)),
            Fault::KillSupervisors(agent) => self.kill_supervisors(*agent),
            Fault::Cut(agent) => self.line(*agent, Proxy::drop_all),
            Fault::OneWay(agent, direction) => self.line(*agent, |proxy| proxy.one_way(*direction)),
            Fault::Lossy(agent, share) => self.line(*agent, |proxy| {
                proxy.loss(*share);
                proxy.duplicate(*share);
            }),
            Fault::Rebind(agent) => self.members[*agent].proxy.rebind_client_ports().is_ok(),
            Fault::Cancel(nth) => self.cancel(*nth),
        };
        self.counts.count(fault, done);
        if done {
            (self.say)(&format!("{scheduled}"));
        }
    }

    fn end(&mut self, fault: &Fault) {
        match fault {
            Fault::KillServer | Fault::StopServer => {
                if matches!(self.server_up, Up::Down) {
                    self.server_up = Up::Due(Instant::now());
                }
            }
            Fault::FreezeServer => self.server.process().thaw(),
            Fault::FillServer => self.free(None),
            Fault::KillAgent(agent) | Fault::StopAgent(agent) => {
                let member = &mut self.members[*agent];
                if matches!(member.up, Up::Down) {
                    member.up = Up::Due(Instant::now());
                }
            }
            Fault::FreezeAgent(agent) => {
                let member = &mut self.members[*agent];
                if matches!(member.up, Up::Running) {
                    member.agent.process().thaw();
                }
                self.shared.calm(*agent);
            }
            Fault::FillAgent(agent) => self.free(Some(*agent)),
            Fault::Cut(agent) | Fault::OneWay(agent, _) | Fault::Lossy(agent, _) => {
                self.members[*agent].proxy.pass();
                self.shared.calm(*agent);
            }
            // Over by themselves.
            Fault::KillServerAt(_)
            | Fault::KillAgentAt(..)
            | Fault::KillSupervisors(_)
            | Fault::Rebind(_)
            | Fault::Cancel(_) => {}
        }
    }

    fn freeze_server(&mut self) -> bool {
        if !matches!(self.server_up, Up::Running) {
            return false;
        }
        // What is being measured of its latest start is worth nothing now.
        self.shared.life.send_replace(None);
        self.server.process().freeze();
        true
    }

    async fn server_down(&mut self, kill: bool) -> bool {
        if !matches!(self.server_up, Up::Running) {
            return false;
        }
        self.shared.life.send_replace(None);
        // It may be frozen: a stop would wait for ever.
        self.server.process().thaw();
        if kill {
            self.server.kill9();
        } else {
            self.server.stop().await;
        }
        self.measure_next = kill;
        self.server_up = Up::Down;
        true
    }

    /// The server is killed now, and started anew so that it dies at this point.
    fn arm_server(&mut self, point: &str) -> bool {
        if !matches!(self.server_up, Up::Running) || self.server_armed {
            return false;
        }
        self.shared.life.send_replace(None);
        self.server.kill9();
        self.server.set_env("MANTLE_FAULT", point);
        self.server_armed = true;
        self.server_up = Up::Due(Instant::now());
        true
    }

    async fn agent_down(&mut self, agent: usize, kill: bool) -> bool {
        let member = &mut self.members[agent];
        if !matches!(member.up, Up::Running) {
            return false;
        }
        self.shared.disturb(agent);
        member.agent.process().thaw();
        if kill {
            member.agent.kill9();
        } else {
            member.agent.stop().await;
        }
        member.journal.read();
        member.up = Up::Down;
        true
    }

    fn arm_agent(&mut self, agent: usize, point: &str) -> bool {
        let member = &mut self.members[agent];
        if !matches!(member.up, Up::Running) || member.armed {
            return false;
        }
        self.shared.disturb(agent);
        member.agent.kill9();
        member.agent.set_env("MANTLE_FAULT", point);
        member.armed = true;
        member.up = Up::Due(Instant::now());
        true
    }

    fn line(&self, agent: usize, change: impl FnOnce(&Proxy)) -> bool {
        self.shared.disturb(agent);
        change(&self.members[agent].proxy);
        true
    }

    fn fill(&self, agent: Option<usize>) -> bool {
        let disk = match agent {
            Some(agent) => self.members[agent].agent.disk(),
            None => self.server.disk(),
        };
        let Some(disk) = disk else {
            return false;
        };
        let mut full = self.shared.full.lock().unwrap();
        full.push((agent, Interval::open()));
        disk.fill();
        true
    }

    fn free(&self, agent: Option<usize>) {
        let disk = match agent {
            Some(agent) => self.members[agent].agent.disk(),
            None => self.server.disk(),
        };
        if let Some(disk) = disk {
            disk.free();
        }
        let mut full = self.shared.full.lock().unwrap();
        for (who, interval) in full.iter_mut() {
            if *who == agent && interval.until.is_none() {
                interval.until = Some(jiff::Timestamp::now());
            }
        }
    }

    /// Whether a disk is full now.
    fn is_full(&self, agent: Option<usize>) -> bool {
        let full = self.shared.full.lock().unwrap();
        let mut all = full.iter();
        all.any(|(who, interval)| *who == agent && interval.until.is_none())
    }

    fn kill_supervisors(&self, agent: usize) -> bool {
        let data = self.members[agent].agent.data().display().to_string();
        let mut killed = false;
        for pid in self.world.processes() {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            if line.contains("exec-attempt")
                && line.contains(&data)
                && let Some(pid) = rustix::process::Pid::from_raw(pid)
            {
                let signal = rustix::process::Signal::KILL;
                killed |= rustix::process::kill_process(pid, signal).is_ok();
            }
        }
        if killed {
            let now = jiff::Timestamp::now();
            self.shared.orphaned.lock().unwrap().push((agent, now));
        }
        killed
    }

    fn cancel(&self, nth: usize) -> bool {
        let open = self.shared.open.lock().unwrap().clone();
        if open.is_empty() {
            return false;
        }
        let number = open[nth % open.len()].clone();
        // Asked for before the answer is there: it may be taken in and the answer be lost.
        self.shared.cancelled.lock().unwrap().insert(number.clone());
        let client = self.client.clone();
        tokio::spawn(async move {
            // A server that is down takes nothing in.
            let _ = client.task_cancel(&number).await;
        });
        true
    }

    /// Looks at every process, and starts what is to be up.
    fn tend(&mut self) {
        self.tend_server();
        for number in 0..self.members.len() {
            self.tend_agent(number);
        }
    }

    fn tend_server(&mut self) {
        match self.server_up {
            Up::Down => {}
            Up::Due(at) => {
                if at <= Instant::now() {
                    self.server.relaunch();
                    self.server_up = Up::Running;
                }
            }
            Up::Running => {
                if let Some(status) = self.server.process().ended() {
                    self.server_died(&status.to_string());
                } else if self.shared.life.borrow().is_none() && self.server.is_listening() {
                    self.server_listens();
                }
            }
        }
    }

    fn server_died(&mut self, status: &str) {
        self.shared.life.send_replace(None);
        self.measure_next = true;
        if self.server_armed {
            self.server_armed = false;
            self.server.set_env("MANTLE_FAULT", "");
            self.counts.died_at_point += 1;
        } else if self.is_full(None) {
            // Without room for its database it may refuse to run; it is started again.
        } else {
            let death = format!("the server ended by itself ({status})");
            (self.say)(&death);
            self.history.deaths.push(death);
        }
        self.server_up = Up::Due(Instant::now() + REVIVE_AFTER);
    }

    fn server_listens(&mut self) {
        self.life += 1;
        self.shared.life.send_replace(Some(self.life));
        if std::mem::take(&mut self.measure_next) {
            tokio::spawn(measure::recovery(
                self.client.clone(),
                Arc::clone(&self.shared),
                self.life,
                Arc::clone(&self.times),
            ));
        }
        let (client, life) = (self.client.clone(), self.life);
        self.audits.push(tokio::spawn(async move {
            // A server that is killed meanwhile is looked at in its next life.
            let verified = client.audit_verify().await.ok()?;
            Some(AuditCheck {
                after: format!("life {life} of the server"),
                fault: (!verified.intact).then_some(verified.fault),
                rows: verified.entries,
            })
        }));
    }

    fn tend_agent(&mut self, number: usize) {
        let full = self.is_full(Some(number));
        let member = &mut self.members[number];
        match member.up {
            Up::Down => {}
            Up::Due(at) => {
                if at <= Instant::now() {
                    member.journal.read();
                    member.agent.run();
                    member.up = Up::Running;
                    if !member.armed {
                        self.shared.calm(number);
                    }
                }
            }
            Up::Running => {
                let Some(status) = member.agent.process().ended() else {
                    return;
                };
                self.shared.disturb(number);
                member.journal.read();
                member.up = Up::Due(Instant::now() + REVIVE_AFTER);
                if member.armed {
                    member.armed = false;
                    member.agent.set_env("MANTLE_FAULT", "");
                    self.counts.died_at_point += 1;
                } else if !full {
                    let death = format!("{} ended by itself ({status})", agent_name(number));
                    (self.say)(&death);
                    self.history.deaths.push(death);
                }
            }
        }
    }

    /// Ends every fault.
    fn heal(&mut self) {
        self.free(None);
        self.server.process().thaw();
        self.server.set_env("MANTLE_FAULT", "");
        if self.server_armed && matches!(self.server_up, Up::Running) {
            self.server.kill9();
        }
        if !matches!(self.server_up, Up::Running) || self.server_armed {
            self.server_up = Up::Due(Instant::now());
        }
        self.server_armed = false;
        for number in 0..self.members.len() {
            self.free(Some(number));
            let member = &mut self.members[number];
            member.proxy.pass();
            member.agent.set_env("MANTLE_FAULT", "");
            if matches!(member.up, Up::Running) {
                member.agent.process().thaw();
                if member.armed {
                    member.agent.kill9();
                    member.up = Up::Due(Instant::now());
                }
            } else {
                member.up = Up::Due(Instant::now());
            }
            member.armed = false;
            self.shared.calm(number);
        }
        self.tend();
        for agent in 0..self.members.len() {
            self.shared.calm(agent);
        }
    }

    async fn tend_while<T: Default>(&mut self, mut work: JoinHandle<T>) -> T {
        loop {
            tokio::select! {
                done = &mut work => return done.unwrap_or_default(),
                () = tokio::time::sleep(TEND_EVERY) => self.tend(),
            }
        }
    }

    /// Looks at installed packages all the time, from a thread of its own.
    fn watch_packages(&self, seed: u64) -> std::thread::JoinHandle<(Vec<PackageSighting>, u64)> {
        let roots: Vec<_> = self
            .members
            .iter()
            .map(|member| member.agent.files().join("apps"))
            .collect();
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            let (mut faults, mut whole) = (Vec::new(), 0);
            let mut at = seed;
            while !shared.is_over() {
                at = at.wrapping_add(1);
                let root = &roots[usize::try_from(at).unwrap_or(0) % roots.len()];
                for current in collect::currents(root) {
                    match collect::package_fault(&current) {
                        Some(Ok(())) => whole += 1,
                        Some(Err(fault)) => faults.push(fault),
                        None => {}
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            (faults, whole)
        })
    }

    pub(super) fn holdings(&mut self) -> Holdings {
        let mut all = BTreeMap::new();
        let pid = self.server.process().pid();
        all.insert("the server".to_owned(), collect::holdings(pid));
        for (number, member) in self.members.iter_mut().enumerate() {
            let pid = member.agent.process().pid();
            all.insert(agent_name(number), collect::holdings(pid));
        }
        all
    }
}
