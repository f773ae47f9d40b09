//! One service, from what it is to what it should be, and back if that comes to nothing.

use std::time::Duration;

use super::record::{Record, Store};
use super::{Inputs, Restart};
use crate::actions::{ActionContext, ActionError, StopToken};
use crate::scm::{Lacks, Services, Setup, State, needs_password, same_account, wait};

/// How long the service of before may take to stop and to be up again.
const RESTORE_TIMEOUT: Duration = Duration::from_mins(1);

/// A service that is being changed.
pub(super) struct Changing<'a> {
    context: &'a ActionContext<'a>,
    services: &'a dyn Services,
    name: &'a str,
    store: Store,
}

impl<'a> Changing<'a> {
    pub(super) fn of(
        context: &'a ActionContext<'a>,
        services: &'a dyn Services,
        name: &'a str,
    ) -> Result<Self, ActionError> {
        let store = Store::of(context, name)?;
        Ok(Self {
            context,
            services,
            name,
            store,
        })
    }

    /// Makes it what the inputs say.
    pub(super) fn run(&self, inputs: &Inputs) -> Result<(), ActionError> {
        let wanted = inputs.setup();
        let there = self.services.setup(self.name)?;
        self.refuse_no_password(inputs, &wanted, there.as_ref())?;
        let known = self.store.read()?;
        let untried = known.as_ref().is_some_and(|record| record.pending);
        let same = there.as_ref().is_some_and(|there| wanted.is_as(there));
        if same && !untried {
            return self.keep(inputs, &wanted);
        }
        let record = self.next_record(known, there)?;
        self.store.write(&record)?;
        let tried = self.put_up(inputs, &wanted);
        let Err(error) = tried else {
            self.context.info(format!(
                "{} {} and is {}",
                self.name,
                if record.before.is_some() {
                    "is set up anew"
                } else {
                    "is made"
                },
                if inputs.runs() { "running" } else { "stopped" }
            ));
            return self.store.write(&Record {
                pending: false,
                ..record
            });
        };
        Err(self.given_up(error, &record))
    }

    /// Nobody can start it without; said before anything is touched.
    fn refuse_no_password(
        &self,
        inputs: &Inputs,
        wanted: &Setup,
        there: Option<&Setup>,
    ) -> Result<(), ActionError> {
        let stays = there.is_some_and(|there| same_account(&there.account, &wanted.account));
        if stays || inputs.password().is_some() || !needs_password(&wanted.account) {
            return Ok(());
        }
        Err(ActionError::input(format!(
            "with.password: {} would run as {}, which has a password; give it as a secret, or use an account without one, such as 'NT SERVICE\\{}' or one that the domain manages (NAME$)",
            self.name, wanted.account, self.name
        )))
    }

    /// What to go back to: of this task the first state, and never one that was not seen to work.
    fn next_record(
        &self,
        known: Option<Record>,
        there: Option<Setup>,
    ) -> Result<Record, ActionError> {
        let task = self.context.names.task;
        if let Some(record) = known.filter(|record| record.pending || record.task == task) {
            return Ok(Record {
                task,
                pending: true,
                ..record
            });
        }
        Ok(Record {
            task,
            before: there,
            running: self.is_running()?,
            pending: true,
        })
    }

    fn is_running(&self) -> Result<bool, ActionError> {
        let status = self.services.status(self.name)?;
        Ok(status.is_some_and(|status| status.state != State::Stopped))
    }

    fn put_up(&self, inputs: &Inputs, wanted: &Setup) -> Result<(), ActionError> {
        let stop = self.context.stop;
        self.stop(inputs.within, stop)?;
        stop.check()?;
        let lacks = if self.services.status(self.name)?.is_some() {
            self.services.change(self.name, wanted, inputs.password())?
        } else {
            self.services.create(self.name, wanted, inputs.password())?
        };
        self.tell_lacks(&lacks);
        if inputs.runs() {
            self.start((inputs.within, inputs.settle), stop)?;
        }
        Ok(())
    }

