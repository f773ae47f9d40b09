//! Input that is huge, deep or built to hurt: an answer within seconds, without exhausting stack or memory.

use std::time::{Duration, Instant};

use super::{lenient, options, variables};
use crate::{Budget, Error, Limits, Variables, closure, references, render};

/// Generous, for a busy machine and a debug build; what it guards against takes hours.
const SOON: Duration = Duration::from_mins(1);

#[track_caller]
fn soon<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    assert!(start.elapsed() < SOON, "{what} took {:?}", start.elapsed());
    result
}

#[test]
fn repeated_fragments_cost_linear_time() {
    for fragment in [
        "#{",
        "#{a",
        "#{a|b ",
        "#{a|b \"",
        "#{a|b \\\"",
        "#{a|b #{x} ",
        "#{a|b #{if x}",
        "#{a[",
        "#{a[#{",
        "#{a[b]",
        "#{if a}",
        "#{if a}#{else}",
        "#{each a in b}",
        "#{each a in b}#{/if}",
        "#{/if}",
        "#{elseif a}",
        "#{calc (",
        "#{calc 1+",
        "#{calc a",
        "#{calc -",
        "#{if a == ",
        "#{if \"",
        "#{a.",
        "#{a | b ",
        "# ",
        "##",
        "##{",
        "###{",
        "}",
        "#{each a ",
        "#{if a}#{a|b #{if x}",
        "#{a|b #{c|d #{e|f ",
    ] {
        let text = fragment.repeat(100_000 / fragment.len());
        soon(fragment, || {
            let rendered = lenient(&[], &text);
            assert!(rendered.text.len() <= text.len(), "{fragment}");
            references(&text);
        });
    }
}

#[test]
fn deep_nesting_is_text_not_a_crash() {
    let nest = |open: &str, middle: &str, close: &str| {
        format!("{}{middle}{}", open.repeat(20_000), close.repeat(20_000))
    };
    for text in [
        nest("#{a[", "b", "]}"),
        nest("#{a[", "#{b}", "]}"),
        nest("#{if a}", "b", "#{/if}"),
        nest("#{each a in b}", "c", "#{/each}"),
        nest("#{a | Append ", "b", "}"),
        format!("#{{calc {}}}", nest("(", "1", ")")),
        format!("#{{calc {}1}}", "-".repeat(20_000)),
        format!("#{{calc 1{}}}", "+1".repeat(20_000)),
        format!("#{{a{}}}", ".b".repeat(20_000)),
        format!("#{{a{}}}", "[b]".repeat(20_000)),
        format!("#{{a{}}}", " | ToLower".repeat(20_000)),
        format!("#{{a | Append {}}}", "x ".repeat(20_000)),
        format!("#{{a[{}", "x".repeat(1_000_000)),
        format!("#{{{}}}", "x".repeat(1_000_000)),
    ] {
        let variables = variables(&[("a", "1"), ("b", "1")]);
        soon("nesting", || render(&text, &variables, &options()).unwrap());
    }
}

#[test]
fn what_nests_within_the_bounds_is_evaluated() {
    let text = format!("{}x{}", "#{if a}".repeat(48), "#{/if}".repeat(48));
    assert_eq!(lenient(&[("a", "1")], &text).text, "x");
    let chain: Variables = (0..90)
        .map(|at| (format!("v{at}"), format!("#{{v{}}}", at + 1)))
        .chain([("v90".to_owned(), "end".to_owned())])
        .collect();
    assert_eq!(render("#{v0}", &chain, &options()).unwrap().text, "end");
}

#[test]
fn a_long_chain_of_variables_is_left() {
    let chain: Variables = (0..100_000)
        .map(|at| (format!("v{at}"), format!("#{{v{}}}", at + 1)))
        .collect();
    let rendered = soon("chain", || render("<#{v0}>", &chain, &options()).unwrap());
    assert_eq!(rendered.text, "<#{v0}>");
    assert!(
        rendered
            .first_error()
            .unwrap()
            .to_string()
            .contains("v0 -> v1")
    );
    assert_eq!(
        soon("closure", || closure(["#{v0}"], &chain)).len(),
        100_000
    );
}

