//! What each fuzz target does with its bytes. The ordinary tests replay the corpora through the
//! same functions on a stable compiler.
//!
//! A target ends by itself for all bytes, in little memory, and asserts what must hold of what it
//! read. Files in `corpus/<target>/` are its seeds and every input that once broke it.

use mantle::packages::ingest;
use mantle_domain::file::{self, Known, Source};
use mantle_shared::manifest::Tree;
use mantle_shared::protocol::{Frame, FrameDecoder, HEADER_BYTES, MAX_PAYLOAD_BYTES, Message};
use mantle_template::{Limits, Options, Template, Variables};

/// A target: any bytes are a legal input.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("archive", archive),
    ("frame_decoder", frame_decoder),
    ("manifest", manifest),
    ("message", message),
    ("template", template),
    ("yaml", yaml),
];

/// The first byte says what the rest is said to be: an archive, taken apart or refused, within the
/// limits that the extractor sets itself for this.
pub fn archive(bytes: &[u8]) {
    if let Ok(summary) = ingest::fuzz_entry(bytes) {
        assert!(summary.files <= 1000, "{} files", summary.files);
        assert!(
            summary.size_bytes <= 4 << 20,
            "{} bytes",
            summary.size_bytes
        );
        assert_eq!(summary.archive_bytes + 1, bytes.len() as u64);
    }
}

/// The first byte says in which portions the rest arrives; the frames are the same for any.
pub fn frame_decoder(bytes: &[u8]) {
    let Some((&portion, stream)) = bytes.split_first() else {
        return;
    };
    let limit = 64 * 1024;
    let at_once = frames(stream, stream.len(), limit);
    let in_portions = frames(stream, usize::from(portion) + 1, limit);
    assert_eq!(at_once, in_portions, "frames depend on how they arrive");
    let total: usize = at_once
        .0
        .iter()
        .map(|f| f.payload.len() + HEADER_BYTES)
        .sum();
    assert!(total <= stream.len(), "more came out than went in");
}

fn frames(stream: &[u8], portion: usize, limit: usize) -> (Vec<Frame>, bool) {
    let mut decoder = FrameDecoder::new(limit);
    let mut found = Vec::new();
    for part in stream.chunks(portion.max(1)) {
        decoder.ingest(part);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(_) => return (found, false),
            }
        }
    }
    let whole = decoder.finish().is_ok();
    (found, whole)
}

/// The first two bytes are the message's type, the rest its payload.
pub fn message(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let frame = Frame {
        kind: u16::from_be_bytes(*kind),
        payload: payload.to_vec(),
    };
    let Ok(message) = Message::decode(&frame) else {
        return;
    };
    // Numbers have several encodings on the wire, but what was read has one that we write.
    let written = message.to_frame().expect("what was read can be written");
    let mut decoder = FrameDecoder::new(MAX_PAYLOAD_BYTES);
    decoder.ingest(&written);
    let again = decoder.next_frame().expect("a frame").expect("a whole one");
    assert_eq!(
        Message::decode(&again).expect("what was written can be read"),
        message
    );
}

/// A package's folder: what is read is written as the very same bytes, or one tree would have two
/// digests.
pub fn manifest(bytes: &[u8]) {
    if let Ok(tree) = Tree::decode(bytes) {
        assert_eq!(tree.encode(), bytes, "one tree, one form");
        let _ = (tree.size_bytes(), tree.files(), tree.digest());
    }
}

/// Lines of `Name=value`, a NUL, then the template. Rendering ends within its limits, and what a
/// template says of itself holds.
pub fn template(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (variables, source) = text.split_once('\0').unwrap_or(("", &text));
    let variables: Variables = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let limits = Limits {
        output_bytes: 1 << 20,
        steps: 50_000,
    };
    let options = Options {
        limits,
        ..Options::new(jiff::Timestamp::UNIX_EPOCH)
    };
    let template = Template::parse(source);
    assert_eq!(template.source(), source);
    let _ = (template.problems(), template.references());
    if let Ok(rendered) = template.render(&variables, &options) {
        let most = limits.output_bytes.max(2 * source.len());
        assert!(
            rendered.text.len() <= most,
            "a result of {}",
            rendered.text.len()
        );
        if template.is_literal() {
            assert_eq!(rendered.text, source, "no tag, no change");
        }
        if let Ok(strict) = template.render(&variables, &options.clone().strict()) {
            assert_eq!(strict.text, rendered.text, "strict changes no result");
            assert!(rendered.is_complete(), "strict finds every problem");
        }
    }
}

/// A project or infrastructure file: read, or refused with a place in it.
pub fn yaml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let source = Source {
        name: "fuzz.yaml",
        text: &text,
    };
    if let Err(errors) = file::parse(&[source], &Known::default()) {
        assert!(!errors.is_empty(), "a refusal says why");
        let lines = text.split(['\n', '\r']).count();
        for error in errors {
            assert_eq!(error.file, "fuzz.yaml");
            assert!(error.line >= 1 && error.column >= 1, "{error}");
            assert!(error.line as usize <= lines + 1, "{error} of {lines} lines");
        }
    }
}
