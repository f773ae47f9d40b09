//! Which styles can hold a text.

use granit_parser::ScalarStyle;

/// Where a scalar stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// The value of a block mapping or sequence.
    Block,
    /// Within brackets.
    Flow,
    /// The key of a block mapping.
    Key,
}

/// What a text allows.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Allowed {
    plain_in_block: bool,
    plain_in_flow: bool,
    single: bool,
    block: bool,
    many_lines: bool,
}

/// The style nearest to `wanted` that holds the text. A plain text stays plain whatever it then
/// means: `true` may be meant.
pub(super) fn style(text: &str, wanted: ScalarStyle, context: Context) -> ScalarStyle {
    let allowed = analyse(text);
    let mut style = wanted;
    if context == Context::Key && allowed.many_lines {
        return ScalarStyle::DoubleQuoted;
    }
    if style == ScalarStyle::Plain {
        let plain = match context {
            Context::Block | Context::Key => allowed.plain_in_block,
            Context::Flow => allowed.plain_in_flow,
        };
        if !plain {
            style = ScalarStyle::SingleQuoted;
        }
    }
    if style == ScalarStyle::SingleQuoted && !allowed.single {
        style = ScalarStyle::DoubleQuoted;
    }
    if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
        && !(allowed.block && context == Context::Block)
    {
        style = ScalarStyle::DoubleQuoted;
    }
    style
}

fn analyse(text: &str) -> Allowed {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied();
    let blank = |c: Option<char>| matches!(c, None | Some(' ' | '\t' | '\n'));
    let mut in_block = text.starts_with("---") || text.starts_with("...");
    let mut in_flow = in_block;
    let mut special = false;
    let mut breaks = false;
    let mut space_before_break = false;
    let mut break_before_space = false;
    for (index, c) in chars.iter().copied().enumerate() {
        let after = blank(at(index + 1));
        let before = index == 0 || blank(at(index - 1));
        match c {
            '#' if before => (in_block, in_flow) = (true, true),
            ',' | '[' | ']' | '{' | '}' => (in_block, in_flow) = (in_block || index == 0, true),
            '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' if index == 0 => {
                (in_block, in_flow) = (true, true);
            }
            '-' if index == 0 && after => (in_block, in_flow) = (true, true),
            '?' => (in_block, in_flow) = (in_block || (index == 0 && after), true),
            ':' => (in_block, in_flow) = (in_block || after, true),
            '\n' => {
                breaks = true;
                space_before_break |= index > 0 && at(index - 1) == Some(' ');
            }
            ' ' => break_before_space |= index > 0 && at(index - 1) == Some('\n'),
            '\t'
            | '!'..='~'
            | '\u{a0}'..='\u{2027}'
            | '\u{202a}'..='\u{d7ff}'
            | '\u{e000}'..='\u{fefe}'
            | '\u{ff00}'..='\u{fffd}'
            | '\u{10000}'.. => {}
            // Control characters, other line ends, a mark of byte order.
            _ => special = true,
        }
    }
    let edge = |c: Option<&char>| matches!(c, Some(' ' | '\t' | '\n'));
    let edges = edge(chars.first()) || edge(chars.last());
    let trailing_blank = matches!(chars.last(), Some(' ' | '\t'));
    let plain = !(text.is_empty() || edges || breaks || special);
    Allowed {
        plain_in_block: plain && !in_block,
        plain_in_flow: plain && !in_flow,
        single: !(special || space_before_break || break_before_space),
        block: !(text.is_empty() || special || space_before_break || trailing_blank),
        many_lines: breaks,
    }
}
