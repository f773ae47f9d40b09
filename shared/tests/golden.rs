//! Golden bytes: every message of the protocol, with every variant of every enum inside it, as it
//! was first released.
//!
//! A file in `golden/` is one frame in hex. It must decode to the value that stands here, and that
//! value must encode to the same bytes, for ever. A message or a variant without a file fails. To
//! add files for what is new, run once with `MANTLE_GOLDEN=write`; a file that exists is never
//! written again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;

use std::collections::BTreeSet;
use std::path::PathBuf;

use mantle_shared::protocol::{
    CodecError, Echo, Frame, FrameDecoder, FrameError, MAX_PAYLOAD_BYTES, Message, Unsupported,
};

use cases::{Case, DATA_VARIANTS, cases, data_variants};

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
        let mut bytes = golden(&case);
        if mantle_shared::fault::sabotaged("golden-byte-flipped") {
            *bytes.last_mut().unwrap() ^= 1;
        }
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
