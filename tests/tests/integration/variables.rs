//! Variable sets, prompts and explanations through the real binaries.

use mantle_tests::pty::Pty;

use crate::fleet::{Fleet, SOON, project_of};

const SHOP: &str = "  - step: say
    targets: { tag: web }
    uses: script
    with: { run: 'echo \"sender $(mantle_get Sender) ticket $(mantle_get Ticket) pin $(mantle_get Pin) by $(mantle_get Octopus.Deployment.CreatedBy.Username)\"' }
    secrets: [Pin]
";
const VARIABLES: &str = "include: mail
variables:
  Ticket: { prompt: { label: Change ticket, required: true } }
  Pin: { prompt: { control: sensitive, required: true } }
";
const MAIL: &str = "mantle: v1
variable_set: mail
variables:
  Sender: \"shop@#{Domain}\"
  Domain:
    - { value: test.example, environment: test }
    - { value: example }
";

fn shop() -> String {
    project_of("shop", SHOP).replace("process:", &format!("{VARIABLES}process:"))
}

#[tokio::test]
async fn a_deployment_uses_sets_and_answers_and_nobody_sees_the_secret_one() {
    let fleet = Fleet::new(1).await;
    fleet.apply("mail", MAIL).await;
    fleet.apply("shop", &shop()).await;
    fleet.server.ok(&["release", "create", "shop", "1.0"]).await;
    // The release keeps the set as it was.
    let changed = MAIL.replace("test.example", "other.example");
    fleet.apply("mail", &changed).await;

    let deploy = ["deploy", "shop", "1.0", "-e", "test"];
    fleet.server.run(&deploy).await.exit(6).complains(&[
        "Ticket (Change ticket) and Pin",
        "--variable 'Ticket=VALUE'",
    ]);
    let answered = [
        "--variable",
        "Change ticket=CR-7 #{Pin}",
        "--variable-file",
        "Pin=-",
    ];
    let args = [&deploy[..], &answered].concat();
    let plan = [&["plan"], &args[1..]].concat();
    let planned = fleet
        .server
        .cli()
        .run_with_input(&plan, b"s3cr3t-pin\n")
        .await;
    assert!(!planned.ok().to_string().contains("s3cr3t-pin"));
    let deployed = fleet
        .server
        .cli()
        .run_with_input(&args, b"s3cr3t-pin\n")
        .await;
    let deployed = deployed.ok();
    assert!(!deployed.to_string().contains("s3cr3t-pin"), "{deployed}");
    let log = fleet.log("T-1").await;
    let line = log.iter().find(|line| line.text.starts_with("sender "));
    let text = &line.unwrap_or_else(|| panic!("{log:?}")).text;
    assert!(
        text.starts_with("sender shop@test.example ticket CR-7 #{Pin} pin "),
        "{text}"
    );
    assert!(!text.contains("s3cr3t-pin"), "{text}");
    assert!(!text.ends_with("by "), "{text}");
    let audit = fleet.server.json(&["audit", "list", "-n", "100"]).await;
    let audit = audit.to_string();
    assert!(audit.contains("CR-7") && !audit.contains("s3cr3t-pin"));
}

