//! `/api/v1/openapi.json`: what there is, as OpenAPI 3.1 describes it, made from the types that are served.

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use streamdb_query::{JoinLine, ObjectLine, StreamRow};
use utoipa::ToSchema;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Components, Content as Body, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, ResponseBuilder,
    Schema, Server,
};

use super::accept::Shape;
use super::content::Content;
use super::find::Kind;
use super::joins::JoinPage;
use super::lines::LastLine;
use super::page::{Page, json};
use super::parameters;
use super::problem::{MEDIA_TYPE, Problem};
use crate::answer::broken;
use crate::app::App;
use crate::auth::SESSION;

/// The schemas of rows, as those of pages name them.
const STREAM: &str = "StreamRow";
const OBJECT: &str = "ObjectLine";
const CONTENT: &str = "Content";
const JOINS: &str = "JoinPage";
const LAST_LINE: &str = "LastLine";
const PROBLEM: &str = "Problem";
const GET_CONTENT: &str = "getContent";

const ABOUT: &str = "\
Streams and the objects in them, as rows. The parameters are those of the command line and of /streamdb/; all of them have to \
hold, and with none everything is listed, the oldest first. A list goes on with `after`: each page says in `next` what to \
give there, and no row comes twice or is left out, whatever is captured meanwhile. What a row names by its `oid` is to be had \
at /streamdb/?oid=... Errors are application/problem+json.";

const LINES: &str = "\
A row a line, as rows are found, each as in `rows` of application/json. The last line is of the schema LastLine: it has \
no `oid`, and its `end` is an object. An answer without it is not whole.";

/// Answers a request.
pub(super) async fn answer(State(app): State<App>) -> Response {
    match serde_json::to_value(document(!app.settings().tokens.is_empty())) {
        Ok(mut document) => {
            forget_nulls(&mut document);
            json(&document)
        }
        Err(_) => broken(),
    }
}

/// The description, of a server with tokens or without.
fn document(tokens: bool) -> OpenApi {
    let paths = PathsBuilder::new()
        .path("/streams", list(Kind::Streams))
        .path("/objects", list(Kind::Objects))
        .path("/objects/{sha256}", content())
        .path("/objects/{sha256}/content", download())
        .path("/joins", joins());
    let mut components = Components::new();
    add::<StreamRow>(&mut components, STREAM);
    add::<ObjectLine<'static>>(&mut components, OBJECT);
    add::<Page<StreamRow>>(&mut components, Kind::Streams.page());
    add::<Page<ObjectLine<'static>>>(&mut components, Kind::Objects.page());
    add::<Content<ObjectLine<'static>>>(&mut components, CONTENT);
    add::<JoinPage<JoinLine>>(&mut components, JOINS);
    add::<LastLine>(&mut components, LAST_LINE);
    add::<Problem>(&mut components, PROBLEM);
    let info = InfoBuilder::new().title("StreamDB").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT));
    let document = OpenApiBuilder::new().info(info).servers(Some([Server::new(super::ROOT)])).paths(paths);
    if !tokens {
        return document.components(Some(components)).build();
    }
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token with the role read."));
    let session = ApiKeyValue::with_description(SESSION, "A browser's session, from /login.");
    components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    let either = ["token", "session"].map(|name| SecurityRequirement::new(name, [""; 0]));
    document.components(Some(components)).security(Some(either)).build()
}

/// Adds the schema of a type, and of those that are in it.
fn add<T: ToSchema>(components: &mut Components, name: &str) {
    let mut inner = Vec::new();
    T::schemas(&mut inner);
    components.schemas.extend(inner);
    components.schemas.insert(name.to_owned(), T::schema());
}

/// What is absent in an answer is left out; nothing is ever null, whatever the types could hold.
fn forget_nulls(value: &mut Value) {
    let is_null = |kind: &Value| *kind == "null" || kind.get("type").is_some_and(|kind| kind == "null");
    match value {
        Value::Object(fields) => {
            for name in ["type", "oneOf"] {
                let Some(Value::Array(kinds)) = fields.get_mut(name) else { continue };
                kinds.retain(|kind| !is_null(kind));
                if let [one] = kinds.as_mut_slice() {
                    let one = one.take();
                    fields.remove(name);
                    match one {
                        Value::Object(one) => fields.extend(one),
                        one => drop(fields.insert(name.to_owned(), one)),
                    }
                }
            }
            fields.values_mut().for_each(forget_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_nulls),
        _ => {}
    }
}

impl Kind {
    /// The schema of a page.
    const fn page(self) -> &'static str {
        match self {
            Self::Streams => "StreamPage",
            Self::Objects => "ObjectPage",
        }
    }

    /// The name of the operation that lists them.
    const fn operation(self) -> &'static str {
        match self {
            Self::Streams => "listStreams",
            Self::Objects => "listObjects",
        }
    }
}

