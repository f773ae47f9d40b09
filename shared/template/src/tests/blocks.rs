//! Conditions, loops and calculations.

use super::{check, lenient};

#[test]
fn truth_is_what_is_not_empty_zero_no_or_false() {
    for (value, truth) in [
        ("true", true),
        ("True", true),
        ("yes", true),
        ("1", true),
        ("x", true),
        (" ", true),
        ("00", true),
        ("0.0", true),
        ("#{T}", true),
        ("", false),
        ("0", false),
        ("no", false),
        ("NO", false),
        (" No ", false),
        ("false", false),
        ("FALSE", false),
        ("\tfalse\n", false),
        ("#{F}", false),
    ] {
        let pairs = [("V", value), ("T", "on"), ("F", "false")];
        assert_eq!(
            lenient(&pairs, "#{if V}t#{else}f#{/if}").text == "t",
            truth,
            "{value:?}"
        );
        assert_eq!(
            lenient(&pairs, "#{unless V}t#{else}f#{/unless}").text == "f",
            truth,
            "{value:?}"
        );
    }
}

#[test]
fn conditions_choose_a_branch() {
    check(&[
        (&[("A", "1")], "#{if A}yes#{/if}", "yes"),
        (&[("A", "0")], "#{if A}yes#{/if}", ""),
        (&[], "#{if A}yes#{/if}", ""),
        (&[], "#{if A}yes#{else}no#{/if}", "no"),
        (&[], "#{unless A}yes#{/unless}", "yes"),
        (&[("A", "1")], "#{unless A}yes#{else}no#{/unless}", "no"),
        (&[("A", "1")], "#{ if A }yes#{/if}", "yes"),
        (&[("A", "1")], "#{IF A}yes#{/if}", "yes"),
        (&[("A", "1"), ("B", "2")], "#{if A}<#{B}>#{/if}", "<2>"),
        (&[("B", "1")], "#{if A}a#{elseif B}b#{else}c#{/if}", "b"),
        (
            &[("C", "1")],
            "#{if A}a#{elseif B}b#{elseif C}c#{else}d#{/if}",
            "c",
        ),
        (&[], "#{if A}a#{elseif B}b#{elseif C}c#{else}d#{/if}", "d"),
        (&[], "#{if A}a#{elseif B}b#{/if}", ""),
        (&[("A", "1"), ("B", "1")], "#{if A}a#{elseif B}b#{/if}", "a"),
        (
            &[("A", "1"), ("B", "1")],
            "#{unless A}a#{elseif B}b#{/unless}",
            "b",
        ),
        (
            &[("A", "1"), ("B", "1")],
            "#{if A}#{if B}ab#{/if}#{/if}",
            "ab",
        ),
        (
            &[("A", "1")],
            "#{if A}#{if B}b#{else}c#{/if}#{else}d#{/if}",
            "c",
        ),
        (&[("B", "1")], "#{if A}a#{else}#{if B}b#{/if}#{/if}", "b"),
        (&[("A", "1")], "#{if A}x#{else}y#{/if}#{if A}z#{/if}", "xz"),
        (&[("A", "1")], "#{if A}#{unless B}c#{/unless}#{/if}", "c"),
        (&[("A.B[c]", "1")], "#{if A.B[c]}x#{/if}", "x"),
        (&[("A[k]", "1"), ("K", "k")], "#{if A[#{K}]}x#{/if}", "x"),
        (&[("J", r#"{"on":true}"#)], "#{if J.on}x#{/if}", "x"),
        (&[("A", "1")], "#{if A}\n  line\n#{/if}", "\n  line\n"),
    ]);
}

#[test]
fn operands_are_compared() {
    check(&[
        (&[("A", "x")], "#{if A == \"x\"}t#{/if}", "t"),
        (&[("A", "x")], "#{if A==\"x\"}t#{/if}", "t"),
        (&[("A", "x")], "#{if A  ==  \"x\"  }t#{/if}", "t"),
        (&[("A", "x")], "#{if A == \"X\"}t#{else}f#{/if}", "f"),
        (&[("A", "x")], "#{if A != \"y\"}t#{/if}", "t"),
        (&[("A", "x")], "#{if A != \"x\"}t#{else}f#{/if}", "f"),
        (&[("A", "x")], "#{if \"x\" == A}t#{/if}", "t"),
        (&[("A", "x")], "#{if \"y\" != A}t#{/if}", "t"),
        (&[], "#{if \"a\" == \"a\"}t#{/if}", "t"),
        (&[("A", "x"), ("B", "x")], "#{if A == B}t#{/if}", "t"),
        (
            &[("A", "x"), ("B", "y")],
            "#{if A == B}t#{else}f#{/if}",
            "f",
        ),
        (&[("A", "x"), ("B", "y")], "#{if A != B}t#{/if}", "t"),
        (&[], "#{if A == B}t#{/if}", "t"),
        (&[], "#{if A == \"\"}t#{/if}", "t"),
        (
            &[("A", "two words")],
            "#{if A == \"two words\"}t#{/if}",
            "t",
        ),
        (
            &[("A", "x")],
            "{\"k\":\"#{if A == \\\"x\\\"}t#{/if}\"}",
            "{\"k\":\"t\"}",
        ),
        (&[("A", "#{B}"), ("B", "x")], "#{if A == \"x\"}t#{/if}", "t"),
        (
            &[("A", "x")],
            "#{unless A == \"x\"}t#{else}f#{/unless}",
            "f",
        ),
        (
            &[("A", "b")],
            "#{if A == \"a\"}1#{elseif A == \"b\"}2#{else}3#{/if}",
            "2",
        ),
        (&[("The App", "x")], "#{if The App == \"x\"}t#{/if}", "t"),
        (&[("A", "#x")], "#{if A == \"#x\"}t#{/if}", "t"),
    ]);
}

#[test]
fn operands_may_be_filtered() {
    check(&[
        (&[("A", "HI")], "#{if A | ToLower == \"hi\"}t#{/if}", "t"),
        (&[("A", "HI")], "#{if \"hi\" == A | ToLower}t#{/if}", "t"),
        (
            &[("A", "HI"), ("B", "hi")],
            "#{if A | ToLower == B | ToLower }t#{/if}",
            "t",
        ),
        (&[("A", "abc")], "#{if A | Contains \"b\"}t#{/if}", "t"),
        (&[("A", "abc")], "#{if A | Contains z}t#{else}f#{/if}", "f"),
        (
            &[("A", "abc")],
            "#{if A | StartsWith a | ToUpper == \"TRUE\"}t#{/if}",
            "t",
        ),
        (&[("A", "5")], "#{if A | GreaterThan 4}t#{/if}", "t"),
        // A filter without a value leaves the whole block.
        (
            &[("A", "x")],
            "#{if A | Nope}t#{/if}",
            "#{if A | Nope}t#{/if}",
        ),
        (
            &[("A", "x")],
            "#{if A | Nope == \"y\"}t#{else}f#{/if}!",
            "#{if A | Nope == \"y\"}t#{else}f#{/if}!",
        ),
        (
            &[],
            "#{if A | ToLower}t#{else}f#{/if}",
            "#{if A | ToLower}t#{else}f#{/if}",
        ),
    ]);
}

#[test]
fn loops_go_over_indexed_variables_in_their_order() {
    check(&[
        (
            &[("L[b]", "2"), ("L[a]", "1")],
            "#{each x in L}#{x};#{/each}",
            "2;1;",
        ),
        (
            &[("L[b]", "2"), ("L[a]", "1")],
            "#{each x in L}#{x.Key}=#{x};#{/each}",
            "b=2;a=1;",
        ),
        (
            &[("L[a].P", "1"), ("L[b].P", "2")],
            "#{each x in L}#{x}:#{x.P} #{/each}",
            "a:1 b:2 ",
        ),
        (
            &[("L[a].P", "1"), ("L[b].Q", "2")],
            "#{each x in L}#{x.P}#{/each}",
            "1#{x.P}",
        ),
        (
            &[("L[a].P", "1"), ("L[A].Q", "2")],
            "#{each x in L}#{x.P}#{x.Q}#{/each}",
            "12",
        ),
        (
            &[("L[].P", "1")],
            "#{each x in L}[#{x}#{x.P}]#{/each}",
            "[1]",
        ),
        (
            &[("L[a].P", "#{V}"), ("V", "v")],
            "#{each x in L}#{x.P}#{/each}",
            "v",
        ),
        (&[("A.L[a]", "1")], "#{each x in A.L}#{x}#{/each}", "1"),
        (
            &[("A[k].L[a]", "1"), ("K", "k")],
            "#{each x in A[#{K}].L}#{x}#{/each}",
            "1",
        ),
        (
            &[("L[a].M[x]", "1"), ("L[b].M[y]", "2")],
            "#{each l in L}#{each m in l.M}#{l}#{m}#{/each}#{/each}",
            "a1b2",
        ),
        (
            &[("L[a].T", "p,q")],
            "#{each l in L}#{each t in l.T}#{l}-#{t};#{/each}#{/each}",
            "a-p;a-q;",
        ),
        (
            &[("L[a].S", "s1"), ("S[s1]", "one")],
            "#{each l in L}#{S[#{l.S}]}#{/each}",
            "one",
        ),
        (
            &[("L[a].On", "0"), ("L[b].On", "1")],
            "#{each l in L}#{if l.On}#{l}#{/if}#{/each}",
            "b",
        ),
        (
            &[("L[a]", "1"), ("L[b]", "2")],
            "#{each x in L | Reverse}#{x}#{/each}",
            "21",
        ),
    ]);
}

#[test]
fn loops_go_over_json_and_lists() {
    check(&[
        (&[], "a#{each x in Nothing}#{x}#{/each}b", "ab"),
        (
            &[("L", "p,q,r")],
            "#{each x in L}<#{x}>#{/each}",
            "<p><q><r>",
        ),
        (&[("L", "p, q")], "#{each x in L}<#{x}>#{/each}", "<p>< q>"),
        (
            &[("L", "p,,q,")],
            "#{each x in L}<#{x}>#{/each}",
            "<p><><q><>",
        ),
        (&[("L", "one")], "#{each x in L}<#{x}>#{/each}", "<one>"),
        (&[("L", "")], "#{each x in L}<#{x}>#{/each}", "<>"),
        (
            &[("L", "#{M}"), ("M", "p,q")],
            "#{each x in L}<#{x}>#{/each}",
            "<p><q>",
        ),
        (
            &[("L", "p,#{V}"), ("V", "v")],
            "#{each x in L}<#{x}>#{/each}",
            "<p><v>",
        ),
        (
            &[("L", "[1, \"two\", true]")],
            "#{each x in L}<#{x}>#{/each}",
            "<1><two><True>",
        ),
        (&[("L", "[]")], "#{each x in L}<#{x}>#{/each}", ""),
        (&[("L", "{}")], "#{each x in L}<#{x}>#{/each}", ""),
        (
            &[("L", r#"[{"n":"a"},{"n":"b"}]"#)],
            "#{each x in L}#{x.n}#{/each}",
            "ab",
        ),
        (
            &[("L", r#"{"a":"1","b":{"c":2}}"#)],
            "#{each x in L}#{x}#{x.Key}#{x.Value};#{/each}",
            "aa1;bb{\"c\":2};",
        ),
        (
            &[("L", r#"{"a":{"c":2}}"#)],
            "#{each x in L}#{x.Key}=#{x.Value.c}#{/each}",
            "a=2",
        ),
        (
            &[("L", r#"{"a":[1,2]}"#)],
            "#{each x in L}#{each y in x.Value}#{y};#{/each}#{/each}",
            "1;2;",
        ),
        (
            &[("J", r#"{"list":["a","b"]}"#)],
            "#{each x in J.list}#{x}#{/each}",
            "ab",
        ),
        (
            &[("L", "p,q")],
            "#{each x in L | ToUpper}#{x}#{/each}",
            "PQ",
        ),
        (
            &[("L", "p,q")],
            "#{each x in L | ToUpper | Reverse}#{x}#{/each}",
            "QP",
        ),
        (
            &[("L", "p,,q,")],
            "#{each x in L | Reverse}<#{x}#{Octopus.Template.Each.Index}#{Octopus.Template.Each.Last}>#{/each}",
            "<0False><q1False><2False><p3True>",
        ),
        (
            &[("L", "[ 1, [2], 'x' ]")],
            "#{each x in L | reverse}#{x}#{Octopus.Template.Each.Last};#{/each}",
            "xFalse;[2]False;1True;",
        ),
        (
            &[("L", r#"{"a":1,"b":{"c":2}}"#)],
            "#{each x in L | Reverse}#{x.Key}=#{x.Value};#{/each}",
            "b={\"c\":2};a=1;",
        ),
        (&[("L", "")], "#{each x in L | Reverse}<#{x}>#{/each}", "<>"),
        (&[("L", "[]")], "#{each x in L | Reverse}<#{x}>#{/each}", ""),
    ]);
}

#[test]
fn loops_have_their_own_variables() {
    check(&[
        (
            &[("L", "p,q,r")],
            "#{each x in L}#{Octopus.Template.Each.Index}#{/each}",
            "012",
        ),
        (
            &[("L", "p,q")],
            "#{each x in L}#{Octopus.Template.Each.First}#{Octopus.Template.Each.Last} #{/each}",
            "TrueFalse FalseTrue ",
        ),
        (
            &[("L", "p,q")],
            "#{each x in L}#{x}#{unless Octopus.Template.Each.Last},#{/unless}#{/each}",
            "p,q",
        ),
        (
            &[("L", "[1,2]")],
            "#{each x in L}#{octopus.template.each.last};#{/each}",
            "False;True;",
        ),
        (
            &[("L", "p,q"), ("M", "1,2")],
            "#{each x in L}#{each y in M}#{x}#{y} #{/each}#{/each}",
            "p1 p2 q1 q2 ",
        ),
        (
            &[("L", "p,q"), ("M", "1,2")],
            "#{each x in L}#{each y in M}#{Octopus.Template.Each.Index}#{/each}#{Octopus.Template.Each.Index}#{/each}",
            "010011",
        ),
        // The inner loop's variable hides the outer one and the variables of that name.
        (
            &[("L", "p"), ("M", "1"), ("x", "v")],
            "#{x}#{each x in L}#{x}#{each x in M}#{x}#{/each}#{/each}",
            "vp1",
        ),
        (
            &[("L", "p"), ("V", "v")],
            "#{each x in L}#{X}#{V}#{/each}",
            "pv",
        ),
        // What the loop's variable does not have is looked for outside.
        (
            &[("L[a].P", "1"), ("x.Q", "2")],
            "#{each x in L}#{x.P}#{x.Q}#{/each}",
            "12",
        ),
        // A variable's value does not see the loop it is used in.
        (
            &[("L", "p"), ("V", "#{x}")],
            "#{each x in L}#{V}#{/each}",
            "#{x}",
        ),
        (&[("L", "p")], "#{each my item in L}#{my item}#{/each}", "p"),
        (&[("L", "p")], "#{ each  x  in  L  }#{ x }#{/each}", "p"),
        (&[("L", "p")], "#{EACH x IN L}#{x}#{/each}", "p"),
        (
            &[("L", "p")],
            "#{Octopus.Template.Each.Index}",
            "#{Octopus.Template.Each.Index}",
        ),
    ]);
}

#[test]
fn calculations_are_worked_out() {
    const V: &[(&str, &str)] = &[
        ("A", "6"),
        ("B", "4"),
        ("C-D", "10"),
        ("E.F[g]", "1.5"),
        ("N", "-3"),
        ("T", "1,000"),
        ("W", "word"),
    ];
    let rows: Vec<super::Row> = [
        ("1+2", "3"),
        ("1 + 2", "3"),
        ("7-10", "-3"),
        ("2*3+4*5", "26"),
        ("2*(3+4)*5", "70"),
        ("((2))", "2"),
        ("1/4", "0.25"),
        ("2/3", "0.6666666666666666"),
        ("0.1+0.2", "0.30000000000000004"),
        ("10-2-3", "5"),
        ("100/10/2", "5"),
        ("9%4", "1"),
        ("9%4*2", "2"),
        ("-A", "-6"),
        ("2*-3", "-6"),
        ("A", "6"),
        ("A*B", "24"),
        ("A+B", "10"),
        ("{A}-{B}", "2"),
        ("{A}-B", "2"),
        ("A - B", "2"),
        ("A / B", "1.5"),
        ("A * (B + 2)", "36"),
        ("(A + B) * 2", "20"),
        ("10-A", "4"),
        ("C-D", "10"),
        ("{C-D}/4", "2.5"),
        ("E.F[g]*2", "3"),
        ("N+1", "-2"),
        ("T+1", "1001"),
        ("10000000*100000000", "1E+15"),
        ("1/100000", "1E-05"),
    ]
    .map(|(calc, expected)| {
        (
            V,
            Box::leak(format!("#{{calc {calc}}}").into_boxed_str()) as &str,
            expected,
        )
    })
    .into();
    check(&rows);
}

#[test]
fn calculations_without_an_answer_lose_their_keyword_only() {
    check(&[
        (&[], "#{calc X+2}", "#{X+2}"),
        (&[("A", "1")], "#{calc A-2}", "#{A-2}"),
        (&[("W", "word")], "#{calc W*2}", "#{W*2}"),
        (&[], "#{calc 5%0}", "#{5%0}"),
        (&[], "#{calc 5/0}", "#{5/0}"),
        (&[], "#{calc 5.5%2}", "#{5.5%2}"),
        // As the original shows what it has read: without white space and parentheses.
        (&[], "#{calc  X + (Y - 1.50) }", "#{X+Y-1.5}"),
        (&[], "#{calc {A-B} / 2}", "#{A-B/2}"),
        (
            &[("K", "k")],
            "#{calc A.B[ c ].D[#{K}] * 2}",
            "#{A.B[c].D[#{K}]*2}",
        ),
        (
            &[],
            "#{calc A[#{K | Append x #{Y}}] % 3}",
            "#{A[#{K | Append \"x\" #{Y}}]%3}",
        ),
        // Not a calculation at all: the text stays.
        (&[], "#{calc 1 +}", "#{calc 1 +}"),
        (&[], "#{calc (1}", "#{calc (1}"),
        (&[], "#{calc 1 $ 2}", "#{calc 1 $ 2}"),
    ]);
}
