//! Processes on Windows: a job object for each attempt, which the supervisor enters itself, so that
//! every process that it starts is in it from the first moment.
//!
//! The one module of the agent with `unsafe`: the Windows API has no safe form here. What must hold
//! for each call stands beside it.
#![expect(
    unsafe_code,
    reason = "the Windows API is called by hand here, and nowhere else"
)]

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::ptr::null;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    CloseHandle, FILETIME, HANDLE, HANDLE_FLAG_INHERIT, STILL_ACTIVE, SetHandleInformation,
};
use windows_sys::Win32::Storage::FileSystem::GetDiskFreeSpaceExW;
use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent, GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE,
    STD_OUTPUT_HANDLE,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectBasicProcessIdList,
    JobObjectExtendedLimitInformation, QueryInformationJobObject, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, GetCurrentProcess,
    GetExitCodeProcess, GetProcessTimes, OpenProcess, PROCESS_NAME_WIN32,
    PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_TERMINATE, QueryFullProcessImageNameW,
    TerminateProcess,
};

use super::{MARK, ProcessIdentity, Survivor};

/// Between two looks at a tree that is being killed.
const LOOK: Duration = Duration::from_millis(20);
/// The most processes of one job that are seen in one look; a look that is full is repeated.
const MOST_PROCESSES: usize = 1024;
/// What a killed process exits with.
const KILLED: u32 = 137;

/// A handle that is closed when it goes out of scope.
struct Handle(HANDLE);

// SAFETY: kernel handles may be used and closed from any thread.
unsafe impl Send for Handle {}
// SAFETY: the calls made with a shared handle here are safe from several threads at once.
unsafe impl Sync for Handle {}

impl Handle {
    fn open(pid: u32, access: u32) -> Option<Self> {
        // SAFETY: takes plain numbers; a null result is looked for.
        let handle = unsafe { OpenProcess(access, 0, pid) };
        (!handle.is_null()).then_some(Self(handle))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, valid, and closed once.
        unsafe { CloseHandle(self.0) };
    }
}

/// The kernel counts boots in the page that it shares with every process (`KUSER_SHARED_DATA`,
/// field `BootId`), at the same address on every Windows since 2003.
pub(super) fn boot_id() -> String {
    const BOOT_ID: *const u32 = 0x7FFE_02C4 as *const u32;
    // SAFETY: the page is mapped readable into every process, and the field is aligned.
    let count = unsafe { BOOT_ID.read_volatile() };
    format!("boot-{count}")
}

/// The creation time in 100 ns; `None` if there is no such process or it has ended.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    let process = Handle::open(pid, PROCESS_QUERY_LIMITED_INFORMATION)?;
    let mut code = 0_u32;
    // SAFETY: FILETIME is two plain integers.
    let mut times: [FILETIME; 4] = unsafe { zeroed() };
    let [created, exited, kernel, user] = &mut times;
    // SAFETY: the handle is valid and every pointer is to a live, writable value.
    let known = unsafe {
        GetExitCodeProcess(process.0, &raw mut code) != 0
            && GetProcessTimes(process.0, created, exited, kernel, user) != 0
    };
    let active = i64::from(code) == i64::from(STILL_ACTIVE);
    (known && active)
        .then(|| (u64::from(created.dwHighDateTime) << 32) | u64::from(created.dwLowDateTime))
}

/// A console of its own without a window (so that its children can be sent a break), and out of the
/// agent's job, which a service manager may end.
pub(super) fn spawn_detached(
    mut command: tokio::process::Command,
) -> io::Result<tokio::process::Child> {
    let flags = CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP;
    command
        .kill_on_drop(false)
        .creation_flags(flags | CREATE_BREAKAWAY_FROM_JOB);
    match command.spawn() {
        // The agent's job forbids to leave it. Nothing else can be done about that here.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            command.creation_flags(flags).spawn()
        }
        done => done,
    }
}

/// There is no such signal; the supervisor looks at its folder often enough.
pub(super) fn nudge(_pid: u32) {}