fn list(kind: Kind) -> PathItem {
    let summary = match kind {
        Kind::Streams => "Streams: the bytes of one direction of a connection each",
        Kind::Objects => "Objects: messages and files found in streams",
    };
    let line = ObjectBuilder::new().schema_type(Type::String).description(Some(LINES)).build();
    let go_on = LinkBuilder::new().operation_id(kind.operation()).parameter("after", "$response.body#/next");
    let mut rows = ResponseBuilder::new()
        .description(format!("The {} that were found.", kind.word()))
        .content(Shape::Json.media_type(), Body::new(Some(reference(kind.page()))))
        .content(Shape::Lines.media_type(), Body::new(Some(line)))
        .link("next", go_on.description("The next page.").build());
    if kind == Kind::Objects {
        let seen = LinkBuilder::new().operation_id(GET_CONTENT).parameter("sha256", "$response.body#/rows/0/sha256");
        rows = rows.link("content", seen.description("Where the first of them was seen.").build());
    }
    let operation = OperationBuilder::new()
        .operation_id(Some(kind.operation()))
        .summary(Some(summary))
        .parameters(Some(parameters::all()))
        .response("200", rows);
    PathItem::new(HttpMethod::Get, problems(operation, &[400, 406]))
}

fn content() -> PathItem {
    let found = ResponseBuilder::new()
        .description("What the content is, how often it was seen, when, and between whom.")
        .content(Shape::Json.media_type(), Body::new(Some(reference(CONTENT))));
    let operation = OperationBuilder::new()
        .operation_id(Some(GET_CONTENT))
        .summary(Some("Where a content was seen"))
        .parameters(Some([parameters::digest()]))
        .response("200", found);
    PathItem::new(HttpMethod::Get, problems(operation, &[400, 404, 406]))
}

fn download() -> PathItem {
    let bytes = ObjectBuilder::new().schema_type(Type::String).description(Some("The bytes.")).build();
    let octets = || Body::new(Some(bytes.clone()));
    let found = ResponseBuilder::new().description("The content.").content("application/octet-stream", octets());
    let part = ResponseBuilder::new()
        .description("The range of it that was asked for.")
        .content("application/octet-stream", octets());
    let operation = OperationBuilder::new()
        .operation_id(Some("getContentBytes"))
        .summary(Some("A content: of an object that has it whole, or joined of the parts that it came in"))
        .parameters(Some([parameters::digest()]))
        .response("200", found)
        .response("206", part);
    PathItem::new(HttpMethod::Get, problems(operation, &[400, 404, 410, 416]))
}

fn joins() -> PathItem {
    let found = ResponseBuilder::new()
        .description("The contents that were found.")
        .content(Shape::Json.media_type(), Body::new(Some(reference(JOINS))));
    let operation = OperationBuilder::new()
        .operation_id(Some("listJoins"))
        .summary(Some("Contents that came in several responses: by what they are, and by any of their parts"))
        .parameters(Some(parameters::of_joins()))
        .response("200", found);
    PathItem::new(HttpMethod::Get, problems(operation, &[400, 406]))
}

/// The errors, those of this operation and those that every one has.
fn problems(operation: OperationBuilder, own: &[u16]) -> OperationBuilder {
    let general = [401, 403, 405, 421, 429, 500, 503];
    own.iter().chain(&general).fold(operation, |operation, status| {
        let problem = ResponseBuilder::new()
            .description(reason(*status))
            .content(MEDIA_TYPE, Body::new(Some(reference(PROBLEM))));
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
        410 => "Retention dropped a part of it.",
        416 => "No such range is in it.",
        421 => "The server is not known by the name that the request was for.",
        429 => "Too many wrong tokens at once.",
        500 => "The store cannot be read.",
        _ => "The server is going down, or the search took too long to say that nothing is there.",
    }
}

fn reference(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}
