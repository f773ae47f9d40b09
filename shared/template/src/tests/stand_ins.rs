//! Values that are not known: written as what stands in for them, and never decided by.

use super::*;

/// `Pw` and `Key[...]` are not known; the rest is.
fn hidden() -> Variables {
    let mut variables = variables(&[
        ("User", "sa"),
        ("Conn", "u=#{User};p=#{Pw}"),
        ("Cond", "#{if Pw == \"live\"}LIVE#{else}other#{/if}"),
        ("Short", "#{Pw | Substring 4}"),
        ("Deep", "<#{Short}>"),
        ("Json", "{\"p\":\"#{Pw}\",\"u\":\"sa\"}"),
        ("Plain", "{\"u\":\"sa\"}"),
        ("List[sa]", "one"),
        ("Number", "4"),
    ]);
    variables.stand_in("Pw", "(secret)", "secret a");
    variables.stand_in("Key[x]", "(key x)", "secret x");
    variables.stand_in("Key[y]", "(key y)", "secret y");
    variables
}

fn rendered(template: &str) -> Rendered<'_> {
    render(template, &hidden(), &options()).unwrap()
}

#[test]
fn what_hangs_on_a_value_that_is_not_known_is_marked_and_what_has_it_in_it_is_not() {
    let mut wrong = Vec::new();
    for (template, expected) in [
        ("#{Pw}", "(secret)"),
        ("#{Conn}", "u=sa;p=(secret)"),
        ("#{each k in Key}#{k};#{/each}", "(key x);(key y);"),
        ("#{Key[x]}#{Key[*]}", "(key x)(key x)"),
        ("#{User | ToUpper}", "SA"),
        ("#{Plain.u}", "sa"),
        ("#{calc Number * 2}", "8"),
        ("#{if User == \"sa\"}#{Pw}#{/if}", "(secret)"),
        ("#{if User == \"x\"}#{Pw | ToUpper}#{else}no#{/if}", "no"),
        // Filters, in values of values, and as their arguments.
        ("#{Pw | ToUpper}", "(made from secret a)"),
        ("#{Conn | ToBase64}", "(made from secret a)"),
        ("#{Short}", "(made from secret a)"),
        ("#{Deep}", "<(made from secret a)>"),
        ("#{Deep | Trim}", "(made from secret a)"),
        ("#{User | Append #{Pw}}", "(made from secret a)"),
        ("#{Pw | FromBase64}", "(made from secret a)"),
        (
            "#{each k in Key}#{k | ToUpper};#{/each}",
            "(made from secret x);(made from secret y);",
        ),
        // Conditions, with the secrets of every branch.
        ("#{if Pw}yes#{else}no#{/if}", "(made from secret a)"),
        ("#{unless Pw}yes#{/unless}!", "(made from secret a)!"),
        ("#{Cond}", "(made from secret a)"),
        (
            "#{if User == Pw}#{Key[x]}#{/if}",
            "(made from secret a, secret x)",
        ),
        (
            "#{if Number == \"5\"}a#{elseif Pw == \"x\"}b#{else}c#{/if}",
            "(made from secret a)",
        ),
        ("#{if Pw | Contains a}yes#{/if}", "(made from secret a)"),
        ("#{if Cond == \"LIVE\"}yes#{/if}", "(made from secret a)"),
        // Loops, calculations, parts and paths.
        ("#{each c in Pw}#{c},#{/each}", "(made from secret a)"),
        ("#{each c in Conn}#{c},#{/each}", "(made from secret a)"),
        ("#{calc Pw + 1}", "(made from secret a)"),
        ("#{Pw.part}", "(made from secret a)"),
        (
            "#{Json.p}#{Json.u}",
            "(made from secret a)(made from secret a)",
        ),
        ("#{List[#{Pw}]}", "(made from secret a)"),
        (
            "x#{Key[#{Pw}]}",
            "x(made from secret a, secret x, secret y)",
        ),
    ] {
        let result = rendered(template);
        if result.text != expected || !result.problems.is_empty() {
            wrong.push(format!("{template}: {} {:?}", result.text, result.problems));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_that_may_be_empty_are_where_they_have_no_value() {
    let mut variables = hidden();
    variables.empty_if(|name| name.starts_with("System"));
    for (template, expected, problems) in [
        ("<#{System.Error}>", "<>", 0),
        ("<#{System.Field[#{User}]}>", "<>", 0),
        ("<#{System.Error | ToUpper}>", "<>", 0),
        ("#{each x in System.List}y#{/each}", "", 0),
        ("#{System[#{Nope}]}", "#{System[#{Nope}]}", 1),
        ("#{Other.Error}", "#{Other.Error}", 1),
    ] {
        let result = render(template, &variables, &options()).unwrap();
        assert_eq!(result.text, expected);
        assert_eq!(result.problems.len(), problems, "{template}");
    }
}

#[test]
fn what_was_read_is_told_and_what_was_not_is_not() {
    for (template, expected) in [
        ("#{User}", &[][..]),
        ("#{Conn}", &["Pw"]),
        ("#{if User == \"x\"}#{Pw}#{/if}", &[]),
        ("#{if Cond}#{Key[y]}#{/if}", &["Pw"]),
        ("#{each k in Key}#{k}#{/each}", &["Key[x]", "Key[y]"]),
    ] {
        assert_eq!(rendered(template).hidden, expected, "{template}");
    }
}

#[test]
fn what_cannot_be_evaluated_whatever_the_value_is_stays_as_it_was() {
    for template in ["#{Pw | Nope}", "#{if Pw | Nope}x#{/if}", "#{Missing}"] {
        let result = rendered(template);
        assert_eq!(result.text, template);
        assert_eq!(result.problems.len(), 1, "{template}");
    }
}

#[test]
fn a_mark_can_tell_apart_what_follows_from_other_things() {
    let made = |template: &str, user: &str, secret: &str| {
        let mut variables = variables(&[("User", user), ("Other", user)]);
        variables.stand_in("Pw", secret, "a");
        variables.made_by(|labels, recipe| format!("{labels:?} {recipe}"));
        render(template, &variables, &options())
            .unwrap()
            .text
            .into_owned()
    };
    let first = "#{if Pw == \"x\"}#{User}#{/if}";
    assert_eq!(made(first, "sa", "1"), made(first, "sa", "1"));
    for (template, user, secret) in [
        ("#{if Pw == \"y\"}#{User}#{/if}", "sa", "1"),
        (first, "root", "1"),
        (first, "sa", "2"),
    ] {
        assert_ne!(
            made(first, "sa", "1"),
            made(template, user, secret),
            "{template}"
        );
    }
    let second = "#{if Pw == \"x\"}y#{/if}";
    assert_eq!(
        made(second, "sa", "1"),
        made(second, "root", "1"),
        "it does not reach it"
    );
    // A value that is known again is known.
    let mut variables = hidden();
    variables.set("Pw", "open");
    assert_eq!(
        render("#{Pw | ToUpper}", &variables, &options())
            .unwrap()
            .text,
        "OPEN"
    );
}
