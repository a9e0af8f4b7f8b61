//! `/api/v1/openapi.json`: what there is, as OpenAPI 3.1 describes it, made from the types that are served.

use axum::extract::State;
use axum::response::Response;
use streamdb_query::{ObjectLine, StreamRow};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem};
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Content as Body, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, ResponseBuilder, Schema, Server,
};
use utoipa::{PartialSchema, ToSchema};

use super::accept::Shape;
use super::content::Content;
use super::find::Kind;
use super::lines::LastLine;
use super::page::{Page, json};
use super::parameters;
use super::problem::{MEDIA_TYPE, Problem};
use crate::app::App;
use crate::auth::SESSION;

const ABOUT: &str = "\
Streams and the objects in them, as rows. The parameters are those of the command line and of /streamdb/; all of them have to \
hold, and with none everything is listed, the oldest first. A list goes on with `after`: each page says in `next` what to \
give there, and no row comes twice or is left out, whatever is captured meanwhile. What a row names by its `oid` is to be had \
at /streamdb/?oid=... Errors are application/problem+json.";

const LINES: &str = "\
A row a line, as rows are found, each as in `rows` of application/json. The last line is of the schema LastLine; an answer \
without it is not whole.";

/// Answers a request.
pub(super) async fn answer(State(app): State<App>) -> Response {
    json(&document(!app.settings().tokens.is_empty()))
}

/// The description, of a server with tokens or without.
fn document(tokens: bool) -> OpenApi {
    let paths = PathsBuilder::new()
        .path("/streams", list(Kind::Streams, reference::<Page<StreamRow>>()))
        .path("/objects", list(Kind::Objects, reference::<Page<ObjectLine<'static>>>()))
        .path("/objects/{sha256}", content());
    let components = ComponentsBuilder::new()
        .schema_from::<Page<StreamRow>>()
        .schema_from::<Page<ObjectLine<'static>>>()
        .schema_from::<Content<ObjectLine<'static>>>()
        .schema_from::<LastLine>()
        .schema_from::<Problem>();
    let info = InfoBuilder::new().title("StreamDB").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT));
    let document = OpenApiBuilder::new().info(info).servers(Some([Server::new(super::ROOT)])).paths(paths);
    if !tokens {
        return document.components(Some(components.build())).build();
    }
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token with the role read."));
    let session = ApiKeyValue::with_description(SESSION, "A browser's session, from /login.");
    let components = components
        .security_scheme("token", SecurityScheme::Http(bearer.build()))
        .security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    let either = ["token", "session"].map(|name| SecurityRequirement::new(name, [""; 0]));
    document.components(Some(components.build())).security(Some(either)).build()
}

fn list(kind: Kind, page: RefOr<Schema>) -> PathItem {
    let (word, summary) = match kind {
        Kind::Streams => ("listStreams", "Streams: the bytes of one direction of a connection each"),
        Kind::Objects => ("listObjects", "Objects: messages and files found in streams"),
    };
    let line = ObjectBuilder::new().schema_type(Type::String).description(Some(LINES)).build();
    let rows = ResponseBuilder::new()
        .description(format!("The {} that were found.", kind.word()))
        .content(Shape::Json.media_type(), Body::new(Some(page)))
        .content(Shape::Lines.media_type(), Body::new(Some(line)));
    let operation = OperationBuilder::new()
        .operation_id(Some(word))
        .summary(Some(summary))
        .parameters(Some(parameters::all()))
        .response("200", rows);
    PathItem::new(HttpMethod::Get, problems(operation, &[400, 406]))
}

fn content() -> PathItem {
    let found = ResponseBuilder::new()
        .description("What the content is, how often it was seen, when, and between whom.")
        .content(Shape::Json.media_type(), Body::new(Some(reference::<Content<ObjectLine<'static>>>())));
    let operation = OperationBuilder::new()
        .operation_id(Some("getContent"))
        .summary(Some("Where a content was seen"))
        .parameters(Some([parameters::digest()]))
        .response("200", found);
    PathItem::new(HttpMethod::Get, problems(operation, &[400, 404, 406]))
}

/// The errors, those of this operation and those that every one has.
fn problems(operation: OperationBuilder, own: &[u16]) -> OperationBuilder {
    let general = [401, 403, 405, 421, 429, 500, 503];
    own.iter().chain(&general).fold(operation, |operation, status| {
        let problem = ResponseBuilder::new()
            .description(reason(*status))
            .content(MEDIA_TYPE, Body::new(Some(reference::<Problem>())));
        operation.response(status.to_string(), problem)
    })
}

const fn reason(status: u16) -> &'static str {
    match status {
        400 => "Something in the question is not understood: which parameter, what was given, and what is accepted.",
        401 => "A token is needed, or the one that was sent is not known.",
        403 => "The token does not have the role read.",
        404 => "Nothing with this digest was found.",
        405 => "What is here can be read and not changed.",
        406 => "The answer is to be had in none of the forms that the request accepts.",
        421 => "The server is not known by the name that the request was for.",
        429 => "Too many wrong tokens at once.",
        500 => "The store cannot be read.",
        _ => "The server is going down, or the search took too long to say that nothing is there.",
    }
}

fn reference<T: ToSchema + PartialSchema>() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(T::name()))
}
