//! What holds for every input.

use std::borrow::Cow;

use proptest::prelude::*;

use super::options;
use crate::{Limits, Options, Template, Variables, closure, references, render};

fn small() -> Options {
    let mut options = options();
    options.limits = Limits {
        output_bytes: 64 << 10,
        steps: 20_000,
    };
    options
}

/// Text made of what the language is made of.
fn template() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "#{",
        "}",
        "##{",
        "#",
        "A",
        "B",
        "C[",
        "]",
        "x",
        ".",
        " | ",
        "ToUpper",
        "Append ",
        "Replace ",
        "Format ",
        "\"",
        "\\\"",
        "#{A}",
        "#{C[x]}",
        "#{C[#{B}]}",
        "#{if A}",
        "#{if A == \"x\"}",
        "#{elseif B}",
        "#{else}",
        "#{/if}",
        "#{unless B}",
        "#{/unless}",
        "#{each i in C}",
        "#{each i in L}",
        "#{i}",
        "#{i.K}",
        "#{/each}",
        "#{calc A + 2}",
        "#{J.a.b}",
        "#{ | NowDate}",
        "#{A | Substring 1}",
        "é",
        "😀",
        "\n",
        ",",
        "1",
    ]);
    prop::collection::vec(
        prop_oneof![8 => piece.prop_map(str::to_owned), 1 => ".{0,4}"],
        0..24,
    )
    .prop_map(|parts| parts.concat())
}

fn values() -> impl Strategy<Value = Variables> {
    let names = ["A", "B", "C[x]", "C[y]", "L", "J"];
    prop::collection::vec(
        prop_oneof![
            Just("x,y".to_owned()),
            Just("{\"a\":{\"b\":1}}".to_owned()),
            template()
        ],
        names.len(),
    )
    .prop_map(move |values| names.into_iter().zip(values).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn rendering_never_panics_and_is_a_function_of_its_input(text in template(), variables in values()) {
        let first = render(&text, &variables, &small());
        prop_assert_eq!(&first, &render(&text, &variables, &small()));
        if let Ok(rendered) = first {
            prop_assert!(rendered.text.len() <= 64 << 10);
            // Strict fails exactly when something was left.
            prop_assert_eq!(render(&text, &variables, &small().strict()).is_ok(), rendered.is_complete());
            for problem in &rendered.problems {
                prop_assert!(text.is_char_boundary(problem.position.offset));
                prop_assert!(problem.position.line >= 1 && problem.position.column >= 1);
            }
        }
    }

    #[test]
    fn the_pieces_are_the_whole(text in template(), variables in values()) {
        let template = Template::parse(&text);
        let whole = template.render(&variables, &small());
        let mut pieces = String::new();
        let result = template.render_to(&variables, &small(), &mut |piece| pieces.push_str(piece));
        match (whole, result) {
            (Ok(whole), Ok(result)) => {
                prop_assert_eq!(&pieces, &whole.text);
                prop_assert_eq!(result.problems, whole.problems);
                prop_assert_eq!((result.more_problems, result.null), (whole.more_problems, whole.null));
            }
            (Err(whole), Err(result)) => prop_assert_eq!(whole, result),
            (whole, result) => prop_assert!(false, "{:?} {:?}", whole, result),
        }
    }

    #[test]
    fn any_text_at_all_is_accepted(text in any::<String>(), value in any::<String>()) {
        let variables: Variables = [("A", value)].into_iter().collect();
        let _ = render(&text, &variables, &small());
        let _ = render("#{A}#{A.b}#{each x in A}#{x}#{/each}", &variables, &small());
        let _ = references(&text);
    }

    #[test]
    fn text_without_tags_is_borrowed_unchanged(text in "[^{]{0,200}") {
        let rendered = render(&text, &Variables::new(), &small()).unwrap();
        prop_assert!(matches!(rendered.text, Cow::Borrowed(same) if same == text));
        prop_assert!(rendered.is_complete());
    }

    #[test]
    fn escaped_text_comes_back(text in "[^#]{0,60}") {
        let escaped = format!("##{{{text}");
        let rendered = render(&escaped, &Variables::new(), &small()).unwrap();
        prop_assert_eq!(rendered.text, format!("#{{{text}"));
    }

    #[test]
    fn literals_around_a_token_stay(before in "[^#{]{0,40}", after in "[^#{]{0,40}", value in "[^#{]{0,40}") {
        let variables: Variables = [("V", value.clone())].into_iter().collect();
        let text = format!("{before}#{{V}}{after}");
        let rendered = render(&text, &variables, &small()).unwrap();
        prop_assert_eq!(rendered.text, format!("{before}{value}{after}"));
    }

    #[test]
    fn a_closed_set_renders_the_same(text in template(), variables in values()) {
        let names = closure([text.as_str()], &variables);
        let mut closed = Variables::new();
        for (name, value) in variables.iter().filter(|(name, _)| names.contains(*name)) {
            closed.insert(name, value.map(str::to_owned));
        }
        let all = render(&text, &variables, &small()).map(|rendered| rendered.text.into_owned());
        let some = render(&text, &closed, &small()).map(|rendered| rendered.text.into_owned());
        prop_assert_eq!(all, some);
    }

    #[test]
    fn escapes_for_json_round_trip(value in "[ -~\n\t\"\\\\]{0,40}") {
        let variables: Variables = [("V", value.replace('#', "")), ("J", "{\"k\":\"#{V | JsonEscape}\"}".to_owned())].into_iter().collect();
        let rendered = render("#{J.k}", &variables, &small()).unwrap();
        prop_assert_eq!(rendered.text, value.replace('#', ""));
    }

    #[test]
    fn base64_round_trips(value in "[^#]{0,60}") {
        let variables: Variables = [("V", value.clone())].into_iter().collect();
        for encoding in ["utf8", "unicode"] {
            let text = format!("#{{V | ToBase64 {encoding} | FromBase64 {encoding}}}");
            prop_assert_eq!(render(&text, &variables, &small()).unwrap().text, value.as_str());
        }
    }

    #[test]
    fn numbers_and_dates_never_panic(value in "[-+0-9.,eE/:TZ PAM]{0,24}", format in "[a-zA-Z0#.,;%:/ '-]{0,16}") {
        let variables: Variables = [("V", value), ("F", format)].into_iter().collect();
        for kind in ["", "Int32", "Double", "Decimal", "Date", "DateTimeOffset"] {
            let text = format!("#{{V | Format {kind} #{{F}}}}");
            let _ = render(&text, &variables, &small());
        }
        let _ = render("#{V | AddDays #{V}}#{V | AddMonths #{V}}#{V | AddTimeSpan #{V}}", &variables, &small());
    }

    #[test]
    fn parsing_tells_the_same_problems_as_rendering(text in template()) {
        let template = Template::parse(&text);
        let parse = template.problems();
        if let Ok(rendered) = template.render(&Variables::new(), &small()) {
            for problem in parse {
                prop_assert!(rendered.problems.contains(&problem), "{:?}", problem);
            }
        }
    }
}
