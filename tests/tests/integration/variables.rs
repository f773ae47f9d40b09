//! Variable sets, prompts and explanations through the real binaries.

use crate::fleet::{Fleet, project_of};

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
    let listed = run("variable list -p shop -e test -e production")
        .await
        .ok();
    assert!(listed.stdout.contains("asks for Change ticket"), "{listed}");
    let differs = run("variable diff -p shop -e test -e production")
        .await
        .ok();
    assert!(
        differs.stdout.contains("test.example") && !differs.stdout.contains("Sender"),
        "{differs}"
    );

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
