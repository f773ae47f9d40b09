//! The value of every case whose golden bytes are kept, by message.

mod artifact;
mod certificate;
mod leave;

use mantle_shared::protocol::{
    Ack, Acquire, AcquireAnswer, AcquireFailure, AcquireProgress, AcquireResult, ArtifactRefusal,
    AttemptEnd, AttemptEnded, AttemptPosition, AttemptReport, CancelAnswer, CancelAttempt,
    CancelResult, Echo, EchoAnswer, Encoding, EnrolAccepted, EnrolRefusal, EnrolRefused,
    EnrolRequest, FetchObjects, GoAway, Hello, Journal, LeaveResult, Level, Message, ObjectFollows,
    ObjectRefusal, ObjectRefused, ObjectRequest, Outcome, OutputHeld, PackageGrant, Record,
    RecordBody, Records, RecordsGone, RenewResult, ReportedState, Resync, Resynced, StartAnswer,
    StartAttempt, StartRefusal, StartResult, Stream, Unsupported, Welcome,
};
use mantle_shared::uuid::Uuid;
use mantle_shared::{AgentId, AttemptId, Digest, JournalId, TaskId};

/// Lists the variants of an enum without data. The match makes a new variant a compile error
/// here, so that it cannot be forgotten.
macro_rules! variants {
    ($fn:ident, $enum:ident: $($variant:ident),+ $(,)?) => {
        fn $fn() -> Vec<(&'static str, $enum)> {
            let _spelt_out = |value: $enum| match value { $($enum::$variant => {}),+ };
            vec![$((stringify!($variant), $enum::$variant)),+]
        }
    };
}

variants!(outcomes, Outcome: Succeeded, Failed, TimedOut, Cancelled, NotStarted, Interrupted, Unknown, Abandoned);
variants!(streams, Stream: Stdout, Stderr, Agent);
variants!(levels, Level: Verbose, Info, Highlight, Warning, Error);
variants!(start_refusals, StartRefusal: NoSpace, Journal, Fenced, StaleServer, Conflict, Draining, Busy, Voided, BadOrder);
variants!(acquire_failures, AcquireFailure: NoSpace, Refused, Corrupt, Network, Disk, Fenced, Platform, Draining);
variants!(encodings, Encoding: Raw, Zstd);
variants!(object_refusals, ObjectRefusal: NotGranted, Missing, Busy);
variants!(artifact_refusals, ArtifactRefusal: Missing, Unreadable);
variants!(enrol_refusals, EnrolRefusal: TokenUnknown, TokenUsed, TokenExpired, TokenRevoked, NameTaken, NotAllowed, BadRequest, Busy);

fn attempt() -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(0x0a0b_0c0d_0e0f_8001_8002_0304_0506_0708))
}

fn task() -> TaskId {
    TaskId::from_uuid(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0042))
}

fn agent() -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0007))
}

fn digest(n: u8) -> Digest {
    Digest::from_bytes([n; 32])
}

fn end(outcome: Outcome, exit_code: Option<i32>) -> AttemptEnd {
    AttemptEnd {
        outcome,
        exit_code,
        message: "exit code 3; see the log".to_owned(),
        records: 70_000,
        log: digest(0x11),
        started_at_us: 1_790_000_000_000_000,
        ended_at_us: 1_790_000_001_500_000,
    }
}

fn report(state: ReportedState) -> AttemptReport {
    AttemptReport {
        attempt: attempt(),
        task: task(),
        epoch: 5,
        state,
        records: 300,
    }
}

fn positions() -> Vec<AttemptPosition> {
    vec![
        AttemptPosition {
            attempt: attempt(),
            known: true,
            next_seq: 251,
            end_stored: false,
        },
        AttemptPosition {
            attempt: attempt(),
            known: false,
            next_seq: 0,
            end_stored: true,
        },
    ]
}

/// A named case: the file is `<message>-<name>.hex`, or `<message>.hex` when the name is empty.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) message: Message,
}

