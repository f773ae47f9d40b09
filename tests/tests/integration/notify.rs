//! `notify`: webhooks, chats and mail, from the server's own worker.

use mantle_tests::receivers::{Line, MailServer, Webhook};
use mantle_tests::wait::wait_for;

use crate::fleet::{Fleet, QUICK, SOON};

/// A server with its worker and one web server.
async fn with_worker() -> Fleet {
    let env = [QUICK, &[("MANTLE_WORKER", "beside")]].concat();
    let mut fleet = Fleet::server_only(&env).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    fleet.server.target_is("server-worker", true, SOON).await;
    fleet
}

async fn secret(fleet: &Fleet, path: &str, value: &str) {
    let cli = fleet.server.cli();
    let set = ["secret", "set", path];
    cli.run_with_input(&set, value.as_bytes()).await.ok();
}

/// A step that ends with this code, and one that tells how it went by what stands in `with`.
fn process(code: u8, with: &str) -> String {
    format!(
        "  - {{ step: Work, targets: {{ tag: web }}, uses: script, with: {{ run: \"exit {code}\" }} }}\n  - step: Tell the team\n    run: always\n    uses: notify\n    with:\n      text: \"site #{{Octopus.Release.Number}}: #{{Octopus.Deployment.Status}}#{{if Octopus.Deployment.Error}}, #{{Octopus.Deployment.Error}}#{{/if}}\"\n{with}"
    )
}

#[tokio::test]
async fn a_webhook_is_told_of_success_and_failure_and_its_address_is_in_no_log() {
    let fleet = with_worker().await;
    let hook = Webhook::start(1).await;
    secret(&fleet, "team/hook", &hook.url("/services/T0-s3cr3t")).await;
    secret(&fleet, "team/key", "a key to sign with").await;
    let with = "      webhook: { secret: team/hook }\n      sign: { secret: team/key }\n      slack: \"#{Chat}\"\n";
    let chat = hook.url("/chat");
    let text = |code: u8| {
        let project = crate::fleet::project_of("site", &process(code, with));
        format!("{project}variables:\n  Chat: {chat}\n")
    };
    fleet.apply("site", &text(0)).await;
    fleet.server.ok(&["release", "create", "site", "1.0"]).await;
    fleet.deploy("site").await.ok();
    let first = hook.first_at("/services/T0-s3cr3t", SOON).await;
    assert_eq!(first.body["text"], "site 1.0: Success", "{first:?}");
    assert_eq!(first.body["task"], "T-1");
    assert_eq!(first.body["environment"], "test");
    assert!(first.headers["mantle-signature"].starts_with("sha256="));
    assert_eq!(first.body["delivery"], first.headers["mantle-delivery"]);
    let chat = hook.first_at("/chat", SOON).await;
    assert_eq!(chat.body["text"], "site 1.0: Success");
    let log = fleet.log("T-1").await;
    let said: Vec<&str> = log
        .iter()
        .filter(|line| line.action == "Tell the team")
        .map(|line| line.text.as_str())
        .collect();
    assert!(
        said.iter()
            .any(|line| line.contains("503") && line.contains("trying again")),
        "{said:?}"
    );
    assert!(said.contains(&"webhook at 127.0.0.1: 200 OK"), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("s3cr3t")), "{said:?}");

    // A deployment that failed says so, and stays failed.
    fleet.apply("site", &text(3)).await;
    fleet.server.ok(&["release", "create", "site", "2.0"]).await;
    let failed = ["deploy", "site", "2.0", "-e", "test"];
    fleet.server.run(&failed).await.exit(3);
    let told = hook.at("/services/T0-s3cr3t");
    assert_eq!(told.len(), 2, "{told:?}");
    let text = told[1].body["text"].as_str().unwrap();
    assert_eq!(
        text,
        "site 2.0: Failed, 'Work' failed on web01: the script ended with exit code 3"
    );
}

#[tokio::test]
async fn a_message_that_nobody_takes_fails_its_step_or_warns_as_the_file_says() {
    let fleet = with_worker().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}/hook", free.local_addr().unwrap());
    drop(free);
    let with = |more: &str| format!("      webhook: {gone}\n      within: 2s\n{more}");
    fleet.release("strict", &process(0, &with(""))).await;
    fleet
        .deploy("strict")
        .await
        .exit(3)
        .complains(&["webhook at 127.0.0.1", "refused"]);
    let lenient = with("      ignore_failure: true\n");
    fleet.release("lenient", &process(0, &lenient)).await;
    let deployed = fleet.deploy("lenient").await.ok();
    assert!(
        deployed.stdout.contains("warning") || deployed.stderr.contains("warning"),
        "{deployed}"
    );
}

#[tokio::test]
async fn mail_goes_by_a_real_server_over_every_kind_of_line() {
    let fleet = with_worker().await;
    secret(&fleet, "mail/password", "s3cret-mail").await;
    secret(&fleet, "mail/wrong", "another").await;
    for (line, security) in [
        (Line::Plain, "none"),
        (Line::StartTls, "starttls"),
        (Line::Tls, "tls"),
    ] {
        let mail = MailServer::start(&fleet.world, line).await;
        let letter = |password: &str| {
            let login = match line {
                Line::Plain => String::new(),
                _ => format!(
                    "        user: mantle\n        password: {{ secret: {password} }}\n        insecure: true\n"
                ),
            };
            format!(
                "      title: \"Grüße aus #{{Octopus.Environment.Name}}\"\n      email:\n        server: {}\n        from: Mantle <mantle@example.com>\n        to: [one@example.com, \"Zwei <two@example.com>\"]\n        bcc: unseen@example.com\n        html: \"<b>done</b>\"\n        priority: high\n        security: {security}\n{login}",
                mail.address()
            )
        };
        let project = format!("mail-{security}");
        fleet
            .release(&project, &process(0, &letter("mail/password")))
            .await;
        fleet.deploy(&project).await.ok();
        let letters = wait_for("a letter", SOON, || async {
            match mail.letters() {
                letters if letters.is_empty() => Err("none".to_owned()),
                letters => Ok(letters),
            }
        })
        .await;
        assert_eq!(letters.len(), 1, "{letters:?}");
        let letter_text = &letters[0];
        for part in [
            "From: Mantle <mantle@example.com>",
            "one@example.com, Zwei <two@example.com>",
            // UTF-8 in base64, as headers have it.
            "Subject: =?utf-8?b?",
            "X-Priority: 1",
            "site 1.0: Success",
            "<b>done</b>",
            "@mantle>",
        ] {
            assert!(letter_text.contains(part), "{part}\n{letter_text}");
        }
        let rcpt = letter_text
            .lines()
            .find(|line| line.starts_with("X-RcptTo:"));
        assert!(
            rcpt.is_some_and(|line| line.contains("unseen@")),
            "{letter_text}"
        );
        assert!(!letter_text.contains("\nBcc:"), "{letter_text}");
        let secured = if line == Line::Plain {
            "X-Tls: no"
        } else {
            "X-Tls: yes"
        };
        assert!(letter_text.contains(secured), "{letter_text}");
        if line == Line::Plain {
            continue;
        }
        // A wrong password is said at once, and not the password.
        let project = format!("wrong-{security}");
        fleet
            .release(&project, &process(0, &letter("mail/wrong")))
            .await;
        let refused = fleet.deploy(&project).await.exit(3);
        refused.complains(&["mail by 127.0.0.1", "535"]);
        assert_eq!(mail.letters().len(), 1);
    }
}
