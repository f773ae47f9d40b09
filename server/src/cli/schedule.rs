//! When a deployment begins and how urgent it is: `--at`, `--expires`, `--priority`.

use clap::{Args, ValueEnum};
use jiff::{Timestamp, Zoned};
use mantle_domain::queue::when;

use super::exit::{Exit, Failure};
use crate::api::body::{DeploymentCreate, TaskPriority};

/// When and how urgent.
#[derive(Debug, Clone, Args)]
pub(super) struct ScheduleArgs {
    /// Begin no earlier, such as 22:00, 'in 2h', 'tomorrow 08:00', '2026-11-27 08:00' or
    /// 2026-11-27T08:00:00Z; at most 30 days ahead
    #[arg(long, value_name = "TIME")]
    pub(super) at: Option<String>,
    /// If it has not begun by then it never does
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// How urgent it is, whatever its environment and phase say
    #[arg(long, value_enum, value_name = "PRIORITY")]
    priority: Option<PriorityWord>,
}

/// How urgent a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PriorityWord {
    /// As any other
    Normal,
    /// Before those that are not; takes the permission to change the order of the queue
    High,
}

impl ScheduleArgs {
    /// Puts it into a request. What names no zone is meant by the clock of this machine.
    pub(super) fn put(&self, request: &mut DeploymentCreate) -> Result<(), Failure> {
        self.put_at(request, &Zoned::now())
    }

    fn put_at(&self, request: &mut DeploymentCreate, now: &Zoned) -> Result<(), Failure> {
        let read = |text: &String, after: Timestamp| {
            when::parse(text, now, after)
                .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
        };
        let at = self.at.as_ref().map(|text| read(text, now.timestamp()));
        request.at = at.transpose()?;
        let after = request.at.unwrap_or(now.timestamp());
        let expires = self.expires.as_ref().map(|text| read(text, after));
        request.expires = expires.transpose()?;
        request.priority = self.priority.map(|word| match word {
            PriorityWord::Normal => TaskPriority::Normal,
            PriorityWord::High => TaskPriority::High,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn the_end_is_read_after_the_start() {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let args = ScheduleArgs {
            at: Some("22:00".to_owned()),
            expires: Some("01:00".to_owned()),
            priority: Some(PriorityWord::High),
        };
        let mut request = DeploymentCreate::default();
        let put = args.put_at(&mut request, &now.to_zoned(TimeZone::UTC));
        assert!(put.is_ok());
        let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(request.at, time("2026-11-26T22:00:00Z"));
        assert_eq!(request.expires, time("2026-11-27T01:00:00Z"));
        assert_eq!(request.priority, Some(TaskPriority::High));
        let wrong = ScheduleArgs {
            at: Some("soon".to_owned()),
            ..args
        };
        let failure = wrong.put_at(&mut request, &now.to_zoned(TimeZone::UTC));
        assert_eq!(failure.unwrap_err().exit, Exit::Usage);
    }
}