    /// The setup is as it should be: it is started or stopped where that is wanted, and otherwise left alone.
    fn keep(&self, inputs: &Inputs, wanted: &Setup) -> Result<(), ActionError> {
        if inputs.password().is_some() {
            // Nobody can tell whether it is another one than before.
            let lacks = self.services.change(self.name, wanted, inputs.password())?;
            self.tell_lacks(&lacks);
        }
        let stop = self.context.stop;
        let name = self.name;
        let running = self.is_running()?;
        match (inputs.runs(), running) {
            (false, false) => self
                .context
                .info(format!("{name} is as it should be, and stopped")),
            (false, true) => {
                self.stop(inputs.within, stop)?;
                self.context
                    .info(format!("{name} is stopped, with the setup that it had"));
            }
            (true, true) if inputs.restart == Restart::Changed => self.context.info(format!(
                "{name} runs, and its setup is as it should be: nothing to do"
            )),
            (true, _) => {
                self.stop(inputs.within, stop)?;
                self.start((inputs.within, inputs.settle), stop)?;
                self.context
                    .info(format!("{name} is started, with the setup that it had"));
            }
        }
        Ok(())
    }

    /// Puts back what was there, and says with the error what the service is now.
    fn given_up(&self, error: ActionError, record: &Record) -> ActionError {
        // What was given up must not be given up as well.
        let restored = self.restore(record, &StopToken::new());
        let name = self.name;
        let now = match &restored {
            Ok(()) => self.is_now(record),
            Err(why) => format!(
                "and what it was before could not be put back: {why}; look with 'sc qc {name}' and 'sc query {name}'"
            ),
        };
        let forgotten = restored.and_then(|()| self.store.forget());
        match (error, forgotten) {
            (ActionError::Stopped, _) => {
                self.context.warning(now);
                ActionError::Stopped
            }
            (error, Ok(())) => ActionError::failed(format!("{error}; {now}")),
            (error, Err(why)) => ActionError::failed(format!("{error}; {now} ({why})")),
        }
    }

    /// What it is once it was put back.
    pub(super) fn is_now(&self, record: &Record) -> String {
        let name = self.name;
        match (&record.before, record.running) {
            (None, _) => format!("there was no service {name} before, and there is none now"),
            (Some(_), true) => format!("{name} is set up as before again, and runs"),
            (Some(_), false) => {
                format!("{name} is set up as before again, and is stopped as it was")
            }
        }
    }

    /// Makes it again what it was before.
    pub(super) fn restore(&self, record: &Record, stop: &StopToken) -> Result<(), ActionError> {
        self.stop(RESTORE_TIMEOUT, stop)?;
        let there = self.services.setup(self.name)?;
        let Some(before) = &record.before else {
            if there.is_some() {
                self.services.delete(self.name)?;
            }
            return Ok(());
        };
        let Some(there) = there else {
            // Somebody removed it meanwhile.
            self.services.create(self.name, before, None)?;
            return self.run_again(record, stop);
        };
        let mut setup = before.clone();
        if needs_password(&before.account) && !same_account(&before.account, &there.account) {
            self.context.warning(format!(
                "the password of {}, as which {} ran before, is known to Windows alone, which has forgotten it; it stays with {}",
                before.account, self.name, there.account
            ));
            setup.account.clone_from(&there.account);
        }
        self.services.change(self.name, &setup, None)?;
        self.run_again(record, stop)
    }

    fn run_again(&self, record: &Record, stop: &StopToken) -> Result<(), ActionError> {
        if record.running {
            self.start((RESTORE_TIMEOUT, super::two_seconds()), stop)?;
        }
        Ok(())
    }

    fn start(&self, times: (Duration, Duration), stop: &StopToken) -> Result<(), ActionError> {
        wait::start(self.services, self.name, times, &|time| stop.sleep(time))
    }

    fn stop(&self, within: Duration, stop: &StopToken) -> Result<(), ActionError> {
        wait::stop(self.services, self.name, within, &|time| stop.sleep(time))
    }

    fn tell_lacks(&self, lacks: &Lacks) {
        for lack in lacks {
            self.context.warning(format!(
                "this Windows has not implemented {lack}: that is left out"
            ));
        }
    }

    /// What is kept of it.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }
}
