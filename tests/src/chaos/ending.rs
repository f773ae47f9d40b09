//! The end of a run: reads the histories of everything, and keeps them if they show a violation.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::driver::{Chaos, Holdings};
use super::report::Report;
use super::{Options, agent_name, collect, workload};
use crate::checker::{AuditCheck, Excuse, Expected, Resource, TaskHistory};

impl Chaos {
    /// Reads the histories of everything.
    pub(super) async fn collect(&mut self, before: &Holdings) {
        for audit in std::mem::take(&mut self.audits) {
            self.history.audits.extend(audit.await.ok().flatten());
        }
        self.history.resources = self.resources(before).await;
        for (number, member) in self.members.iter_mut().enumerate() {
            member.journal.read();
            let history = std::mem::take(&mut member.journal.history);
            self.history.agents.insert(agent_name(number), history);
        }
        let (starts, ends) = collect::steps(&self.world.path("steps"));
        self.history.starts = starts;
        self.history.ends = ends;
        let numbers = collect::task_numbers(&self.client)
            .await
            .expect("the list of tasks");
        for number in numbers {
            let task = collect::task(&self.client, &number)
                .await
                .unwrap_or_else(|error| panic!("{number}: {error}"));
            let task = self.with_excuses(task).await;
            self.history.tasks.push(task);
        }
        self.history.audit = collect::audit(&self.client).await.expect("the audit trail");
        let verified = self.client.audit_verify().await.expect("the audit trail");
        self.history.audits.push(AuditCheck {
            after: "the run".to_owned(),
            fault: (!verified.intact).then_some(verified.fault),
            rows: verified.entries,
        });
        self.history.canaries = self.canaries();
    }

    async fn with_excuses(&self, mut task: TaskHistory) -> TaskHistory {
        let detail = self.client.task(&task.number).await.expect("a task");
        let from = detail.task.created_at;
        let until = detail.task.ended_at.unwrap_or_else(jiff::Timestamp::now);
        task.expected = workload::project(&task.project).map_or(Expected::Succeeds, |project| {
            project.expected(&detail.task.version)
        });
        task.first_verdict = self.verdicts.get(&task.number).cloned();
        let is_about = |agent: usize| {
            let name = agent_name(agent);
            task.actions.iter().any(|action| action.target == name)
        };
        let cancelled = self.shared.cancelled.lock().unwrap();
        let mut excuses = Vec::new();
        if cancelled.contains(&task.number) {
            excuses.push(Excuse::Cancelled);
        }
        let full = self.shared.full.lock().unwrap();
        if full
            .iter()
            .any(|(who, interval)| interval.overlaps(from, until) && who.is_none_or(is_about))
        {
            excuses.push(Excuse::FullDisk);
        }
        let orphaned = self.shared.orphaned.lock().unwrap();
        if orphaned
            .iter()
            .any(|(agent, at)| is_about(*agent) && *at >= from && *at <= until)
        {
            excuses.push(Excuse::SupervisorKilled);
        }
        if self.shared.resolved.lock().unwrap().contains(&task.number) {
            excuses.push(Excuse::Resolved);
        }
        task.cancelled = excuses.contains(&Excuse::Cancelled);
        task.excuses = excuses;
        task
    }

    /// Waits a while for memory and descriptors to come back, and tells how they stand.
    async fn resources(&mut self, before: &Holdings) -> Vec<Resource> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let after = self.holdings();
            let mut all = Vec::new();
            for (process, held) in before {
                for (what, before) in held {
                    all.push(Resource {
                        process: process.clone(),
                        what: (*what).to_owned(),
                        before: *before,
                        after: after[process][what],
                        slack: match *what {
                            // What a log of thousands of lines warms up stays allocated.
                            "KiB of memory" => 128 * 1024,
                            "threads" => 12,
                            _ => 24,
                        },
                    });
                }
            }
            let settled = all.iter().all(|one| one.after <= one.before + one.slack);
            if settled || Instant::now() > deadline {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Where the secret stands: in files of any process, and in what the server tells.
    fn canaries(&self) -> Vec<String> {
        let forms = collect::forms(&self.secret);
        let mut roots = vec![self.world.root().to_owned(), self.server.files()];
        roots.extend(self.members.iter().map(|member| member.agent.files()));
        let mut places: Vec<String> = roots
            .iter()
            .flat_map(|root| collect::places_of(root, &forms))
            .collect();
        for task in &self.history.tasks {
            for line in &task.log {
                if forms
                    .iter()
                    .any(|form| line.text.contains(&*String::from_utf8_lossy(form)))
                {
                    places.push(format!("the log of {}: {}", task.number, line.text));
                }
            }
        }
        places
    }

    pub(super) fn report(mut self, options: &Options, began: Instant) -> Report {
        let history = std::mem::take(&mut self.history);
        let report = Report::new(
            options,
            began.elapsed(),
            self.counts.clone(),
            &self.times,
            history,
        );
        if report.failed() > 0 {
            self.keep(options, &report);
        }
        report
    }

    /// Keeps everything that helps to find out why.
    fn keep(&self, options: &Options, report: &Report) {
        self.world.keep();
        let folder = options
            .keep
            .clone()
            .unwrap_or_else(|| self.world.root().to_owned());
        let _ = std::fs::create_dir_all(&folder);
        let history = folder.join("history.json");
        match serde_json::to_vec(&report.history) {
            Ok(bytes) => {
                if let Err(error) = std::fs::write(&history, bytes) {
                    (self.say)(&format!("{}: {error}", history.display()));
                }
            }
            Err(error) => (self.say)(&format!("the history cannot be kept: {error}")),
        }
        // The disks are gone with their holders.
        let mut kept = vec![("server".to_owned(), self.server.files())];
        for (number, member) in self.members.iter().enumerate() {
            if member.agent.disk().is_some() {
                kept.push((agent_name(number), member.agent.files()));
            }
        }
        for (name, files) in kept {
            copy(&files, &folder.join(format!("kept-{name}")));
        }
        (self.say)(&format!(
            "kept: {} and {}",
            history.display(),
            self.world.root().display()
        ));
    }
}

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status();
    // What could not be copied is missing; the history has what the verdict rests on.
    drop(done);
}
