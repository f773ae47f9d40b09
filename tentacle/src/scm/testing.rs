//! A service control manager in memory, for tests: it refuses what the real one refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{LOCAL_SYSTEM, Lacks, ScmError, Services, Setup, Start, State, Status};

/// A service as plain as can be.
pub(crate) fn setup(program: &str) -> Setup {
    Setup {
        display_name: "shop".to_owned(),
        description: String::new(),
        program: program.to_owned(),
        arguments: Vec::new(),
        start: Start::Auto,
        account: LOCAL_SYSTEM.to_owned(),
        dependencies: Vec::new(),
        recovery: None,
    }
}

/// One service of it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) setup: Setup,
    pub(crate) state: State,
    pub(crate) own_error: Option<u32>,
    pub(crate) password: Option<String>,
}

/// The services; what was done with them stands in `done`.
#[derive(Debug, Default)]
pub(crate) struct InMemory {
    pub(crate) services: RefCell<BTreeMap<String, Known>>,
    pub(crate) done: RefCell<Vec<String>>,
    /// A service whose program has this in its path ends as soon as it was started.
    pub(crate) broken: Option<&'static str>,
    /// It answers a start when that has come to an end, as Wine does.
    pub(crate) waits_for_starts: bool,
    /// Called with what is about to be done; gives the number of an error.
    pub(crate) refuse: RefCell<BTreeMap<&'static str, i32>>,
}

impl InMemory {
    pub(crate) fn get(&self, name: &str) -> Option<Known> {
        self.services.borrow().get(name).cloned()
    }

    pub(crate) fn take_done(&self) -> Vec<String> {
        self.done.take()
    }

    fn do_it(&self, doing: &'static str, name: &str) -> Result<(), ScmError> {
        if let Some(code) = self.refuse.borrow_mut().remove(doing) {
            let error = std::io::Error::from_raw_os_error(code);
            return Err(ScmError::refused(doing, name, &error));
        }
        self.done.borrow_mut().push(doing.to_owned());
        Ok(())
    }

    fn with<T>(&self, name: &str, work: impl FnOnce(&mut Known) -> T) -> Result<T, ScmError> {
        let mut services = self.services.borrow_mut();
        let known = services.get_mut(name).ok_or_else(|| ScmError::None {
            name: name.to_owned(),
        })?;
        Ok(work(known))
    }
}

impl Services for InMemory {
    fn setup(&self, name: &str) -> Result<Option<Setup>, ScmError> {
        Ok(self.get(name).map(|known| known.setup))
    }

    fn status(&self, name: &str) -> Result<Option<Status>, ScmError> {
        Ok(self.get(name).map(|known| Status {
            state: known.state,
            pid: (known.state == State::Running).then_some(7),
            error: 0,
            own_error: known.own_error,
        }))
    }

    fn create(&self, name: &str, setup: &Setup, password: Option<&str>) -> Result<Lacks, ScmError> {
        self.do_it("make", name)?;
        let known = Known {
            setup: setup.clone(),
            state: State::Stopped,
            own_error: None,
            password: password.map(str::to_owned),
        };
        let before = self.services.borrow_mut().insert(name.to_owned(), known);
        assert!(before.is_none(), "{name} is there already");
        Ok(Vec::new())
    }

    fn change(&self, name: &str, setup: &Setup, password: Option<&str>) -> Result<Lacks, ScmError> {
        self.do_it("change", name)?;
        self.with(name, |known| {
            known.setup = setup.clone();
            if let Some(password) = password {
                known.password = Some(password.to_owned());
            }
        })?;
        Ok(Vec::new())
    }

    fn delete(&self, name: &str) -> Result<(), ScmError> {
        self.do_it("remove", name)?;
        let known = self.services.borrow_mut().remove(name);
        assert_eq!(known.expect("it is there").state, State::Stopped);
        Ok(())
    }

    fn start(&self, name: &str) -> Result<(), ScmError> {
        self.do_it("start", name)?;
        let broken = self.broken;
        let fails = self.with(name, |known| {
            let fails = broken.is_some_and(|part| known.setup.program.contains(part));
            known.own_error = fails.then_some(42);
            known.state = if fails {
                State::Stopped
            } else {
                State::Running
            };
            fails
        })?;
        if fails && self.waits_for_starts {
            let error = std::io::Error::from_raw_os_error(1053);
            return Err(ScmError::refused("start", name, &error));
        }
        Ok(())
    }

    fn stop(&self, name: &str) -> Result<(), ScmError> {
        self.do_it("stop", name)?;
        self.with(name, |known| known.state = State::Stopped)
    }
}
