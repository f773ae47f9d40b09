//! Deploys without a pause, and looks at each task when it is over.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mantle::api::body::DeploymentCreate;
use mantle::client::Client;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use super::workload::{ENVIRONMENTS, PROJECTS, VERSIONS};
use super::{Shared, collect, person};
use crate::checker::Survivor;

/// So many tasks are queued or under way at once.
const OPEN_TASKS: usize = 5;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Worked {
    /// Processes that outlived their tasks.
    pub(super) survivors: Vec<Survivor>,
    /// How each task stood when it was first seen to be over.
    pub(super) verdicts: BTreeMap<String, String>,
    /// Questions that were answered.
    pub(super) answers: u64,
    /// Attempts of which a person said how they ended.
    pub(super) resolutions: u64,
    /// Tasks that are over, of which somebody may still say something.
    lately: VecDeque<String>,
}

/// Deploys until the run is over and every task is, or `patience` after the run is over has passed.
pub(super) async fn deploy(
    client: Client,
    shared: Arc<Shared>,
    steps: PathBuf,
    seed: u64,
    patience: Duration,
) -> Worked {
    let mut dice = StdRng::seed_from_u64(seed ^ 0x5eed);
    // Of its own, so that what is asked changes nothing about what is deployed.
    let mut whims = StdRng::seed_from_u64(seed ^ 0x9e4a);
    let mut worked = Worked::default();
    let mut give_up = None;
    loop {
        look(&client, &shared, &steps, &mut whims, &mut worked).await;
        person::answer(&client, &mut whims, &mut worked).await;
        if shared.is_over() {
            let now = tokio::time::Instant::now();
            let until = *give_up.get_or_insert(now + patience);
            if shared.open.lock().unwrap().is_empty() || now >= until {
                return worked;
            }
        } else {
            let open = shared.open.lock().unwrap().len();
            // Drawn also when there is no room, so that the order of the deployments is the seed's.
            if open < OPEN_TASKS {
                let what = choose(&mut dice);
                // A server that is down takes nothing; a task whose answer was lost is found later.
                if let Ok(task) = client.deploy(&what).await {
                    shared.open.lock().unwrap().push(task.number);
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn choose(dice: &mut StdRng) -> DeploymentCreate {
    let total: u32 = PROJECTS.iter().map(|project| project.weight).sum();
    let mut at = dice.random_range(0..total);
    let mut chosen = &PROJECTS[0];
    for project in PROJECTS {
        chosen = project;
        if at < project.weight {
            break;
        }
        at -= project.weight;
    }
    let version = VERSIONS[dice.random_range(0..VERSIONS.len())];
    let environment = ENVIRONMENTS[dice.random_range(0..ENVIRONMENTS.len())];
    let body = json!({
        "project": chosen.name,
        "version": version,
        "environment": environment,
    });
    serde_json::from_value(body).expect("what asks for a deployment")
}

/// Takes out what is over, and looks whether its processes are gone.
async fn look(
    client: &Client,
    shared: &Shared,
    steps: &std::path::Path,
    whims: &mut StdRng,
    worked: &mut Worked,
) {
    let open = shared.open.lock().unwrap().clone();
    for number in open {
        let Ok(task) = client.task(&number).await else {
            return;
        };
        person::resolve(client, shared, &task, whims, worked).await;
        if !task.task.state.is_over() {
            continue;
        }
        worked.survivors.extend(collect::survivors(steps, &number));
        shared.open.lock().unwrap().retain(|open| *open != number);
        let verdict = task.task.state.as_str().to_owned();
        worked.verdicts.insert(number.clone(), verdict);
        worked.lately.push_back(number);
    }
    // One of those that are over, in turn: their verdicts stand, whatever is said.
    if let Some(number) = worked.lately.front().cloned()
        && let Ok(task) = client.task(&number).await
    {
        worked.lately.pop_front();
        if !task.unresolved.is_empty() {
            person::resolve(client, shared, &task, whims, worked).await;
            worked.lately.push_back(number);
        }
    }
}
