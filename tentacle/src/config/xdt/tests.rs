//! Every transform and locator on one file, and what is refused.

use super::super::{Applied, ConfigError, OnWarning, transform};

const FILE: &str = r#"<?xml version="1.0"?>
<configuration>
  <!-- settings -->
  <appSettings>
    <add key="A" value="1" />
    <add key="B"   value='2'/>
    <add key="C" value="3" other="x" />
  </appSettings>
  <connectionStrings>
    <add name="Db"
         connectionString="old"
         providerName="p" />
  </connectionStrings>
  <system.web>
    <compilation debug="true" targetFramework="4.5">
      <assemblies></assemblies>
    </compilation>
    <clear />
  </system.web>
  <empty/>
</configuration>
"#;

fn with(rules: &str) -> Result<Applied, ConfigError> {
    let rules = format!(
        "<configuration xmlns:xdt=\"http://schemas.microsoft.com/XML-Document-Transform\">{rules}</configuration>"
    );
    transform(
        FILE.as_bytes(),
        "T.config",
        rules.as_bytes(),
        OnWarning::Fail,
    )
}

fn changed(rules: &str) -> String {
    let applied = with(rules).unwrap();
    String::from_utf8(applied.bytes.unwrap()).unwrap()
}

#[test]
fn each_transform_changes_what_it_names_and_nothing_else() {
    for (rules, before, after) in [
        (
            r#"<appSettings><add key="B" value="9" xdt:Transform="Replace" xdt:Locator="Match(key)"/></appSettings>"#,
            "<add key=\"B\"   value='2'/>",
            "<add key=\"B\" value=\"9\"/>",
        ),
        (
            r#"<appSettings xdt:Transform="Replace"><add key="N"/><!-- c --><b>text</b></appSettings>"#,
            &FILE[FILE.find("<appSettings>").unwrap()..FILE.find("  <connectionStrings>").unwrap()],
            "<appSettings>\n    <add key=\"N\"/>\n    <!-- c -->\n    <b>text</b>\n  </appSettings>\n",
        ),
        (
            r#"<appSettings><add key="B" xdt:Transform="Remove" xdt:Locator="Match(key)"/></appSettings>"#,
            "    <add key=\"B\"   value='2'/>\n",
            "",
        ),
        (
            r#"<appSettings><add xdt:Transform="RemoveAll"/></appSettings>"#,
            "\n    <add key=\"A\" value=\"1\" />\n    <add key=\"B\"   value='2'/>\n    <add key=\"C\" value=\"3\" other=\"x\" />",
            "",
        ),
        (
            r#"<appSettings><add key="D" value="4" xdt:Transform="Insert" /></appSettings>"#,
            "other=\"x\" />\n",
            "other=\"x\" />\n    <add key=\"D\" value=\"4\"/>\n",
        ),
        (
            r#"<appSettings><add key="A" xdt:Transform="InsertIfMissing" xdt:Locator="Match(key)"/><add key="E" xdt:Transform="InsertIfMissing" xdt:Locator="Match(key)"/></appSettings>"#,
            "other=\"x\" />\n",
            "other=\"x\" />\n    <add key=\"E\"/>\n",
        ),
        (
            r#"<appSettings><add key="D" xdt:Transform="InsertBefore(/configuration/appSettings/add[@key='A'])"/></appSettings>"#,
            "    <add key=\"A\"",
            "    <add key=\"D\"/>\n    <add key=\"A\"",
        ),
        (
            r#"<appSettings><add key="D" xdt:Transform="InsertAfter(add[2])"/></appSettings>"#,
            "value='2'/>\n",
            "value='2'/>\n    <add key=\"D\"/>\n",
        ),
        (
            r#"<appSettings><add key="B" value="9&lt;" xdt:Transform="SetAttributes" xdt:Locator="Match(key)"/></appSettings>"#,
            "<add key=\"B\"   value='2'/>",
            "<add key=\"B\"   value='9&lt;'/>",
        ),
        (
            r#"<appSettings><add key="B" value="9" new="n" xdt:Transform="SetAttributes(new)" xdt:Locator="Match(key)"/></appSettings>"#,
            "<add key=\"B\"   value='2'/>",
            "<add key=\"B\"   value='2' new=\"n\"/>",
        ),
        (
            r#"<connectionStrings><add name="Db" extra="e" connectionString="new" xdt:Transform="SetAttributes" xdt:Locator="Condition(@name='Db')"/></connectionStrings>"#,
            "connectionString=\"old\"\n         providerName=\"p\" />",
            "connectionString=\"new\"\n         providerName=\"p\"\n         extra=\"e\" />",
        ),
        (
            r#"<connectionStrings><add xdt:Transform="RemoveAttributes(name,providerName)"/></connectionStrings>"#,
            "<add name=\"Db\"\n         connectionString=\"old\"\n         providerName=\"p\" />",
            "<add connectionString=\"old\" />",
        ),
        (
            r#"<system.web><compilation xdt:Transform="RemoveAttributes(debug)"/></system.web>"#,
            "<compilation debug=\"true\" target",
            "<compilation target",
        ),
        (
            r#"<system.web><compilation xdt:Transform="RemoveAttributes"/></system.web>"#,
            "<compilation debug=\"true\" targetFramework=\"4.5\">",
            "<compilation>",
        ),
        (
            r#"<x xdt:Locator="XPath(/configuration/system.web/compilation/assemblies)"><add name="N" xdt:Transform="Insert"/></x>"#,
            "<assemblies></assemblies>",
            "<assemblies>\n        <add name=\"N\"/>\n      </assemblies>",
        ),
        (
            r#"<system.web><b xdt:Transform="SetAttributes" v="1" xdt:Locator="XPath(../clear)"/></system.web>"#,
            "",
            "",
        ),
        (
            r#"<empty><a><b x="1"/></a></empty><empty><a xdt:Transform="Insert"><b x="1"/></a></empty>"#,
            "  <empty/>\n",
            "  <empty>\n    <a>\n      <b x=\"1\"/>\n    </a>\n  </empty>\n",
        ),
    ] {
        if before.is_empty() {
            // A path below an element that is not there finds nothing.
            assert!(with(rules).is_err(), "{rules}");
            continue;
        }
        assert!(FILE.contains(before), "{before}");
        assert_eq!(changed(rules), FILE.replacen(before, after, 1), "{rules}");
    }
}

