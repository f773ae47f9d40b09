//! Golden bytes: every message of the protocol, with every variant of every enum inside it, as it
//! was first released.
//!
//! A file in `golden/` is one frame in hex. It must decode to the value that stands here, and that
//! value must encode to the same bytes, for ever. A message or a variant without a file fails. To
//! add files for what is new, run once with `MANTLE_GOLDEN=write`; a file that exists is never
//! written again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use mantle_shared::protocol::{
    Ack, Acquire, AcquireAnswer, AcquireFailure, AcquireProgress, AcquireResult, AttemptEnd,
    AttemptEnded, AttemptPosition, AttemptReport, CancelAnswer, CancelAttempt, CancelResult,
    CodecError, Echo, EchoAnswer, Encoding, EnrolAccepted, EnrolRefusal, EnrolRefused,
    EnrolRequest, FetchObjects, Frame, FrameDecoder, FrameError, GoAway, HEADER_BYTES, Hello,
    Level, MAX_PAYLOAD_BYTES, Message, ObjectFollows, ObjectRefusal, ObjectRefused, ObjectRequest,
    Outcome, PackageGrant, Record, RecordBody, Records, ReportedState, Resync, Resynced,
    StartAnswer, StartAttempt, StartRefusal, StartResult, Stream, Unsupported, Welcome,
};
use mantle_shared::uuid::Uuid;
use mantle_shared::{AgentId, AttemptId, Digest, TaskId};

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
struct Case {
    name: String,
    message: Message,
}

fn case(name: &str, message: impl Into<Message>) -> Case {
    Case {
        name: name.to_owned(),
        message: message.into(),
    }
}

fn cases() -> Vec<Case> {
    let mut cases = session_cases();
    cases.extend(start_cases());
    cases.extend(cancel_cases());
    cases.extend(acquire_cases());
    cases.extend(record_cases());
    cases.extend(bulk_cases());
    cases.extend(enrol_cases());
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
fn data_variants(message: &Message) -> Vec<&'static str> {
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
            })
            .collect(),
        Message::Hello(_)
        | Message::Welcome(_)
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
        | Message::FetchObjects(_)
        | Message::ObjectFollows(_)
        | Message::ObjectRefused(_)
        | Message::EnrolRequest(_)
        | Message::EnrolAccepted(_)
        | Message::EnrolRefused(_) => Vec::new(),
    }
}

/// Every name that [`data_variants`] can give; the test below compares.
const DATA_VARIANTS: &[&str] = &[
    "AcquireResult::Acquired",
    "AcquireResult::Failed",
    "CancelResult::Cancelling",
    "CancelResult::Ended",
    "CancelResult::Failed",
    "CancelResult::Fenced",
    "CancelResult::Voided",
    "RecordBody::Gap",
    "RecordBody::Line",
    "RecordBody::Progress",
    "RecordBody::Variable",
    "ReportedState::Accepted",
    "ReportedState::Ended",
    "ReportedState::Running",
    "StartResult::Accepted",
    "StartResult::Ended",
    "StartResult::Refused",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn file_name(case: &Case) -> String {
    if case.name.is_empty() {
        format!("{}.hex", case.message.name())
    } else {
        format!("{}-{}.hex", case.message.name(), case.name)
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        text.push_str(&hex::encode(line));
        text.push('\n');
    }
    text
}

fn golden(case: &Case) -> Vec<u8> {
    let path = folder().join(file_name(case));
    if !path.exists() && std::env::var_os("MANTLE_GOLDEN").is_some_and(|v| v == "write") {
        std::fs::write(&path, to_hex(&case.message.to_frame().unwrap())).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| {
        panic!(
            "{} has no golden bytes; run once with MANTLE_GOLDEN=write and commit the file",
            file_name(case)
        )
    });
    hex::decode(text.replace('\n', "")).expect("a golden file is hex")
}

/// Takes the one frame out of these bytes, as a stream's reader does.
fn one_frame(bytes: &[u8]) -> Frame {
    let mut decoder = FrameDecoder::new(MAX_PAYLOAD_BYTES);
    decoder.ingest(bytes);
    let frame = decoder.next_frame().unwrap().expect("a whole frame");
    decoder.finish().expect("nothing follows");
    frame
}

#[test]
fn s86_golden_bytes_of_every_message_decode() {
    for case in cases() {
        let bytes = golden(&case);
        let decoded = Message::decode(&one_frame(&bytes))
            .unwrap_or_else(|error| panic!("{}: {error}", file_name(&case)));
        assert_eq!(decoded, case.message, "{}", file_name(&case));
        assert_eq!(
            to_hex(&case.message.to_frame().unwrap()),
            to_hex(&bytes),
            "{} is not encoded as it was released",
            file_name(&case)
        );
    }
}

#[test]
fn s86_every_message_and_every_variant_has_golden_bytes() {
    let cases = cases();
    let messages: BTreeSet<&str> = cases.iter().map(|case| case.message.name()).collect();
    let all: BTreeSet<&str> = Message::ALL.iter().map(|(_, name)| *name).collect();
    assert_eq!(messages, all, "a message of the list has no case");
    let variants: BTreeSet<&str> = cases
        .iter()
        .flat_map(|case| data_variants(&case.message))
        .collect();
    let expected: BTreeSet<&str> = DATA_VARIANTS.iter().copied().collect();
    assert_eq!(variants, expected, "a variant has no case");
}

#[test]
fn s86_no_golden_file_was_left_behind_or_renamed() {
    let expected: BTreeSet<String> = cases().iter().map(file_name).collect();
    assert_eq!(expected.len(), cases().len(), "two cases share a file");
    let found: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected, "golden files must decode for ever");
}

