//! HTTP: one file a resource, each handler extracts, authorises, calls a service and shapes.
//!
//! Authentication surrounds the whole of `/api`: a route that nobody thought of is closed. Open are
//! only the two of health, the schema, and what a machine fetches before it joins (`install`).

#![expect(
    unused_qualifications,
    reason = "the macro that describes handlers names the types of their queries in full"
)]

mod agents;
mod api_keys;
mod artifacts;
mod attachment;
mod audit;
pub mod body;
#[cfg(test)]
mod collision_tests;
mod declared;
mod deployments;
mod error;
mod extract;
mod health;
mod install;
mod interruptions;
mod layers;
mod locks;
mod packages;
pub mod problem;
mod releases;
mod secrets;
mod server;
mod targets;
mod tasks;
mod teams;
#[cfg(test)]
mod tests;
mod variables;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder, SecurityRequirement};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::error::ApiError;
pub(crate) use self::error::chain as error_chain;
use crate::services::Services;

/// Project files are texts of people; nothing in JSON comes near this.
const MOST_JSON_BYTES: usize = 16 * 1024 * 1024;
/// One piece of an upload. The client sends smaller ones.
const MOST_PIECE_BYTES: usize = 256 * 1024 * 1024;

/// Everything that HTTP answers.
pub fn router(services: Services) -> Router {
    let (api, document) = resources().split_for_parts();
    let document = axum::Json(describe(document));
    let api = api
        .route("/openapi.json", get(move || async move { document }))
        .method_not_allowed_fallback(error::no_method)
        .fallback(error::no_route);
    let v1 = Router::new()
        .nest("/api/v1", api)
        .fallback(error::no_route)
        .layer(from_fn_with_state(services.clone(), layers::authenticate))
        .with_state(services.clone());
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/schema/v1/project.json", get(schema))
        .route("/install/agent.sh", get(install::script))
        .route("/install/{name}", get(install::program))
        .with_state(services)
        .fallback_service(v1)
        .layer(from_fn(layers::deadline))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn(layers::name_and_log))
}

/// The description of the API.
pub fn openapi() -> OpenApi {
    describe(resources().into_openapi())
}

fn resources() -> OpenApiRouter<Services> {
    let uploads = OpenApiRouter::new()
        .routes(routes!(packages::upload_show, packages::upload_append))
        .layer(DefaultBodyLimit::max(MOST_PIECE_BYTES));
    OpenApiRouter::with_openapi(OpenApiBuilder::new().build())
        .routes(routes!(server::show))
        .routes(routes!(server::status))
        .routes(routes!(server::recover))
        .routes(routes!(api_keys::list, api_keys::create))
        .routes(routes!(api_keys::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(audit::verify))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::set, secrets::delete))
        .routes(routes!(declared::apply))
        .routes(routes!(declared::export))
        .routes(routes!(declared::environments))
        .routes(routes!(declared::lifecycles))
        .routes(routes!(declared::lifecycle))
        .routes(routes!(declared::projects))
        .routes(routes!(declared::project))
        .routes(routes!(variables::list))
        .routes(routes!(
            variables::explain,
            variables::put,
            variables::remove
        ))
        .routes(routes!(variables::sets))
        .routes(routes!(variables::set))
        .routes(routes!(targets::list))
        .routes(routes!(targets::show, targets::remove))
        .routes(routes!(targets::tag))
        .routes(routes!(targets::enable))
        .routes(routes!(targets::maintenance))
        .routes(routes!(targets::disable))
        .routes(routes!(health::list))
        .routes(routes!(health::show))
        .routes(routes!(health::run))
        .routes(routes!(agents::list))
        .routes(routes!(agents::revoke))
        .routes(routes!(agents::token_list, agents::token_create))
        .routes(routes!(agents::token_revoke))
        .routes(routes!(agents::install_command))
        .routes(routes!(packages::list))
        .routes(routes!(packages::versions))
        .routes(routes!(packages::show, packages::delete))
        .routes(routes!(packages::verify))
        .routes(routes!(packages::download))
        .routes(routes!(packages::collect))
        .routes(routes!(packages::upload_create))
        .routes(routes!(packages::upload_finish))
        .routes(routes!(releases::list, releases::create))
        .routes(routes!(releases::show))
        .routes(routes!(releases::edit))
        .routes(routes!(releases::block))
        .routes(routes!(releases::unblock))
        .routes(routes!(releases::refresh_variables))
        .routes(routes!(releases::revert_variables))
        .routes(routes!(releases::diff))
        .routes(routes!(releases::drift))
        .routes(routes!(releases::changes))
        .routes(routes!(deployments::manifest))
        .routes(routes!(deployments::diff))
        .routes(routes!(deployments::retention))
        .routes(routes!(deployments::plan))
        .routes(routes!(deployments::prompts))
        .routes(routes!(deployments::create))
        .routes(routes!(deployments::status))
        .routes(routes!(interruptions::list))
        .routes(routes!(interruptions::show))
        .routes(routes!(interruptions::take))
        .routes(routes!(interruptions::answer))
        .routes(routes!(teams::list))
        .routes(routes!(teams::add))
        .routes(routes!(teams::remove))
        .routes(routes!(locks::list))
        .routes(routes!(locks::break_one))
        .routes(routes!(tasks::list))
        .routes(routes!(tasks::queue))
        .routes(routes!(tasks::move_to_top))
        .routes(routes!(tasks::show))
        .routes(routes!(tasks::cancel))
        .routes(routes!(tasks::resolve))
        .routes(routes!(tasks::events))
        .routes(routes!(tasks::events_stream))
        .routes(routes!(tasks::log))
        .routes(routes!(tasks::log_stream))
        .routes(routes!(artifacts::list))
        .routes(routes!(artifacts::download))
        .layer(from_fn(layers::try_again))
        .layer(DefaultBodyLimit::max(MOST_JSON_BYTES))
        .merge(uploads)
}

fn describe(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("Mantle")
        .description(Some(
            "Deploys software. Every refusal is an application/problem+json document with a \
             stable code.",
        ))
        .version("v1")
        .build();
    let paths = std::mem::take(&mut document.paths.paths);
    let prefixed = paths
        .into_iter()
        .map(|(path, item)| (format!("/api/v1{path}"), item));
    document.paths.paths = prefixed.collect();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "key",
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
    );
    document.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    document
}

/// The process lives.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The JSON schema of project files. Open: an editor has no key, and it says nothing of this server.
async fn schema() -> axum::Json<serde_json::Value> {
    axum::Json(mantle_domain::file::schema())
}

/// The process can work: its database answers.
async fn readyz(
    axum::extract::State(services): axum::extract::State<Services>,
) -> error::ApiResult<&'static str> {
    services.ready().await?;
    Ok("ready\n")
}
