//! Pairs the tags of blocks. One pass over the text finds, for each opening tag, where its next part
//! (`elseif`, `else` or the end) stands; everything else is read again when it is evaluated.
//!
//! Eight bytes are kept for each part of a block and nothing for other tags: that is what bounds the memory
//! of a huge template.

use crate::ast::{BlockKind, Tag};
use crate::lexer::{self, Hit};
use crate::parser::{self, Syntax};

/// Blocks within blocks that are evaluated; deeper ones stay text. Evaluation recurses once a level.
const MAX_BLOCKS: usize = 48;
/// Complaints kept; the rest is only counted.
const MAX_ERRORS: usize = 200;

/// A part of a block and where the next part is (0: the block is not closed, so this tag is text).
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: u32,
    next: u32,
}

/// A text and the structure of its blocks.
#[derive(Debug, Clone)]
pub(crate) struct Parsed<'t> {
    pub(crate) source: &'t str,
    marks: Vec<Mark>,
    pub(crate) errors: Vec<Broken>,
    pub(crate) more_errors: usize,
}

/// A piece of the text that is not a tag although it starts as one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broken {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) reason: &'static str,
}

impl<'t> Parsed<'t> {
    /// Reads the structure of `source`; never fails, what cannot be read is listed in `errors`.
    pub(crate) fn new(source: &'t str) -> Self {
        let parsed = Self {
            source,
            marks: Vec::new(),
            errors: Vec::new(),
            more_errors: 0,
        };
        Scan {
            parsed,
            open: Vec::new(),
            dead: 0,
        }
        .run()
    }

    /// Where the part after the one at `at` stands, if that one belongs to a closed block.
    pub(crate) fn next_part(&self, at: usize) -> Option<usize> {
        let at = u32::try_from(at).ok()?;
        let found = self.marks.binary_search_by_key(&at, |mark| mark.at).ok()?;
        let next = self.marks.get(found)?.next;
        (next != 0).then_some(next as usize)
    }
}

/// Where the block that opens at the very start of `text` ends, if it does.
pub(crate) fn block_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut pos = 0;
    while let Some(hit) = lexer::next(text, pos..text.len()) {
        pos = match hit {
            Hit::Escape { resume, .. } => resume,
            Hit::Tag { at, .. } => {
                let (tag, end) = parser::parse_inner_tag(text, at).ok()?;
                match tag {
                    Tag::If(_) | Tag::Unless(_) | Tag::Each { .. } => depth += 1,
                    Tag::End(_) if depth <= 1 => return Some(end),
                    Tag::End(_) => depth -= 1,
                    Tag::Substitution(_) | Tag::Calc(_) | Tag::ElseIf(_) | Tag::Else => {}
                }
                end
            }
        };
    }
    None
}

struct Open {
    kind: BlockKind,
    start: usize,
    end: usize,
    head: usize,
    last: usize,
    has_else: bool,
}

struct Scan<'t> {
    parsed: Parsed<'t>,
    open: Vec<Open>,
    /// Blocks beyond `MAX_BLOCKS` that still wait for an end.
    dead: usize,
}

impl<'t> Scan<'t> {
    fn run(mut self) -> Parsed<'t> {
        let source = self.parsed.source;
        if u32::try_from(source.len()).is_err() {
            self.error(0, 0, "the text is larger than 4 GiB");
            return self.parsed;
        }
        let mut pos = 0;
        while let Some(hit) = lexer::next(source, pos..source.len()) {
            pos = match hit {
                Hit::Escape { resume, .. } => resume,
                Hit::Tag { at, .. } => match parser::parse_tag(source, at) {
                    Ok((tag, end)) => {
                        self.tag(&tag, at, end);
                        end
                    }
                    Err(error) => {
                        let Syntax { at: place, reason } = error;
                        self.error(at, place, reason);
                        error.resume(at)
                    }
                },
            };
        }
        while let Some(open) = self.open.pop() {
            self.unclosed(&open);
        }
        self.parsed
    }

    fn tag(&mut self, tag: &Tag<'_>, start: usize, end: usize) {
        match tag {
            Tag::Substitution(_) | Tag::Calc(_) => {}
            Tag::If(_) => self.opens(BlockKind::If, start, end),
            Tag::Unless(_) => self.opens(BlockKind::Unless, start, end),
            Tag::Each { .. } => self.opens(BlockKind::Each, start, end),
            Tag::ElseIf(_) => {
                if !self.part(start, false) {
                    self.error(start, end, "'elseif' without an 'if' before it");
                }
            }
            // Elsewhere it is a variable of that name.
            Tag::Else => {
                self.part(start, true);
            }
            Tag::End(kind) => self.closes(*kind, start, end),
        }
    }

    fn opens(&mut self, kind: BlockKind, start: usize, end: usize) {
        if self.open.len() == MAX_BLOCKS {
            self.dead += 1;
            self.error(start, end, "blocks are nested too deeply");
            return;
        }
        let head = self.mark(start);
        self.open.push(Open {
            kind,
            start,
            end,
            head,
            last: head,
            has_else: false,
        });
    }

    fn mark(&mut self, at: usize) -> usize {
        self.parsed.marks.push(Mark {
            at: u32::try_from(at).unwrap_or(u32::MAX),
            next: 0,
        });
        self.parsed.marks.len() - 1
    }

    fn link(&mut self, mark: usize, next: usize) {
        if let Some(mark) = self.parsed.marks.get_mut(mark) {
            mark.next = u32::try_from(next).unwrap_or(0);
        }
    }

    fn part(&mut self, start: usize, is_else: bool) -> bool {
        let belongs = |open: &Open| open.kind != BlockKind::Each && !open.has_else;
        if self.dead > 0 || !self.open.last().is_some_and(belongs) {
            return false;
        }
        let mark = self.mark(start);
        if let Some(open) = self.open.last_mut() {
            let last = std::mem::replace(&mut open.last, mark);
            open.has_else = is_else;
            self.link(last, start);
        }
        true
    }

    fn closes(&mut self, kind: BlockKind, start: usize, end: usize) {
        if self.dead > 0 {
            self.dead -= 1;
            return;
        }
        let Some(matching) = self.open.iter().rposition(|open| open.kind == kind) else {
            self.error(start, end, "an end tag without its beginning");
            return;
        };
        while self.open.len() > matching + 1 {
            if let Some(open) = self.open.pop() {
                self.unclosed(&open);
            }
        }
        if let Some(open) = self.open.pop() {
            self.link(open.last, start);
        }
    }

    fn unclosed(&mut self, open: &Open) {
        self.link(open.head, 0);
        let reason = match open.kind {
            BlockKind::If => "'#{if}' without '#{/if}'",
            BlockKind::Unless => "'#{unless}' without '#{/unless}'",
            BlockKind::Each => "'#{each}' without '#{/each}'",
        };
        self.error(open.start, open.end, reason);
    }

    fn error(&mut self, start: usize, end: usize, reason: &'static str) {
        if self.parsed.errors.len() < MAX_ERRORS {
            self.parsed.errors.push(Broken { start, end, reason });
        } else {
            self.parsed.more_errors += 1;
        }
    }
}
