//! What is said about what could not be evaluated.

use super::{lenient, options, variables};
use crate::{Error, Position, ProblemKind, Template, is_truthy, render};

fn strict(pairs: &[(&str, &str)], template: &str) -> Result<String, Error> {
    let rendered = render(template, &variables(pairs), &options().strict())?;
    Ok(rendered.text.into_owned())
}

#[test]
fn malformed_tags_are_text_and_the_rest_is_rendered() {
    for (template, expected) in [
        ("#{A", "#{A"),
        ("#{A #{A}", "#{A v"),
        ("#{", "#{"),
        ("#{}", "#{}"),
        ("#{ }", "#{ }"),
        ("#{A[x}", "#{A[x}"),
        ("#{A.}", "#{A.}"),
        ("#{.A}", "#{.A}"),
        ("#{A |}", "#{A |}"),
        ("#{A | }", "#{A | }"),
        ("#{A | Append a.b}", "#{A | Append a.b}"),
        ("#{A | Append \"x}", "#{A | Append \"x}"),
        ("#{A | Append \"#{A}\"}", "#{A | Append \"v\"}"),
        // What was read of a malformed tag stays as it was, the tags in its arguments too.
        ("#{A | Append #{A} $}#{A}", "#{A | Append #{A} $}v"),
        ("#{A[#{A}.x}", "#{A[v.x}"),
        ("#{if A == #{A}}#{A}", "#{if A == v}v"),
        ("#{A+B}", "#{A+B}"),
        ("#{if A}x", "#{if A}x"),
        ("#{if A}#{A}", "#{if A}v"),
        ("#{if A}x#{/each}#{A}", "#{if A}x#{/each}v"),
        ("x#{/if}#{A}", "x#{/if}v"),
        ("#{each a in A}#{a}", "#{each a in A}v"),
        ("#{each a A}x#{/each}", "#{each a A}x#{/each}"),
        ("#{each in A}x#{/each}", "#{each in A}x#{/each}"),
        ("#{each x in A}#{if A}#{x}#{/each}", "#{if A}v"),
        ("#{if A ==}x#{/if}", "#{if A ==}x#{/if}"),
        ("#{elseif A}#{A}", "#{elseif A}v"),
        ("#{/foo}#{A}", "#{/foo}v"),
        (
            "function(e){return\"#{\"==e.a?1:#{A}}",
            "function(e){return\"#{\"==e.a?1:v}",
        ),
    ] {
        let rendered = lenient(&[("A", "v")], template);
        assert_eq!(rendered.text, expected, "{template}");
        assert!(!rendered.is_complete(), "{template}");
        assert!(strict(&[("A", "v")], template).is_err(), "{template}");
    }
}