#[test]
fn long_tags_are_broken_as_their_siblings_are() {
    let long = "x".repeat(150);
    let rules = format!(
        "<connectionStrings><add name=\"{long}\" connectionString=\"c\" xdt:Transform=\"Insert\"/></connectionStrings>"
    );
    let expected = FILE.replace(
        "providerName=\"p\" />\n",
        &format!(
            "providerName=\"p\" />\n    <add name=\"{long}\"\n         connectionString=\"c\"/>\n"
        ),
    );
    assert_eq!(changed(&rules), expected);
    let rules = format!(
        "<appSettings><add key=\"{long}\" value=\"c\" xdt:Transform=\"Insert\"/></appSettings>"
    );
    assert!(changed(&rules).contains(&format!("    <add key=\"{long}\"\n      value=\"c\"/>\n")));
}

#[test]
fn namespaces_are_those_of_the_place() {
    let file = r#"<nlog xmlns="urn:n" xmlns:xsi="urn:i">
    <targets>
        <target name="csv"
                xsi:type="File">
        </target>
    </targets>
</nlog>"#;
    let rules = r#"<nlog xmlns="urn:n" xmlns:x="urn:i" xmlns:o="urn:o" xmlns:xdt="http://schemas.microsoft.com/XML-Document-Transform">
  <targets>
    <target name="csv" file="f" x:type="Csv" xdt:Transform="SetAttributes" xdt:Locator="Match(name)" />
    <target name="new" x:type="T" xdt:Transform="Insert"><o:b o:c="d"/></target>
    <o:other xdt:Transform="Insert"><plain xmlns=""/></o:other>
  </targets>
</nlog>"#;
    let applied = transform(file.as_bytes(), "T", rules.as_bytes(), OnWarning::Fail).unwrap();
    let text = String::from_utf8(applied.bytes.unwrap()).unwrap();
    let expected = r#"<nlog xmlns="urn:n" xmlns:xsi="urn:i">
    <targets>
        <target name="csv"
                xsi:type="Csv"
                file="f">
        </target>
        <target name="new" xsi:type="T">
            <o:b xmlns:o="urn:o" o:c="d"/>
        </target>
        <o:other xmlns:o="urn:o">
            <plain xmlns=""/>
        </o:other>
    </targets>
</nlog>"#;
    assert_eq!(text, expected);
    assert_eq!(applied.set.len(), 3, "{:?}", applied.set);
}