/// Blocks in values in blocks use up the most stack.
#[test]
fn deep_values_with_deep_blocks_stay_on_the_stack() {
    let open = "#{if t}#{each x in t}".repeat(20);
    let close = "#{/each}#{/if}".repeat(20);
    let mut pairs: Vec<(String, String)> = (0..200)
        .map(|at| {
            (
                format!("v{at}"),
                format!("{open}#{{t | Append #{{v{}}}}}{close}", at + 1),
            )
        })
        .collect();
    pairs.push(("t".to_owned(), "1".to_owned()));
    let variables: Variables = pairs.into_iter().collect();
    let work = move || {
        let rendered = render("#{v0}", &variables, &options()).unwrap();
        assert_eq!(rendered.text, "#{v0}");
    };
    // Half of what a thread has by default.
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn exponential_expansion_hits_a_limit() {
    let doubling = |leaf: &str| -> Variables {
        let pair = |at: usize| (format!("v{at}"), format!("#{{v{0}}}#{{v{0}}}", at + 1));
        (0..60)
            .map(pair)
            .chain([("v60".to_owned(), leaf.to_owned())])
            .collect()
    };
    let mut options = options();
    options.limits = Limits {
        output_bytes: 1 << 20,
        steps: 1_000_000,
    };
    for leaf in ["", "x", &"x".repeat(10_000)] {
        let error = soon("doubling", || render("#{v0}", &doubling(leaf), &options)).unwrap_err();
        assert!(
            matches!(error, Error::TooLarge { .. } | Error::TooMuchWork { .. }),
            "{error}"
        );
    }
    let lists = variables(&[
        ("L", &"x,".repeat(50_000)),
        ("M", "#{each a in L}#{each b in L}#{b}#{/each}#{/each}"),
    ]);
    assert!(soon("loops", || render("#{M}", &lists, &options)).is_err());
}

/// What filters make on the way is bounded like the result, even if the next filter would make it small.
#[test]
fn values_between_filters_are_bounded() {
    let big = "x".repeat(300_000);
    let pairs = [("V", big.as_str()), ("W", "#{V}#{V}#{V}")];
    let mut options = options();
    options.limits.output_bytes = 1 << 20;
    for filters in [
        "Append #{V} #{V} #{V} #{V} | Md5",
        "Append #{W} | Md5",
        "Append #{V} | Append #{V} | Append #{V} | Append #{V} | Md5",
        "Replace x xxxx | Md5",
        "Replace x \"$_\" | Md5",
        "Append \"<\" | Replace x \"<\" | HtmlEscape | Md5",
        "Replace x \"\u{1}\" | YamlDoubleQuoteEscape | Md5",
    ] {
        let template = format!("#{{V | {filters}}}");
        let result = soon(filters, || render(&template, &variables(&pairs), &options));
        assert!(matches!(result, Err(Error::TooLarge { .. })), "{filters}");
    }
    let fine = render(
        "#{V | Append #{V} #{V} | Md5}",
        &variables(&pairs),
        &options,
    )
    .unwrap();
    assert_eq!(fine.text.len(), 32);
}

/// One filter alone may ask for far more than what goes in.
#[test]
fn no_filter_makes_more_than_the_limit() {
    let lines = "\n".repeat(100_000);
    let wide = "y".repeat(100_000);
    let asks = "$_$&$`$'".repeat(20_000);
    let values = variables(&[("Lines", &lines), ("Wide", &wide), ("Asks", &asks)]);
    for text in [
        "#{Lines | Indent #{Wide}}",
        "#{Lines | Indent 1 #{Wide}}",
        "#{Wide | Replace y #{Asks}}",
        "#{Wide | Replace \"^y+\" #{Asks}}",
    ] {
        let result = soon(text, || render(text, &values, &options()));
        assert!(matches!(result, Err(Error::TooLarge { .. })), "{text}");
    }
}

#[test]
fn renderings_share_what_they_may_cost() {
    let doubling: Variables = (0..60)
        .map(|at| (format!("v{at}"), format!("#{{v{0}}}#{{v{0}}}", at + 1)))
        .collect();
    let mut budget = Budget::new(100_000);
    soon("many texts that expand without end", || {
        for _ in 0..100_000 {
            assert!(budget.render("#{v0}", &doubling, &options()).is_err());
        }
    });
    let plain = variables(&[("A", "x")]);
    let each = render("#{A}", &plain, &options()).unwrap().steps;
    let mut budget = Budget::new(10 * each);
    for _ in 0..10 {
        assert!(budget.render("#{A}", &plain, &options()).is_ok());
    }
    assert!(budget.render("#{A}", &plain, &options()).is_err());
    assert!(budget.render("text", &plain, &options()).is_ok());
}

#[test]
fn huge_collections_are_turned_round() {
    let list = format!("{}last", "x,".repeat(200_000));
    let json = format!("[{}9]", "1,".repeat(200_000));
    let pairs = [("L", list.as_str()), ("J", json.as_str())];
    for (name, first) in [("L", "last,x,x"), ("J", "9,1,1")] {
        let template = format!("#{{each i in {name} | Reverse}}#{{i}},#{{/each}}");
        let text = soon(name, || lenient(&pairs, &template).text.into_owned());
        assert!(text.starts_with(first), "{}", &text[..20]);
        assert_eq!(text.matches(',').count(), 200_001);
    }
}

#[test]
fn expensive_expressions_are_stopped() {
    let text = "a".repeat(40);
    for pattern in ["^(a+)+$", "(a*)*b", "(?=(a+)+$)x", r"(a+)+\1b"] {
        let filters = format!("#{{V | Match \"{pattern}\"}}");
        soon(pattern, || lenient(&[("V", &format!("{text}!"))], &filters));
        let filters = format!("#{{V | Replace \"{pattern}\" x}}");
        soon(pattern, || lenient(&[("V", &format!("{text}!"))], &filters));
    }
    let huge = format!("#{{V | Match \"{}\"}}", "(a{1,100}){1,100}".repeat(20));
    soon("size", || lenient(&[("V", "a")], &huge));
}

#[test]
fn json_that_is_huge_or_deep_is_bounded() {
    let deep = format!("{}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    soon("deep", || {
        lenient(&[("J", &deep)], "#{J.a.a.a}#{each x in J}#{x}#{/each}")
    });
    let wide = format!("[{}1]", "1,".repeat(100_000));
    let rendered = soon("wide", || {
        lenient(&[("J", &wide)], "#{each x in J}#{x}#{/each}")
            .text
            .len()
    });
    assert_eq!(rendered, 100_001);
}