fn case(name: &str, message: impl Into<Message>) -> Case {
    Case {
        name: name.to_owned(),
        message: message.into(),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = session_cases();
    cases.extend(start_cases());
    cases.extend(cancel_cases());
    cases.extend(acquire_cases());
    cases.extend(record_cases());
    cases.extend(bulk_cases());
    cases.extend(enrol_cases());
    cases.extend(certificate::cases());
    cases.extend(leave::cases());
    cases
}

fn session_cases() -> Vec<Case> {
    vec![
        case(
            "",
            Hello {
                protocol_min: 1,
                protocol_max: 3,
                version: "0.1.0".to_owned(),
                os: "linux".to_owned(),
                arch: "x86_64".to_owned(),
                host_name: "web01.example".to_owned(),
                features: vec![
                    "action:script".to_owned(),
                    "action:haproxy.drain".to_owned(),
                ],
                boot_id: "2f5b0a52-6d0c-4b43-8f5e-2a1b5c6d7e8f".to_owned(),
                highest_epoch: 70_000,
                journal: digest(0x22),
            },
        ),
        case(
            "",
            Welcome {
                protocol: 1,
                version: "0.1.0".to_owned(),
                now_us: 1_790_000_000_000_000,
                epoch: 70_001,
            },
        ),
        case(
            "",
            Journal {
                journal: JournalId::from_uuid(Uuid::from_u128(0x33)),
                began_at_us: 1_790_000_000_000_000,
                after_loss: true,
            },
        ),
        case(
            "Accepted",
            Resync {
                reports: vec![report(ReportedState::Accepted)],
                last: false,
            },
        ),
        case(
            "Running",
            Resync {
                reports: vec![report(ReportedState::Running)],
                last: true,
            },
        ),
        case(
            "Ended",
            Resync {
                reports: vec![report(ReportedState::Ended(end(Outcome::Failed, Some(3))))],
                last: true,
            },
        ),
        case(
            "Empty",
            Resync {
                reports: Vec::new(),
                last: true,
            },
        ),
        case(
            "",
            Resynced {
                positions: positions(),
                last: true,
            },
        ),
        case(
            "",
            GoAway {
                retry_after_ms: 2500,
                reason: "the server is being upgraded".to_owned(),
            },
        ),
        case("", Unsupported { kind: 0x0fff }),
        case(
            "",
            Ack {
                positions: positions(),
            },
        ),
        case(
            "",
            Echo {
                request: 9,
                payload: b"ping".to_vec(),
            },
        ),
        case(
            "",
            EchoAnswer {
                request: 9,
                payload: b"ping".to_vec(),
            },
        ),
    ]
}

fn start_cases() -> Vec<Case> {
    let answer = |result| StartAnswer {
        request: 17,
        attempt: attempt(),
        result,
    };
    let mut cases = vec![
        case(
            "",
            StartAttempt {
                request: 17,
                deadline_ms: 30_000,
                epoch: 5,
                task: task(),
                attempt: attempt(),
                order: br#"{"format":1}"#.to_vec(),
            },
        ),
        case("Accepted", answer(StartResult::Accepted)),
    ];
    for (name, outcome) in outcomes() {
        let exit_code = (outcome == Outcome::Succeeded).then_some(0);
        cases.push(case(
            &format!("Ended-{name}"),
            answer(StartResult::Ended(end(outcome, exit_code))),
        ));
    }
    for (name, reason) in start_refusals() {
        let message = "the disk is full: 12 MiB are free".to_owned();
        cases.push(case(
            &format!("Refused-{name}"),
            answer(StartResult::Refused { reason, message }),
        ));
    }
    cases
}

fn cancel_cases() -> Vec<Case> {
    let answer = |result| CancelAnswer {
        request: 18,
        attempt: attempt(),
        result,
    };
    vec![
        case(
            "",
            CancelAttempt {
                request: 18,
                deadline_ms: 5000,
                epoch: 5,
                task: task(),
                attempt: attempt(),
                grace_ms: 10_000,
            },
        ),
        case("Cancelling", answer(CancelResult::Cancelling)),
        case(
            "Ended",
            answer(CancelResult::Ended(end(Outcome::Cancelled, Some(-15)))),
        ),
        case("Voided", answer(CancelResult::Voided)),
        case("Fenced", answer(CancelResult::Fenced)),
        case("Failed", answer(CancelResult::Failed)),
    ]
}

fn acquire_cases() -> Vec<Case> {
    let answer = |result| AcquireAnswer {
        request: 19,
        task: task(),
        result,
    };
    let mut cases = vec![
        case(
            "",
            Acquire {
                request: 19,
                deadline_ms: 600_000,
                epoch: 5,
                task: task(),
                packages: vec![PackageGrant {
                    id: "OctoFX.Web".to_owned(),
                    version: "1.2.0".to_owned(),
                    root: digest(0x33),
                    size_bytes: 5_000_000_000,
                }],
            },
        ),
        case(
            "Acquired",
            answer(AcquireResult::Acquired {
                fetched_bytes: 1234,
                reused_bytes: 5_000_000_000,
            }),
        ),
        case(
            "",
            AcquireProgress {
                request: 19,
                done_bytes: 1024,
                total_bytes: 5_000_000_000,
            },
        ),
    ];
    for (name, reason) in acquire_failures() {
        let message = "the server does not have it".to_owned();
        cases.push(case(
            &format!("Failed-{name}"),
            answer(AcquireResult::Failed { reason, message }),
        ));
    }
    cases
}

fn record_cases() -> Vec<Case> {
    let records = |bodies: Vec<RecordBody>| Records {
        attempt: attempt(),
        first_seq: 70_000,
        records: bodies
            .into_iter()
            .map(|body| Record {
                at_us: 1_790_000_000_000_001,
                body,
            })
            .collect(),
    };
    let line = |stream, level| RecordBody::Line {
        stream,
        level,
        text: "Übergabe an web01 → fertig".to_owned(),
    };
    let mut cases = vec![
        case(
            "Variable",
            records(vec![
                RecordBody::Variable {
                    name: "Port".to_owned(),
                    value: "8080".to_owned(),
                    sensitive: false,
                },
                RecordBody::Variable {
                    name: "Token".to_owned(),
                    value: "c2VhbGVk".to_owned(),
                    sensitive: true,
                },
            ]),
        ),
        case(
            "Progress",
            records(vec![RecordBody::Progress {
                percent: 40,
                message: "unpacking".to_owned(),
            }]),
        ),
        case(
            "Gap",
            records(vec![RecordBody::Gap {
                lines: 12,
                bytes: 1_000_000,
                reason: "the spool was full for 10 min".to_owned(),
            }]),
        ),
        case(
            "Artifact",
            records(vec![RecordBody::Artifact {
                name: "Bericht für web01.xml".to_owned(),
                size_bytes: 1_000_000,
                digest: digest(0x66),
            }]),
        ),
        case(
            "Piece",
            records(vec![RecordBody::Piece {
                stream: Stream::Stdout,
                level: Level::Info,
                text: "the first part of".to_owned(),
            }]),
        ),
        case(
            "Several",
            records(vec![
                line(Stream::Stdout, Level::Info),
                line(Stream::Stderr, Level::Error),
            ]),
        ),
    ];
    for (name, stream) in streams() {
        cases.push(case(
            &format!("Line-{name}"),
            records(vec![line(stream, Level::Info)]),
        ));
    }
    for (name, level) in levels() {
        cases.push(case(
            &format!("Line-{name}"),
            records(vec![line(Stream::Stdout, level)]),
        ));
    }
    let gone = RecordsGone {
        attempt: attempt(),
        first_seq: 70_000,
        next_seq: 90_000,
    };
    let held = OutputHeld {
        attempt: attempt(),
        stall_ms: 600_000,
    };
    cases.push(case("", gone));
    cases.push(case("", held));
    for (name, outcome) in outcomes() {
        cases.push(case(
            name,
            AttemptEnded {
                attempt: attempt(),
                end: end(outcome, None),
            },
        ));
    }
    cases
}

fn bulk_cases() -> Vec<Case> {
    let mut cases = vec![case(
        "",
        FetchObjects {
            task: task(),
            root: digest(0x33),
            objects: vec![
                ObjectRequest {
                    digest: digest(0x44),
                    offset: 0,
                },
                ObjectRequest {
                    digest: digest(0x55),
                    offset: 70_000,
                },
            ],
        },
    )];
    for (name, encoding) in encodings() {
        cases.push(case(
            name,
            ObjectFollows {
                digest: digest(0x44),
                encoding,
                wire_bytes: 300,
                size_bytes: 65_536,
            },
        ));
    }
    for (name, reason) in object_refusals() {
        cases.push(case(
            name,
            ObjectRefused {
                digest: digest(0x44),
                reason,
            },
        ));
    }
    cases.extend(artifact::cases());
    cases
}

fn enrol_cases() -> Vec<Case> {
    let mut cases = vec![
        case(
            "",
            EnrolRequest {
                token_id: [7; 16],
                token_secret: [8; 32],
                signing_request: vec![0x30, 0x82, 0x01, 0x00],
                name: "web01".to_owned(),
                tags: vec!["web".to_owned()],
                environments: vec!["test".to_owned(), "production".to_owned()],
                os: "windows".to_owned(),
                arch: "x86_64".to_owned(),
                version: "0.1.0".to_owned(),
            },
        ),
        case(
            "",
            EnrolAccepted {
                agent: agent(),
                name: "web01".to_owned(),
                certificate: vec![0x30, 0x01],
                authority: vec![0x30, 0x02],
                not_after_us: 1_792_592_000_000_000,
            },
        ),
    ];
    for (name, reason) in enrol_refusals() {
        let message = "ask for a new token: mantle agent token create".to_owned();
        cases.push(case(name, EnrolRefused { reason, message }));
    }
    cases
}

/// The names of the variants with data that a message holds. Spelt out, so that a new variant
/// does not compile until it is named here, and then fails until a case holds it.
pub(crate) fn data_variants(message: &Message) -> Vec<&'static str> {
    match message {
        Message::Resync(resync) => resync
            .reports
            .iter()
            .map(|report| match report.state {
                ReportedState::Accepted => "ReportedState::Accepted",
                ReportedState::Running => "ReportedState::Running",
                ReportedState::Ended(_) => "ReportedState::Ended",
            })
            .collect(),
        Message::StartAnswer(answer) => vec![match answer.result {
            StartResult::Accepted => "StartResult::Accepted",
            StartResult::Ended(_) => "StartResult::Ended",
            StartResult::Refused { .. } => "StartResult::Refused",
        }],
        Message::CancelAnswer(answer) => vec![match answer.result {
            CancelResult::Cancelling => "CancelResult::Cancelling",
            CancelResult::Ended(_) => "CancelResult::Ended",
            CancelResult::Voided => "CancelResult::Voided",
            CancelResult::Fenced => "CancelResult::Fenced",
            CancelResult::Failed => "CancelResult::Failed",
        }],
        Message::AcquireAnswer(answer) => vec![match answer.result {
            AcquireResult::Acquired { .. } => "AcquireResult::Acquired",
            AcquireResult::Failed { .. } => "AcquireResult::Failed",
        }],
        Message::Records(records) => records
            .records
            .iter()
            .map(|record| match record.body {
                RecordBody::Line { .. } => "RecordBody::Line",
                RecordBody::Variable { .. } => "RecordBody::Variable",
                RecordBody::Progress { .. } => "RecordBody::Progress",
                RecordBody::Gap { .. } => "RecordBody::Gap",
                RecordBody::Artifact { .. } => "RecordBody::Artifact",
                RecordBody::Piece { .. } => "RecordBody::Piece",
            })
            .collect(),
        Message::RenewAnswer(answer) => vec![match answer.result {
            RenewResult::Issued { .. } => "RenewResult::Issued",
            RenewResult::Refused { .. } => "RenewResult::Refused",
        }],
        Message::LeaveAnswer(answer) => vec![match answer.result {
            LeaveResult::Left => "LeaveResult::Left",
            LeaveResult::Refused { .. } => "LeaveResult::Refused",
        }],
        Message::Leave(_)
        | Message::Hello(_)
        | Message::Welcome(_)
        | Message::Journal(_)
        | Message::Resynced(_)
        | Message::GoAway(_)
        | Message::Unsupported(_)
        | Message::StartAttempt(_)
        | Message::CancelAttempt(_)
        | Message::Acquire(_)
        | Message::AcquireProgress(_)
        | Message::Ack(_)
        | Message::Echo(_)
        | Message::EchoAnswer(_)
        | Message::AttemptEnded(_)
        | Message::RecordsGone(_)
        | Message::OutputHeld(_)
        | Message::FetchObjects(_)
        | Message::ObjectFollows(_)
        | Message::ObjectRefused(_)
        | Message::FetchArtifact(_)
        | Message::ArtifactFollows(_)
        | Message::ArtifactRefused(_)
        | Message::DropArtifact(_)
        | Message::ArtifactDropped(_)
        | Message::EnrolRequest(_)
        | Message::EnrolAccepted(_)
        | Message::EnrolRefused(_)
        | Message::CertificateDue(_)
        | Message::RenewCertificate(_) => Vec::new(),
    }
}

/// Every name that [`data_variants`] can give; the test below compares.
pub(crate) const DATA_VARIANTS: &[&str] = &[
    "AcquireResult::Acquired",
    "AcquireResult::Failed",
    "CancelResult::Cancelling",
    "CancelResult::Ended",
    "CancelResult::Failed",
    "CancelResult::Fenced",
    "CancelResult::Voided",
    "RecordBody::Artifact",
    "RecordBody::Gap",
    "RecordBody::Line",
    "RecordBody::Piece",
    "RecordBody::Progress",
    "RecordBody::Variable",
    "RenewResult::Issued",
    "RenewResult::Refused",
    "LeaveResult::Left",
    "LeaveResult::Refused",
    "ReportedState::Accepted",
    "ReportedState::Ended",
    "ReportedState::Running",
    "StartResult::Accepted",
    "StartResult::Ended",
    "StartResult::Refused",
];