#[tokio::test]
async fn variables_are_listed_explained_compared_and_changed() {
    let fleet = Fleet::new(1).await;
    fleet.apply("mail", MAIL).await;
    fleet.apply("shop", &shop()).await;
    fleet.server.ok(&["release", "create", "shop", "1.0"]).await;
    let run = async |args: &str| {
        let args: Vec<&str> = args.split(' ').collect();
        fleet.server.run(&args).await
    };
    let explained = run("variable explain Sender -p shop -e test --target web01")
        .await
        .ok();
    for part in [
        "* shop@#{Domain}",
        "Sender = shop@test.example",
        "  Domain = test.example",
        "set 'mail', environment test",
    ] {
        assert!(explained.stdout.contains(part), "{part}\n{explained}");
    }
    assert!(!explained.stdout.contains("on web01"), "{explained}");
    run("variable set Domain=own.example -p shop --target web01")
        .await
        .ok();
    let without = run("variable explain Sender -p shop -e test").await.ok();
    let elsewhere = "on web01: shop@#{Domain} = shop@own.example";
    assert!(without.stdout.contains(elsewhere), "{without}");
    run("variable unset Domain -p shop --target web01")
        .await
        .ok();
    // Two tags of one target make two values tie: files are refused, the hand is warned, and a plan
    // that needs the value is refused.
    for tag in ["blue", "green"] {
        let set = format!("variable set Sender={tag} -p shop --tag {tag}");
        run(&set).await.ok();
    }
    let said = ["'Sender'", "tag blue", "tag green"];
    let warned = run("target tag web01 blue green").await.ok();
    warned.complains(&said).complains(&["project 'shop'"]);
    let created = run("release create shop 1.1").await.ok();
    created.complains(&said);
    let plan = "plan shop 1.1 -e test --variable Ticket=1 --variable Pin=2";
    run(plan).await.exit(7).complains(&said);
    run("target untag web01 green").await.ok();
    run(plan).await.ok();
    let tagged = fleet.world.file(
        "tagged.yaml",
        "mantle: v1\ntargets: [{ name: web01, tags: [web, blue, green], environments: [test, production] }]\n",
    );
    let tagged = format!("apply --yes -f {}", tagged.display());
    let refused = run(&tagged).await.exit(7).complains(&said);
    refused.complains(&["tagged.yaml:2:", "'web01'", "project 'shop'"]);
    for tag in ["blue", "green"] {
        let unset = format!("variable unset Sender -p shop --tag {tag}");
        run(&unset).await.ok();
    }
    let listed = run("variable list -p shop -e test -e production")
        .await
        .ok();
    assert!(listed.stdout.contains("asks for Change ticket"), "{listed}");
    let both = "shop@#{Domain} = shop@test.example";
    assert!(listed.stdout.contains(both), "{listed}");
    let differs = run("variable diff -p shop -e test -e production")
        .await
        .ok();
    // What comes of a template counts as well, and both are shown.
    for part in ["test.example", "shop@#{Domain} = shop@test.example"] {
        assert!(differs.stdout.contains(part), "{part}\n{differs}");
    }
    assert!(!differs.stdout.contains("Ticket"), "{differs}");

    let set = run("variable set Domain=own.example -p shop -e test")
        .await
        .ok();
    assert!(set.stdout.contains("+ variable Domain"), "{set}");
    let own = run("variable explain Domain -p shop -e test").await.ok();
    assert!(own.stdout.contains("Domain = own.example"), "{own}");
    let before = run("variable explain Domain -p shop -e test --release 1.0")
        .await
        .ok();
    assert!(before.stdout.contains("Domain = test.example"), "{before}");
    run("variable unset Domain -p shop -e test").await.ok();
    run("variable explain Domian -p shop -e test")
        .await
        .exit(5)
        .complains(&["Domian", "Domain"]);
    run("variable set Domain=x -p shop -e tset")
        .await
        .exit(7)
        .complains(&["tset", "test"]);
    let sets = run("variable-set list").await.ok();
    assert!(
        sets.stdout.contains("mail") && sets.stdout.contains("shop"),
        "{sets}"
    );
    run("variable-set show mail").await.ok();
}

