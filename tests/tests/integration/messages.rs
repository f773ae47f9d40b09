//! What a script says beside its lines: progress, highlights, output variables; and what it cannot be
//! made to say by what it prints.

use serde_json::Value;

use crate::fleet::{Fleet, quoted};

/// `setVariable` of the name `Answer`, as a stranger would print it; the value is `forged`.
const FORGED: &str = "##octopus[setVariable name='QW5zd2Vy' value='Zm9yZ2Vk']";

#[tokio::test]
async fn output_cannot_forge_a_message_where_the_step_forbids_it() {
    let fleet = Fleet::new(1).await;
    let say = format!("mantle_set Answer 'its own'\necho \"{FORGED}\"");
    let read = "echo \"the answer is #{Octopus.Action[Say].Output.Answer}\"";
    for (project, allowed, expected) in [("closed", "false", "its own"), ("open", "true", "forged")]
    {
        let process = format!(
            "  - {{ step: Say, targets: {{ tag: web }}, uses: script, with: {{ run: {}, service_messages: {allowed} }} }}
  - {{ step: Read, targets: {{ tag: web }}, uses: script, with: {{ run: {}, substitute: true }} }}
",
            quoted(&say),
            quoted(read)
        );
        fleet.release(project, &process).await;
        let output = fleet.deploy(project).await.ok();
        let said = |text: &str| output.stderr.contains(text);
        assert!(said(&format!("| the answer is {expected}")), "{output}");
        assert_eq!(said(&format!("| {FORGED}")), allowed == "false", "{output}");
        assert_eq!(said("did not allow it"), allowed == "false", "{output}");
    }
}

#[tokio::test]
async fn progress_and_highlights_reach_those_who_watch_and_the_summary() {
    let fleet = Fleet::new(1).await;
    let script = "mantle_progress 40 'copying'
write_highlight 'see http://shop.test'
echo usual
write_warning ''
echo \"##octopus[setVariable name='!' value='']\"
mantle_progress 100";
    let process = format!(
        "  - {{ step: Say, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(script)
    );
    fleet.release("shop", &process).await;
    let output = fleet.deploy("shop").await.ok();
    for part in [
        "web01 › Say | 40 % copying",
        "web01 › Say | ★ see http://shop.test",
        "web01 › Say | 100 %",
        "  ★ web01 › Say: see http://shop.test",
        "setVariable: the value of 'name' is not base64",
    ] {
        assert!(output.stderr.contains(part), "{part}\n{output}");
    }
    // The message that is damaged is a warning in the log, and so one of the task.
    let over = fleet.server.json(&["task", "show", "T-1"]).await;
    assert_eq!(over["warnings"], true, "{over}");
    assert_eq!(over["warned"][0]["action"], "Say", "{over}");
    // One without words says at least where it came from.
    let wordless = "warning: web01 › Say: step 1 printed a warning without text";
    assert!(output.stderr.contains(wordless), "{output}");
    let logs = fleet
        .server
        .ok(&["task", "logs", "T-1", "-o", "json"])
        .await;
    let percents: Vec<u64> = logs
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["percent"].as_u64())
        .collect();
    assert_eq!(percents, [40, 100]);
    let shown = fleet.server.json(&["task", "show", "T-1"]).await;
    assert_eq!(shown["highlights"][0]["text"], "see http://shop.test");
    assert_eq!(shown["highlights"][0]["target"], "web01");
}
