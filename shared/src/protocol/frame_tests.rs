//! What the frame decoder must do with any bytes in any portions.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        kind,
        flags: 0,
        length: u32::try_from(payload.len()).unwrap(),
    };
    [header.encode().as_slice(), payload].concat()
}

#[test]
fn the_header_has_fixed_bytes() {
    let header = Header {
        kind: 0x0102,
        flags: 0,
        length: 0x0304_0506,
    };
    assert_eq!(header.encode(), [1, 1, 2, 0, 3, 4, 5, 6]);
}

#[test]
fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
    let mut decoder = FrameDecoder::new(16);
    decoder.ingest(&[1, 0, 1, 0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(
        decoder.next_frame(),
        Err(FrameError::TooLong {
            length: u32::MAX,
            limit: 16
        })
    );
}

#[test]
fn another_layout_is_refused() {
    let mut decoder = FrameDecoder::new(16);
    decoder.ingest(&[9, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(decoder.next_frame(), Err(FrameError::Version { found: 9 }));
}

#[test]
fn an_end_inside_a_frame_is_an_error_and_between_frames_is_not() {
    let mut decoder = FrameDecoder::new(16);
    let bytes = frame(7, b"abc");
    decoder.ingest(&bytes[..9]);
    assert_eq!(decoder.next_frame(), Ok(None));
    assert_eq!(decoder.finish(), Err(FrameError::Truncated { missing: 2 }));
    decoder.ingest(&bytes[9..]);
    assert_eq!(decoder.next_frame().unwrap().unwrap().payload, b"abc");
    assert_eq!(decoder.finish(), Ok(()));
}

proptest! {
    #[test]
    fn frames_come_back_whole_however_the_bytes_are_cut(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..8),
        cuts in proptest::collection::vec(1_usize..40, 1..64),
    ) {
        let bytes: Vec<u8> = payloads.iter().enumerate()
            .flat_map(|(i, p)| frame(u16::try_from(i).unwrap(), p)).collect();
        let mut decoder = FrameDecoder::new(64);
        let mut found = Vec::new();
        let (mut rest, mut cut) = (bytes.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*cut.next().unwrap()).min(rest.len()));
            decoder.ingest(now);
            while let Some(frame) = decoder.next_frame().unwrap() {
                found.push(frame.payload);
            }
            rest = later;
        }
        prop_assert_eq!(found, payloads);
        prop_assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn any_bytes_end_in_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let mut decoder = FrameDecoder::new(64);
        decoder.ingest(&bytes);
        let mut frames = 0;
        while let Ok(Some(_)) = decoder.next_frame() {
            frames += 1;
        }
        prop_assert!(frames <= 64);
        let _ = decoder.finish();
    }
}