#[test]
fn what_fails_is_told_by_its_place_and_changes_nothing() {
    for (rules, why) in [
        (
            r#"<none xdt:Transform="Remove"/>"#,
            "T.config:1:80: no element of the file matches /configuration/none (a warning)",
        ),
        (
            r#"<none><a xdt:Transform="Replace"/></none>"#,
            "no element of the file matches /configuration/none (a warning)",
        ),
        (
            r#"<none><a xdt:Transform="Insert"/></none>"#,
            "no element of the file matches /configuration/none",
        ),
        (
            r#"<empty xdt:Transform="Remove"/><empty xdt:Transform="Remove"/>"#,
            "was removed by an earlier transform",
        ),
        (
            r#"<appSettings><add xdt:Transform="Remove"/></appSettings>"#,
            "several elements match",
        ),
        (r#"<empty xdt:Transform="Foo"/>"#, "'Foo' is no transform"),
        (
            r#"<empty xdt:Transform="Remove" xdt:Locator="Foo(a)"/>"#,
            "'Foo' is no locator",
        ),
        (r#"<empty xdt:Transform="Remove(a"/>"#, "neither a name"),
        (
            r#"<empty xdt:Transform="Remove(a)"/>"#,
            "Remove takes no arguments",
        ),
        (
            r#"<empty xdt:Transform="SetAttributes(a)"/>"#,
            "there is no attribute 'a'",
        ),
        (
            r#"<empty xdt:Transform="SetAttributes"/>"#,
            "no attributes to set",
        ),
        (
            r#"<empty xdt:Transform="RemoveAttributes"/>"#,
            "no attributes to remove",
        ),
        (
            r#"<empty xdt:Transform="Remove" xdt:Locator="Match(a)"/>"#,
            "'a', which is not there",
        ),
        (
            r#"<empty xdt:Transform="Remove" xdt:Locator="Condition(@a='"/>"#,
            "neither a name",
        ),
        (
            r#"<empty xdt:Transform="Remove" xdt:Locator="Condition([)"/>"#,
            "stands where a name must",
        ),
        (
            r#"<empty xdt:Transform="InsertBefore"/>"#,
            "takes one argument",
        ),
        (
            r#"<empty xdt:Transform="InsertAfter(/configuration/none)"/>"#,
            "no element of the file matches /configuration/none",
        ),
        (
            r#"<empty xdt:Transform="InsertAfter(//@key)"/>"#,
            "selects what is no element",
        ),
        ("<xdt:Foo/>", "<xdt:Foo> is not known (a warning)"),
        (
            r#"<xdt:Import assembly="a" namespace="b"/>"#,
            "cannot be imported",
        ),
    ] {
        let error = with(rules).unwrap_err().in_file("Web.config");
        assert!(error.contains(why), "{rules}: {error}");
        assert!(error.contains("T.config:1:"), "{error}");
    }
    let root = r#"<configuration xdt:Transform="Remove" xmlns:xdt="http://schemas.microsoft.com/XML-Document-Transform"/>"#;
    let error = transform(FILE.as_bytes(), "T", root.as_bytes(), OnWarning::Fail).unwrap_err();
    assert!(error.to_string().contains("no element any more"), "{error}");
    let error = transform(FILE.as_bytes(), "T", b"<a>", OnWarning::Fail).unwrap_err();
    assert!(error.to_string().contains("T:1:4: not XML"), "{error}");
    let error = transform(b"<a>", "T", root.as_bytes(), OnWarning::Fail).unwrap_err();
    assert!(error.in_file("W").starts_with("W:1:4: not XML"), "{error}");
}

#[test]
fn warnings_may_be_told_only_or_not_at_all() {
    let rules = |quiet: &str| {
        format!(
            "<configuration xmlns:xdt=\"http://schemas.microsoft.com/XML-Document-Transform\"><none xdt:Transform=\"Remove\" {quiet}/><empty xdt:Transform=\"Remove\"/></configuration>"
        )
    };
    let applied = transform(FILE.as_bytes(), "T", rules("").as_bytes(), OnWarning::Tell).unwrap();
    assert_eq!(applied.warnings.len(), 1);
    assert!(
        !String::from_utf8(applied.bytes.unwrap())
            .unwrap()
            .contains("<empty")
    );
    let quiet = rules("xdt:SupressWarnings=\"True\"");
    let applied = transform(FILE.as_bytes(), "T", quiet.as_bytes(), OnWarning::Fail).unwrap();
    assert!(applied.warnings.is_empty());
    let plain = transform(FILE.as_bytes(), "T", b"<configuration/>", OnWarning::Fail).unwrap();
    assert_eq!(plain.bytes, None);
    assert!(plain.set.is_empty());
}

#[test]
fn arguments_are_split_outside_of_parentheses() {
    let split = super::directive::split;
    assert_eq!(split(" a "), [" a "]);
    assert_eq!(split("a, b"), ["a", "b"]);
    assert_eq!(split("concat(a, b), c"), ["concat(a, b)", "c"]);
    assert_eq!(split("(a, b"), ["(a, b"]);
}