#[test]
fn s86_the_numbers_of_messages_are_fixed_and_unique() {
    let numbers: BTreeSet<u16> = Message::ALL.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers.len(), Message::ALL.len());
    for case in cases() {
        assert_eq!(one_frame(&golden(&case)).kind, case.message.kind());
    }
}

#[test]
fn s21_unknown_message_type_is_named_and_the_stream_goes_on() {
    let newer = Frame {
        kind: 0x7abc,
        payload: b"fields of a newer version".to_vec(),
    };
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&[1, 0x7a, 0xbc, 0x80]);
    bytes.extend_from_slice(&u32::try_from(newer.payload.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&newer.payload);
    let echo = Message::from(Echo {
        request: 1,
        payload: Vec::new(),
    });
    bytes.extend_from_slice(&echo.to_frame().unwrap());

    let mut decoder = FrameDecoder::new(MAX_PAYLOAD_BYTES);
    decoder.ingest(&bytes);
    let first = decoder.next_frame().unwrap().unwrap();
    assert_eq!(first, newer);
    let kind = match Message::decode(&first) {
        Err(CodecError::UnknownType { kind }) => kind,
        other => panic!("an unknown type is not {other:?}"),
    };
    // What the receiver answers names the type, and decodes at the other end.
    let answer = Message::from(Unsupported { kind });
    assert_eq!(
        Message::decode(&one_frame(&answer.to_frame().unwrap())).unwrap(),
        Message::from(Unsupported { kind: 0x7abc })
    );
    // The next frame of the same stream is read as if nothing had been.
    let second = decoder.next_frame().unwrap().unwrap();
    assert_eq!(Message::decode(&second).unwrap(), echo);
}

#[test]
fn s21_every_number_outside_the_list_is_unknown() {
    let known: BTreeSet<u16> = Message::ALL.iter().map(|(number, _)| *number).collect();
    for kind in 0..=u16::MAX {
        if known.contains(&kind) {
            continue;
        }
        let frame = Frame {
            kind,
            payload: Vec::new(),
        };
        assert!(
            matches!(Message::decode(&frame), Err(CodecError::UnknownType { kind: k }) if k == kind)
        );
    }
}

#[test]
fn s22_trailing_bytes_are_an_error_of_that_message() {
    for case in cases() {
        let mut frame = one_frame(&golden(&case));
        frame.payload.push(0);
        assert!(
            matches!(
                Message::decode(&frame),
                Err(CodecError::TrailingBytes { extra: 1, .. })
            ),
            "{}",
            file_name(&case)
        );
    }
}

