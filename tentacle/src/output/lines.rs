//! Cuts a stream of bytes into lines that a record can hold.
//!
//! A line longer than [`LONGEST_RAW_BYTES`] is cut into pieces, each of which says that the line goes on,
//! so that memory stays bounded when a program prints without ever ending a line. Bytes that are not UTF-8 become replacement
//! characters, and so does NUL, which databases refuse in a text.

use mantle_shared::protocol::MAX_RECORD_TEXT_BYTES;

/// How a text that is handed on ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The line ends with it.
    Whole,
    /// The line goes on.
    Cut,
}

/// Where a long line is cut: what fits into a record even with a mark, which older servers get.
pub const LONGEST_RAW_BYTES: usize = MAX_RECORD_TEXT_BYTES - 64;

/// Collects bytes until there is a line.
#[derive(Debug, Default)]
pub struct LineSplitter {
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Takes bytes, hands on each line that they complete.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Ends, String)) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(at);
            self.extend(line, sink);
            self.end_line(sink);
            rest = after.get(1..).unwrap_or_default();
        }
        self.extend(rest, sink);
    }

    /// Whether a line was begun and not ended.
    pub fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }

    /// The stream ended: hands on a line that was not ended.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Ends, String)) {
        if !self.partial.is_empty() {
            self.end_line(sink);
        }
    }

    fn extend(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Ends, String)) {
        let mut rest = bytes;
        while self.partial.len() + rest.len() > LONGEST_RAW_BYTES {
            let (head, tail) = rest.split_at(LONGEST_RAW_BYTES - self.partial.len());
            self.partial.extend_from_slice(head);
            let keep = char_boundary(&self.partial);
            let carried = self.partial.split_off(keep);
            let piece = std::mem::replace(&mut self.partial, carried);
            hand_on(&piece, Ends::Cut, sink);
            rest = tail;
        }
        self.partial.extend_from_slice(rest);
    }

    fn end_line(&mut self, sink: &mut dyn FnMut(Ends, String)) {
        if self.partial.last() == Some(&b'\r') {
            self.partial.pop();
        }
        hand_on(&self.partial, Ends::Whole, sink);
        self.partial.clear();
    }
}

/// The length without a character that is begun at the end.
fn char_boundary(bytes: &[u8]) -> usize {
    let end = bytes.len();
    for back in 1..=3.min(end) {
        let at = end - back;
        match bytes.get(at) {
            Some(byte) if byte & 0b1100_0000 == 0b1000_0000 => {}
            Some(byte) if *byte >= 0b1100_0000 => return at,
            _ => return end,
        }
    }
    end
}

/// Bytes as text; invalid ones may treble in size, so the text is cut once more where needed.
fn hand_on(bytes: &[u8], ends: Ends, sink: &mut dyn FnMut(Ends, String)) {
    let mut text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    };
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}");
    }
    let mut rest = text.as_str();
    while rest.len() > LONGEST_RAW_BYTES {
        let mut at = LONGEST_RAW_BYTES;
        while !rest.is_char_boundary(at) {
            at -= 1;
        }
        let (head, tail) = rest.split_at(at);
        sink(Ends::Cut, head.to_owned());
        rest = tail;
    }
    let last = if rest.len() == text.len() {
        text
    } else {
        rest.to_owned()
    };
    sink(ends, last);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn pieces(chunks: &[&[u8]]) -> Vec<(Ends, String)> {
        let mut found = Vec::new();
        let mut splitter = LineSplitter::default();
        for chunk in chunks {
            splitter.push(chunk, &mut |ends, line| found.push((ends, line)));
        }
        splitter.finish(&mut |ends, line| found.push((ends, line)));
        found
    }

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let pieces = pieces(chunks);
        pieces.into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn lines_end_at_line_feeds_and_lose_a_carriage_return() {
        assert_eq!(
            lines(&[b"one\r\ntwo", b"\n\nthree"]),
            ["one", "two", "", "three"]
        );
    }

    #[test]
    fn s37_a_long_line_is_cut_marked_and_whole() {
        let long = "\u{e4}b".repeat(2_000_000);
        let found = pieces(&long.as_bytes().chunks(65_536).collect::<Vec<_>>());
        assert!(
            found
                .iter()
                .all(|(_, line)| line.len() <= MAX_RECORD_TEXT_BYTES)
        );
        let (last, cut) = found.split_last().unwrap();
        assert!(cut.iter().all(|(ends, _)| *ends == Ends::Cut));
        assert_eq!(last.0, Ends::Whole);
        let whole: String = found.iter().map(|(_, line)| line.as_str()).collect();
        assert!(whole == long);
    }

    #[test]
    fn s37_bytes_that_are_no_text_are_replaced() {
        assert_eq!(lines(&[b"a\xff\0b\n"]), ["a\u{fffd}\u{fffd}b"]);
        let noise = vec![0xff_u8; 100_000];
        assert!(
            lines(&[&noise])
                .iter()
                .all(|line| line.len() <= MAX_RECORD_TEXT_BYTES)
        );
    }
}