/// Ends a supervisor that does not answer, and with it its job.
pub(super) fn kill(pid: u32) {
    if let Some(process) = Handle::open(pid, PROCESS_TERMINATE) {
        // SAFETY: the handle is valid. A process that has ended gives an error.
        unsafe { TerminateProcess(process.0, KILLED) };
    }
}

pub(super) fn own_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("tentacle.exe"))
}

/// How much room there is for this user where `path` is.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let wide = wide(path);
    let mut free = 0_u64;
    // SAFETY: the path ends with a zero, `free` is writable, the other two may be null.
    let known = unsafe {
        GetDiskFreeSpaceExW(
            wide.as_ptr(),
            &raw mut free,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
    (known != 0).then_some(free)
}

fn wide(path: &Path) -> Vec<u16> {
    use std::os::windows::ffi::OsStrExt;
    path.as_os_str().encode_wide().chain([0]).collect()
}

/// All processes of an attempt: what is in its job, except the supervisor.
pub struct Tree {
    own_pid: u32,
    label: String,
    job: Handle,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree")
            .field("own_pid", &self.own_pid)
            .finish_non_exhaustive()
    }
}

/// What `JobObjectBasicProcessIdList` fills in.
#[repr(C)]
struct ProcessList {
    assigned: u32,
    listed: u32,
    ids: [usize; MOST_PROCESSES],
}