#[test]
fn a_block_with_a_huge_number_of_branches_is_walked() {
    let text = format!(
        "#{{if a}}a{}#{{else}}end#{{/if}}",
        "#{elseif b}b".repeat(200_000)
    );
    let rendered = soon("branches", || lenient(&[], &text));
    assert_eq!(rendered.text, "end");
    assert_eq!(lenient(&[("b", "1")], &text).text, "b");
    let mut few = options();
    few.limits.steps = 100_000;
    let error = render(&text, &Variables::new(), &few).unwrap_err();
    assert!(matches!(error, Error::TooMuchWork { .. }), "{error}");
    // Again and again in a loop, each time left by its first branch.
    let repeated = format!("#{{each x in L}}{text}#{{/each}}");
    let list = variables(&[("a", "1"), ("L", &"x,".repeat(100_000))]);
    few.limits.steps = 1_000_000;
    let error = soon("loop", || render(&repeated, &list, &few)).unwrap_err();
    assert!(matches!(error, Error::TooMuchWork { .. }), "{error}");
}

#[test]
fn a_million_missing_tokens_are_counted_not_kept() {
    let text = "#{a}#{b}".repeat(100_000);
    let rendered = soon("missing", || lenient(&[], &text));
    assert_eq!(rendered.text, text);
    assert_eq!(rendered.problems.len(), 2);
    let text = (0..5_000)
        .map(|at| format!("#{{v{at}}}"))
        .collect::<Vec<_>>()
        .join("\n");
    let rendered = lenient(&[], &text);
    assert_eq!(rendered.problems.len(), 500);
    assert_eq!(rendered.more_problems, 4_500);
    assert_eq!(rendered.problems[499].position.line, 500);
}

#[test]
fn looking_at_a_huge_value_again_and_again_hits_a_limit() {
    let json = format!("[{}1]", "1,".repeat(1 << 19));
    let pairs = [("V", json.as_str()), ("W", &json[1..])];
    for tag in [
        "#{if V}#{/if}",
        "#{if W == V}#{/if}",
        "#{each x in V}#{/each}",
        "#{A[#{W}]}",
        "#{V.a}",
        "#{if W | Match x}#{/if}",
    ] {
        let text = tag.repeat(200_000);
        let mut options = options();
        options.limits.steps = 120_000;
        let result = soon(tag, || render(&text, &variables(&pairs), &options));
        assert!(matches!(result, Err(Error::TooMuchWork { .. })), "{tag}");
    }
}

#[test]
fn a_look_into_json_costs_what_reading_it_does() {
    let json = |bytes: usize| format!("{{\"pad\":\"{}\",\"k\":\"v\"}}", "x".repeat(bytes));
    let steps = |bytes: usize| lenient(&[("J", &json(bytes))], "#{J[k]}").steps;
    // Four times as much as copying the text, at the least.
    assert!(steps(64_000) >= 4 * 1_000, "{}", steps(64_000));
    let (one, two) = (steps(1 << 16), steps(1 << 17));
    assert!((19..=21).contains(&(10 * two / one)), "{one}, {two}");
    // What is found is read once more.
    let found = lenient(&[("J", &json(64_000))], "#{J[pad]}").steps;
    assert!(found > steps(64_000) + 4_000, "{found}");
    for each in ["#{each x in J}#{/each}", "#{each x in J | Reverse}#{/each}"] {
        let looped = lenient(&[("J", &json(64_000))], each).steps;
        assert!(looped > 8_000, "{each}: {looped}");
    }
    // An element at a time, each by its own look from the beginning.
    let list = (0..20_000).map(|n| n.to_string()).collect::<Vec<_>>();
    let pairs = [("L", list.join(",")), ("J", json(3_000))];
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (*a, b.as_str())).collect();
    let mut few = options();
    few.limits.steps = 1_000_000;
    let text = "#{each x in L}#{J[#{x}]}#{/each}";
    let result = soon("again", || render(text, &variables(&pairs), &few));
    assert!(
        matches!(result, Err(Error::TooMuchWork { .. })),
        "{result:?}"
    );
}

#[test]
fn a_huge_value_is_passed_through() {
    let value = "x".repeat(10 << 20);
    let rendered = soon("value", || lenient(&[("V", &value)], "#{V}").text.len());
    assert_eq!(rendered, value.len());
}