#[test]
fn s22_a_message_cut_at_any_length_is_an_error_and_never_a_panic() {
    for case in cases() {
        let bytes = golden(&case);
        for length in 0..bytes.len() {
            let mut decoder = FrameDecoder::new(MAX_PAYLOAD_BYTES);
            decoder.ingest(&bytes[..length]);
            assert_eq!(
                decoder.next_frame(),
                Ok(None),
                "{length} bytes are no frame"
            );
            if length > 0 {
                assert!(matches!(
                    decoder.finish(),
                    Err(FrameError::Truncated { .. })
                ));
            }
        }
        let frame = one_frame(&bytes);
        for length in 0..frame.payload.len() {
            let cut = Frame {
                kind: frame.kind,
                payload: frame.payload[..length].to_vec(),
            };
            assert!(
                Message::decode(&cut).is_err(),
                "{} cut to {length} bytes was read",
                file_name(&case)
            );
        }
    }
}

#[test]
fn s22_a_flipped_byte_is_read_or_refused_but_never_panics() {
    for case in cases() {
        let frame = one_frame(&golden(&case));
        for at in 0..frame.payload.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut payload = frame.payload.clone();
                payload[at] ^= flip;
                let flipped = Frame {
                    kind: frame.kind,
                    payload,
                };
                if let Ok(message) = Message::decode(&flipped) {
                    // What was read can be written again.
                    message.to_frame().unwrap();
                }
            }
        }
    }
}

/// A length of 2^40 as the codec writes it: a mark for 64 bits, then the number, little-endian.
fn lying_length() -> Vec<u8> {
    [&[0xfd_u8][..], &(1_u64 << 40).to_le_bytes()[..]].concat()
}

#[test]
fn s22_a_lying_length_is_refused_without_reserving_it() {
    let before = reserved_bytes();
    // Where the length of the first list, text or byte string stands in each message's payload.
    let prefixes: [(u16, Vec<u8>); 5] = [
        // Echo: request, then the length of the payload.
        (0x0018, vec![1]),
        // GoAway: retry_after_ms, then the length of the reason.
        (0x0005, vec![1]),
        // Resync: the length of the list comes first.
        (0x0003, Vec::new()),
        // Records: the attempt (16 bytes with their length), first_seq, then the list's length.
        (0x0020, [&[16_u8][..], &[0xaa; 16], &[0]].concat()),
        // Ack: the length of the list comes first.
        (0x0017, Vec::new()),
    ];
    for (kind, prefix) in prefixes {
        let payload = [prefix, lying_length(), vec![0; 64]].concat();
        let error = Message::decode(&Frame { kind, payload }).unwrap_err();
        assert!(
            matches!(error, CodecError::Decode { kind: k, .. } if k == kind),
            "{kind:#06x}: {error:?}"
        );
    }
    let grown = reserved_bytes().saturating_sub(before);
    // Far below the terabyte that was claimed, far above what other threads' stacks take.
    assert!(grown < 8 << 30, "{grown} bytes were reserved");
}

#[test]
fn s22_a_frame_header_that_lies_is_refused_from_its_first_eight_bytes() {
    let mut decoder = FrameDecoder::new(MAX_PAYLOAD_BYTES);
    decoder.ingest(&[1, 0, 0x18, 0, 0xff, 0xff, 0xff, 0xf0]);
    assert!(matches!(
        decoder.next_frame(),
        Err(FrameError::TooLong { .. })
    ));
    let mut decoder = FrameDecoder::new(MAX_PAYLOAD_BYTES);
    decoder.ingest(b"GET / HTTP/1.1\r\n");
    assert!(matches!(
        decoder.next_frame(),
        Err(FrameError::Version { found: b'G' })
    ));
    assert!(HEADER_BYTES <= 8);
}

/// The address space that this process ever reserved; 0 where it cannot be told.
fn reserved_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmPeak:"))
        .and_then(|rest| {
            rest.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map_or(0, |kib| kib * 1024)
}