#[test]
fn a_problem_names_the_token_and_its_place() {
    let rendered = lenient(
        &[("A", "v")],
        "first #{A}\nsécond #{B | ToUpper} #{A | Nope}\n#{oops",
    );
    let places: Vec<_> = rendered
        .problems
        .iter()
        .map(|problem| {
            (
                problem.token.as_str(),
                problem.position.offset,
                problem.position.line,
                problem.position.column,
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            ("#{B | ToUpper}", 19, 2, 8),
            ("#{A | Nope}", 34, 2, 23),
            ("#{oops", 46, 3, 1)
        ]
    );
    assert_eq!(
        rendered.unresolved().collect::<Vec<_>>(),
        ["#{B | ToUpper}", "#{A | Nope}"]
    );
    assert!(matches!(
        rendered.first_error().unwrap().kind,
        ProblemKind::Syntax { .. }
    ));
    assert!(
        matches!(&rendered.problems[1].kind, ProblemKind::UnknownFilter { filter } if filter == "Nope")
    );
}

#[test]
fn an_inner_token_is_named_at_the_outer_ones_place() {
    let rendered = lenient(&[("A", "x #{B}")], "123#{A}#{A}");
    assert_eq!(rendered.text, "123x #{B}x #{B}");
    assert_eq!(rendered.problems.len(), 1);
    assert_eq!(rendered.problems[0].token, "#{B}");
    assert_eq!(
        rendered.problems[0].position,
        Position {
            offset: 3,
            line: 1,
            column: 4
        }
    );
}

#[test]
fn strict_gives_a_typed_error() {
    assert_eq!(strict(&[("A", "v")], "#{A}"), Ok("v".to_owned()));
    let Err(Error::Unresolved(problem)) = strict(&[], "\n #{A}") else {
        panic!("not unresolved")
    };
    assert_eq!((problem.position.line, problem.position.column), (2, 2));
    assert!(
        problem
            .to_string()
            .starts_with("line 2, column 2: '#{A}' has no value")
    );
    assert!(matches!(strict(&[], "#{A"), Err(Error::Syntax(_))));
    assert!(matches!(
        strict(&[("A", "#{A}")], "#{A}"),
        Err(Error::Recursion(_))
    ));
    assert!(matches!(
        strict(&[("A", "x")], "#{calc A*2}"),
        Err(Error::Unresolved(_))
    ));
    // The first in the order of the text.
    let Err(error) = strict(&[], "#{A} #{oops") else {
        panic!("no error")
    };
    assert_eq!(error.problem().unwrap().token, "#{A}");
}

#[test]
fn missing_names_in_conditions_and_collections_are_no_problem() {
    for template in [
        "#{if A}x#{/if}",
        "#{if A == B}x#{/if}",
        "#{each x in A}#{x}#{/each}",
        "#{unless A}x#{/unless}",
    ] {
        assert!(lenient(&[], template).is_complete(), "{template}");
    }
}

#[test]
fn recursion_is_named_by_its_chain() {
    for (pairs, template, chain) in [
        (&[("A", "#{A}")][..], "#{A}", "A -> A"),
        (
            &[("A", "#{B}"), ("B", "#{C}"), ("C", "x#{a}")],
            "#{A}",
            "A -> B -> C -> a",
        ),
        (
            &[("X", "#{A}"), ("A", "#{B}"), ("B", "#{A}")],
            "#{X}",
            "X -> A -> B -> A",
        ),
        (
            &[("A", "#{B | ToUpper}"), ("B", "#{A}")],
            "#{A}",
            "A -> B -> A",
        ),
        (&[("A", "#{if A}x#{/if}")], "#{A}", "A -> A"),
        (&[("A", "#{each x in A}#{x}#{/each}")], "#{A}", "A -> A"),
        (&[("A", "#{calc A+1}")], "#{A}", "A -> A"),
        (&[("A", "#{B[#{A}]}"), ("B[x]", "y")], "#{A}", "A -> A"),
        (
            &[("A[x]", "#{A[#{K}]}"), ("K", "x")],
            "#{A[x]}",
            "A[x] -> A[x]",
        ),
        (&[("L", "#{x},1")], "#{each x in L}#{x}#{/each}", "x -> x"),
    ] {
        let rendered = lenient(pairs, template);
        let problem = rendered
            .first_error()
            .unwrap_or_else(|| panic!("{template} with {pairs:?}"));
        let ProblemKind::Recursion { chain: found } = &problem.kind else {
            panic!("{problem:?}")
        };
        assert_eq!(found.join(" -> "), chain);
        assert!(problem.to_string().contains(chain), "{problem}");
    }
    // The outermost token stays, and the rest is rendered.
    let rendered = lenient(
        &[("A", "1#{B}"), ("B", "2#{A}"), ("C", "c")],
        "#{C}#{A}#{C}",
    );
    assert_eq!(rendered.text, "c#{A}c");
    assert_eq!(rendered.problems[0].token, "#{A}");
}

#[test]
fn a_block_with_recursion_in_its_condition_stays_whole() {
    let rendered = lenient(&[("A", "#{A}")], "<#{if A}x#{else}y#{/if}>");
    assert_eq!(rendered.text, "<#{if A}x#{else}y#{/if}>");
    assert_eq!(rendered.problems[0].token, "#{if A}");
}

#[test]
fn null_is_marked() {
    let rendered = lenient(&[], "#{ | null}");
    assert!(rendered.null && rendered.is_complete());
    assert!(!lenient(&[], "x").null);
}

#[test]
fn a_text_is_true_if_it_is_not_one_of_the_words_for_false() {
    let variables = variables(&[("Yes", "true"), ("No", "false"), ("Env", "Prod")]);
    for (condition, holds) in [
        ("true", true),
        ("False", false),
        (" no ", false),
        ("0", false),
        ("", false),
        ("#{Yes}", true),
        ("#{No}", false),
        ("#{if Env == \"Prod\"}true#{/if}", true),
        ("#{if Env == \"Test\"}true#{/if}", false),
        ("#{unless Missing}true#{/unless}", true),
        ("#{Env | StartsWith P}", true),
    ] {
        let rendered = render(condition, &variables, &options()).unwrap();
        assert!(rendered.is_complete(), "{condition}");
        assert_eq!(is_truthy(&rendered.text), holds, "{condition}");
    }
}

#[test]
fn a_template_tells_its_malformed_places_without_variables() {
    let template = Template::parse("#{A} #{if B} #{");
    let places: Vec<_> = template
        .problems()
        .iter()
        .map(|problem| problem.position.offset)
        .collect();
    assert_eq!(places, [5, 13]);
    assert!(Template::parse("plain").is_literal());
}