#[tokio::test]
async fn files_are_begun_checked_and_pruned() {
    let fleet = Fleet::server_only(&[]).await;
    let file = fleet.world.path("begun.yaml").display().to_string();
    let run = async |args: &[&str]| fleet.server.run(args).await;
    run(&[
        "init",
        "begun",
        "--template",
        "website-rolling",
        "--to",
        &file,
    ])
    .await
    .ok();
    run(&["init", "begun", "--to", &file]).await.exit(6);
    run(&["validate", &file]).await.ok();
    run(&["apply", "--yes", "-f", &file]).await.ok();
    let wrong = fleet
        .world
        .file("wrong.yaml", "mantle: v1\nproject: begun\nvariabels: {}\n");
    let wrong = wrong.display().to_string();
    let offline = run(&["validate", &wrong]).await.exit(7);
    let online = run(&["apply", "-f", &wrong]).await.exit(7);
    let place = "wrong.yaml:3:1: unknown key 'variabels'";
    assert!(
        offline.stderr.contains(place) && online.stderr.contains(place),
        "{offline}{online}"
    );

    let other = fleet
        .world
        .file("other.yaml", "mantle: v1\nproject: other\n");
    let other = other.display().to_string();
    let infrastructure = fleet
        .world
        .path("infrastructure.yaml")
        .display()
        .to_string();
    let prune = ["apply", "--prune", "-f", &other, &infrastructure];
    // Nobody can be asked here.
    let unasked = run(&["apply", "-f", &other]).await;
    unasked.exit(2).complains(&["nothing was applied", "--yes"]);
    run(&prune).await.exit(2).complains(&["--yes"]);
    let pruned = run(&[&prune[..], &["--yes"]].concat()).await.ok();
    assert!(pruned.stdout.contains("- project begun"), "{pruned}");
    let projects = fleet.server.json(&["project", "list"]).await;
    assert_eq!(projects["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn folders_within_folders_are_applied_and_changed_files_are_not_written_over_unasked() {
    let fleet = Fleet::server_only(&[]).await;
    let run = async |args: &[&str]| fleet.server.run(args).await;
    for (name, text) in [
        ("all/one.yaml", "mantle: v1\nproject: one\n"),
        ("all/team/two.yml", "mantle: v1\nproject: two\n"),
        (
            "all/team/deep/er/three.yaml",
            "mantle: v1\nproject: three\n",
        ),
        ("all/.git/config.yaml", "not: ours\n"),
        ("all/team/README.md", "not YAML: [\n"),
    ] {
        fleet.world.file(name, text);
    }
    let folder = fleet.world.path("all");
    std::os::unix::fs::symlink(&folder, folder.join("team/up")).unwrap();
    let shown = folder.display().to_string();
    run(&["validate", &shown]).await.ok();
    let applied = run(&["apply", "--yes", "-f", &shown]).await.ok();
    for name in ["one", "two", "three"] {
        let line = format!("+ project {name}");
        assert!(applied.stdout.contains(&line), "{applied}");
    }
    applied.complains(&["team/up is a link to a folder"]);

    let to = fleet.world.path("out").display().to_string();
    let export = ["export", "--to", &to];
    run(&export).await.ok().complains(&["wrote", "three.yaml"]);
    let again = run(&export).await.ok();
    let again = again.complains(&["three.yaml is the same already"]);
    assert!(!again.stderr.contains("wrote"), "{again}");
    let file = fleet.world.path("out/two.yaml");
    let written = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "mine\n").unwrap();
    std::fs::remove_file(fleet.world.path("out/one.yaml")).unwrap();
    let refused = run(&export).await.exit(6);
    refused.complains(&["two.yaml", "nothing was written", "--force"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine\n");
    assert!(!fleet.world.path("out/one.yaml").exists(), "not even those");
    run(&[&export[..], &["--force"]].concat()).await.ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    run(&["apply", "--dry-run", "-f", &to])
        .await
        .ok()
        .complains(&["nothing to change"]);
    // Somebody at a terminal is asked.
    std::fs::write(&file, "mine\n").unwrap();
    let mut desk = Pty::start(&fleet.server.cli(), &export);
    desk.shows("two.yaml", SOON).await;
    desk.shows("write over 1 file", SOON).await;
    desk.types("n\n").await;
    assert_eq!(desk.ends(SOON).await, Some(20), "{}", desk.shown());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine\n");
}

const ASKS: &str = "variables:
  Ticket: { prompt: { label: Change ticket, description: Which change this is, required: true } }
  Mode: { prompt: { control: select, options: [fast, slow], default: slow } }
  Notify: { prompt: { control: checkbox } }
  Pin: { prompt: { control: sensitive, required: true } }
";
const TELLS: &str = "  - step: say
    targets: { tag: web }
    uses: script
    with: { run: 'echo \"ticket $(mantle_get Ticket) mode $(mantle_get Mode) notify $(mantle_get Notify) pin $(mantle_get Pin | wc -c) field $(mantle_get Octopus.Deployment.CustomFields[change]) of $(mantle_get Octopus.Release.CustomFields[pr])\"' }
    secrets: [Pin]
";

async fn asking() -> Fleet {
    let fleet = Fleet::new(1).await;
    let shop = project_of("shop", TELLS).replace("process:", &format!("{ASKS}process:"));
    fleet.apply("shop", &shop).await;
    let create = ["release", "create", "shop", "1.0", "--field", "pr:12"];
    fleet.server.ok(&create).await;
    fleet
}

#[tokio::test]
async fn who_deploys_at_a_terminal_is_asked_and_a_secret_is_not_seen() {
    let fleet = asking().await;
    let deploy = [
        "deploy",
        "shop",
        "1.0",
        "-e",
        "test",
        "--detach",
        "--field",
        "change=CR-9",
    ];
    let mut desk = Pty::start(&fleet.server.cli(), &deploy);
    desk.shows("Change ticket (Ticket, required)", SOON).await;
    desk.shows("Which change this is", SOON).await;
    desk.shows("> ", SOON).await;
    desk.types("\n").await;
    desk.shows("it is required", SOON).await;
    desk.shows("> ", SOON).await;
    desk.types("CR-7\n").await;
    desk.shows("2. slow", SOON).await;
    desk.shows("[slow]> ", SOON).await;
    desk.types("1\n").await;
    desk.shows("yes or no [False]> ", SOON).await;
    desk.types("y\n").await;
    desk.shows("not shown> ", SOON).await;
    desk.types("s3cr3t-pim\x7fn\n").await;
    assert_eq!(desk.ends(SOON).await, Some(0), "{}", desk.shown());
    // The terminal shows what is typed, but for the secret.
    let shown = desk.shown();
    assert!(shown.contains("> CR-7") && shown.contains("T-1"), "{shown}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
    fleet.task_is("T-1", "succeeded", SOON).await;
    let log = fleet.log("T-1").await;
    let said = "ticket CR-7 mode fast notify True pin 10 field CR-9 of 12";
    assert!(log.iter().any(|line| line.text == said), "{log:?}");
    let used = fleet.server.ok(&["deployment", "show", "T-1"]).await;
    assert!(used.stdout.contains("CR-9") && !used.stdout.contains("s3cr3t"));
    let task = fleet.server.ok(&["task", "show", "T-1"]).await;
    assert!(task.stdout.contains("field change: CR-9"), "{task}");
}

#[tokio::test]
async fn who_stops_answering_deploys_nothing_and_gets_the_terminal_back() {
    let fleet = asking().await;
    let deploy = [
        "deploy",
        "shop",
        "1.0",
        "-e",
        "test",
        "--detach",
        "--variable",
        "Ticket=CR-1",
    ];
    let mut desk = Pty::start(&fleet.server.cli(), &deploy);
    desk.shows("[slow]> ", SOON).await;
    desk.types("\n").await;
    desk.shows("yes or no", SOON).await;
    desk.types("\n").await;
    desk.shows("not shown> ", SOON).await;
    desk.types("s3cr3t\x03").await;
    assert_eq!(desk.ends(SOON).await, Some(20), "{}", desk.shown());
    let shown = desk.shown();
    assert!(
        shown.contains("nothing was deployed") && shown.contains("'Pin'"),
        "{shown}"
    );
    assert!(!shown.contains("s3cr3t") && !shown.contains("Change ticket"));
    let tasks = fleet.server.json(&["task", "list"]).await;
    assert_eq!(tasks["items"], serde_json::json!([]));
    // Without a terminal, or if nothing is to be asked, what is missing is refused.
    let refused = fleet.server.run(&deploy).await.exit(6);
    refused.complains(&["Pin", "--variable"]);
    let mut desk = Pty::start(
        &fleet.server.cli(),
        &[&deploy[..], &["--defaults"]].concat(),
    );
    assert_eq!(desk.ends(SOON).await, Some(6), "{}", desk.shown());
    // What is answered is not asked.
    let all = [&deploy[..], &["--variable", "Pin=abc", "--defaults"]].concat();
    let mut desk = Pty::start(&fleet.server.cli(), &all);
    assert_eq!(desk.ends(SOON).await, Some(0), "{}", desk.shown());
    fleet.task_is("T-1", "succeeded", SOON).await;
}