impl Tree {
    /// Puts this process into a job of its own. From the first child on it ends with this process: who kills
    /// the supervisor ends the step. [`Tree::release`] takes that back.
    pub fn new(label: &str) -> io::Result<Self> {
        keep_std_handles();
        // SAFETY: both arguments may be null; a null result is looked for.
        let job = unsafe { CreateJobObjectW(null(), null()) };
        if job.is_null() {
            return Err(io::Error::last_os_error());
        }
        let job = Handle(job);
        // SAFETY: the job is valid, and the pseudo handle of this process always is.
        if unsafe { AssignProcessToJobObject(job.0, GetCurrentProcess()) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            own_pid: std::process::id(),
            label: label.to_owned(),
            job,
        })
    }

    /// Prepares a child: a process group of its own, so that a break reaches no other.
    pub fn prepare(&self, command: &mut Command) {
        // Not before: a supervisor that starts nothing would be ended by its own end. It fails for no reason
        // that is known; then what is prepared would outlive a killed supervisor.
        let _ = self.end_with_supervisor(true);
        command
            .creation_flags(CREATE_NEW_PROCESS_GROUP)
            .env(MARK, &self.label);
    }

    /// To be called right after a child was spawned. It is in the job already.
    pub fn adopt(&self, _child: &std::process::Child) {}

    /// Sends a break to a child's process group.
    pub fn ask_to_stop(&self, pid: u32) {
        // SAFETY: takes plain numbers. A group that is gone gives an error, which is as good.
        unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, pid) };
    }

    /// Who is still there.
    pub fn survivors(&self) -> Vec<Survivor> {
        self.pids()
            .into_iter()
            .filter(|pid| *pid != self.own_pid && start_time(*pid).is_some())
            .map(|pid| Survivor {
                pid,
                name: program_name(pid),
            })
            // The console's own helper serves the supervisor and ends with it.
            .filter(|survivor| !survivor.name.eq_ignore_ascii_case("conhost.exe"))
            .collect()
    }

    /// Kills these; gives those that are still there when the time is over.
    pub fn kill(&self, which: &[Survivor], within: Duration) -> Vec<Survivor> {
        self.kill_while(within, |survivor| {
            which.iter().any(|other| other.pid == survivor.pid)
        })
    }

    /// Kills all; gives those that are still there when the time is over.
    pub fn kill_all(&self, within: Duration) -> Vec<Survivor> {
        self.kill_while(within, |_| true)
    }

    /// The end of the attempt: processes that it left on purpose live on.
    pub fn release(&self) {
        // It fails for no reason that is known; then they end.
        let _ = self.end_with_supervisor(false);
    }

    /// Whether the processes of the job are ended when its last handle, which is the supervisor's, is
    /// closed.
    fn end_with_supervisor(&self, end: bool) -> io::Result<()> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        if end {
            limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        }
        let size = u32::try_from(size_of_val(&limits)).unwrap_or(u32::MAX);
        // SAFETY: the job is valid; the structure is of the class that is named, is as large as is said
        // and lives through the call.
        let set = unsafe {
            SetInformationJobObject(
                self.job.0,
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                size,
            )
        };
        if set == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The exit code; Windows' codes keep their bits.
    pub fn exit_code(status: ExitStatus) -> i32 {
        status.code().unwrap_or(-1)
    }

    fn kill_while(&self, within: Duration, wanted: impl Fn(&Survivor) -> bool) -> Vec<Survivor> {
        let begun = Instant::now();
        loop {
            let mut left = self.survivors();
            left.retain(|survivor| wanted(survivor));
            if left.is_empty() || begun.elapsed() >= within {
                return left;
            }
            for survivor in &left {
                if let Some(process) = Handle::open(survivor.pid, PROCESS_TERMINATE) {
                    // SAFETY: the handle is valid. A process that has ended gives an error.
                    unsafe { TerminateProcess(process.0, KILLED) };
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    fn pids(&self) -> Vec<u32> {
        // SAFETY: the structure is plain integers.
        let mut list: Box<ProcessList> = Box::new(unsafe { zeroed() });
        let size = u32::try_from(size_of::<ProcessList>()).unwrap_or(u32::MAX);
        // SAFETY: the job is valid; the buffer is as large as is said and lives through the call. A
        // job with more processes fills what fits, which is killed first.
        unsafe {
            QueryInformationJobObject(
                self.job.0,
                JobObjectBasicProcessIdList,
                (&raw mut *list).cast(),
                size,
                std::ptr::null_mut(),
            );
        }
        list.ids
            .iter()
            .take(list.listed as usize)
            .filter_map(|id| u32::try_from(*id).ok())
            .collect()
    }
}

/// Every child inherits what may be inherited: the agent's wake channel would stay open for as long as
/// any process that a step left running.
fn keep_std_handles() {
    for which in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // SAFETY: takes plain numbers; a handle that is not there gives an error, which is as good.
        unsafe { SetHandleInformation(GetStdHandle(which), HANDLE_FLAG_INHERIT, 0) };
    }
}

fn program_name(pid: u32) -> String {
    let Some(process) = Handle::open(pid, PROCESS_QUERY_LIMITED_INFORMATION) else {
        return String::new();
    };
    let mut buffer = [0_u16; 512];
    let mut length = 512_u32;
    // SAFETY: the handle is valid and the buffer is as long as `length` says.
    let known = unsafe {
        QueryFullProcessImageNameW(
            process.0,
            PROCESS_NAME_WIN32,
            buffer.as_mut_ptr(),
            &raw mut length,
        )
    };
    if known == 0 {
        return String::new();
    }
    let path = String::from_utf16_lossy(buffer.get(..length as usize).unwrap_or_default());
    path.rsplit('\\').next().unwrap_or_default().to_owned()
}

/// The processes of an attempt whose supervisor is dead or hangs: its job ends them with it, so that
/// there are none to look for.
#[derive(Debug, Clone)]
pub struct Orphans;

impl Orphans {
    /// Those that this supervisor started.
    pub fn of(_supervisor: &ProcessIdentity, _label: &str) -> Self {
        Self
    }

    /// Who is still there.
    pub fn survivors(&self) -> Vec<Survivor> {
        Vec::new()
    }

    /// Asks these to end.
    pub fn ask_to_stop(&self, _which: &[Survivor]) {}

    /// Kills these.
    pub fn kill(&self, _which: &[Survivor]) {}
}

/// Tells which processes hold an attempt's output pipes open. Windows does not say, so it is
/// everybody who is left.
#[derive(Debug, Default)]
pub struct Holders;

impl Holders {
    /// Remembers a child's pipes.
    pub fn of(_child: &std::process::Child) -> Self {
        Self
    }

    /// Those of the survivors that may hold a pipe.
    pub fn among(&self, survivors: Vec<Survivor>) -> Vec<Survivor> {
        survivors
    }
}
