//! `/submit?oid=...`, and `submit=` on a search: objects to the targets.
//!
//! A link that somebody clicks must not upload anything. So a `GET` only asks, on a page, whether the objects shall be
//! submitted, and that page sends the `POST`; unless the request carries a token that may submit: no other page can make a
//! browser send one.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use streamdb_derive::each_object;
use streamdb_query::FilterError;
use streamdb_submit::{Error, Receipt, Rules, Submissions};
use streamdb_types::Oid;

use crate::answer::{PLAIN, failed, refuse, whole};
use crate::app::App;
use crate::auth::{Caller, NO_ROLE, Role, is_browser};
use crate::small_page::{Width, escape, small_page};

/// Where submissions are handed in.
pub(crate) const PATH: &str = "/submit";
/// Most bytes of a form: a search's most objects, with their oids.
const FORM_BYTES: usize = 1 << 20;

const NO_OID: &str = "Which object shall be submitted? Name it by its oid, as a search shows it: \
                      curl -d oid=18043-3966843079-22968-0 .../submit; oid may be given several times.";
const TAKES: &str = "; a submission takes oid, once or several times, and incomplete=0 and again=1";
const OTHER_BODY: &str = "A submission is a form (application/x-www-form-urlencoded), as curl -d oid=... sends it, or oid=... in \
                          the address, without a body.";
const NO_TARGET: &str =
    "submit: nothing is submitted from here; the operator can name targets below [submit] in the configuration.";

/// An object that may be submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its name.
    pub(crate) oid: Oid,
    /// A line that tells a person what it is, as captured.
    pub(crate) label: String,
}

/// The rules for what is named by its oid: whoever does that means this object, whole or not.
pub(crate) const BY_OID: Rules = Rules { incomplete: true, again: false };

/// `GET` and `POST /submit`, with one `oid` or several.
pub(crate) fn routes() -> Router<App> {
    Router::new().route(PATH, get(link).post(take)).layer(DefaultBodyLimit::max(FORM_BYTES))
}

/// Answers a `GET` that asks for these objects to be submitted, as one with `submit=` does for those that it found: with a
/// token that may submit, they are; anybody else who may is asked on a page.
pub(crate) async fn answer(
    app: &App,
    caller: Caller,
    headers: &HeaderMap,
    found: Vec<Found>,
    rules: Rules,
) -> Response {
    let submissions = match allowed(app, caller) {
        Ok(submissions) => submissions,
        Err(refusal) => return *refusal,
    };
    if caller.acts_at_once() {
        let oids = found.into_iter().map(|found| found.oid).collect();
        return submit(app, submissions, oids, rules, is_browser(headers)).await;
    }
    ask(&found, &[], rules)
}

/// Answers a `GET` that names these objects by their oids. Who is asked on a page sees there which of them are incomplete,
/// and which are none.
pub(crate) async fn named(app: &App, caller: Caller, headers: &HeaderMap, oids: Vec<Oid>, rules: Rules) -> Response {
    if caller.acts_at_once() || allowed(app, caller).is_err() {
        let found = oids.into_iter().map(|oid| Found { oid, label: String::new() }).collect();
        return answer(app, caller, headers, found, rules).await;
    }
    let work = app.start(move |store| {
        let (mut found, mut wrong) = (Vec::new(), Vec::new());
        each_object(store, &oids, &mut |place, oid, object| match object {
            Ok((_, named)) => {
                let why = named.incomplete().map(|why| format!("incomplete: {}", why.words()));
                found.push((place, Found { oid, label: why.unwrap_or_default() }));
            }
            Err(error) => wrong.push(error),
        });
        found.sort_by_key(|(place, _)| *place);
        (found.into_iter().map(|(_, found)| found).collect::<Vec<_>>(), wrong)
    });
    let (found, wrong) = match work.await {
        Ok(work) => work.await.unwrap_or_default(),
        Err(refusal) => return refusal,
    };
    match wrong.first() {
        Some(error) if found.is_empty() => failed(error),
        _ => ask(&found, &wrong.iter().map(ToString::to_string).collect::<Vec<_>>(), rules),
    }
}

async fn link(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    match asked(query.as_deref(), b"") {
        Ok((oids, rules)) => named(&app, caller, &headers, oids, rules).await,
        Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
    }
}

async fn take(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    form: Result<Bytes, BytesRejection>,
) -> Response {
    let submissions = match allowed(&app, caller) {
        Ok(submissions) => submissions,
        Err(refusal) => return *refusal,
    };
    let form = match form {
        Ok(form) => form,
        Err(rejection) => return refuse(rejection.status(), &unread(&rejection)),
    };
    if !form.is_empty() && !is_form(&headers) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, OTHER_BODY);
    }
    match asked(query.as_deref(), &form) {
        Ok((oids, rules)) => submit(&app, submissions, oids, rules, is_browser(&headers)).await,
        Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn unread(rejection: &BytesRejection) -> String {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        format!("This form is longer than {} MiB; submit fewer objects at a time.", FORM_BYTES >> 20)
    } else {
        "This form did not come whole; send it once more.".to_owned()
    }
}

fn allowed(app: &App, caller: Caller) -> Result<Submissions, Box<Response>> {
    if !caller.may(Role::Submit) {
        return Err(Box::new(refuse(StatusCode::FORBIDDEN, &format!("{NO_ROLE} {}.", Role::Submit.word()))));
    }
    app.submissions().cloned().ok_or_else(|| Box::new(refuse(StatusCode::BAD_REQUEST, NO_TARGET)))
}

/// What a query and a form ask for together.
fn asked(query: Option<&str>, form: &[u8]) -> Result<(Vec<Oid>, Rules), String> {
    let query = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let pairs = query.chain(form_urlencoded::parse(form)).collect::<Vec<_>>();
    let mut oids = Vec::new();
    let mut flags: [Option<(&str, bool)>; 2] = [None; 2];
    for (name, value) in &pairs {
        let (name, value) = (name.as_ref(), value.trim());
        let (place, known) = match name {
            // One that a form left empty.
            "oid" if value.is_empty() => continue,
            "oid" => {
                oids.push(value.parse::<Oid>().map_err(|error| error.to_string())?);
                continue;
            }
            "incomplete" => (0, "incomplete"),
            "again" => (1, "again"),
            _ => return Err(FilterError::unknown(name, ["oid", "incomplete", "again"]).to_string() + TAKES),
        };
        let flag = match value {
            "1" => true,
            "0" | "" => false,
            _ => return Err(format!("{name}: it takes 1 or 0")),
        };
        let Some(known_flag) = flags.get_mut(place) else { continue };
        if let Some((first, _)) = known_flag.replace((value, flag)) {
            return Err(FilterError::twice(known, (known, first), (known, value)).to_string());
        }
    }
    if oids.is_empty() {
        return Err(NO_OID.to_owned());
    }
    let [incomplete, again] = flags.map(|flag| flag.map(|(_, flag)| flag));
    let rules = Rules { incomplete: incomplete.unwrap_or(BY_OID.incomplete), again: again.unwrap_or(BY_OID.again) };
    Ok((oids, rules))
}

/// Submits them, and says what became of each.
async fn submit(app: &App, submissions: Submissions, oids: Vec<Oid>, rules: Rules, page: bool) -> Response {
    let work = app.start(move |store| {
        let said = |answer| match answer {
            Ok(receipt) => (true, Receipt::to_string(&receipt)),
            Err(error) => (false, Error::to_string(&error)),
        };
        submissions.submit_all(store, &oids, rules).into_iter().map(said).collect::<Vec<(bool, String)>>()
    });
    let lines = match work.await {
        Ok(work) => work.await.unwrap_or_default(),
        Err(refusal) => return refusal,
    };
    // Whoever asked for one object learns from the status whether it is on its way.
    let status = if lines.iter().any(|(done, _)| *done) || lines.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    if page {
        let item = |(done, line): &(bool, String)| {
            format!("<li{}>{}</li>\n", if *done { "" } else { " class=\"wrong\"" }, escape(line))
        };
        let items: String = lines.iter().map(item).collect();
        small_page(status, Width::Wide, &format!("<ul>\n{items}</ul>\n<p><a href=\"/\">Search</a></p>\n"))
    } else {
        let text: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        whole(status, PLAIN, text)
    }
}

/// The page that asks; `wrong` says what is no object.
fn ask(found: &[Found], wrong: &[String], rules: Rules) -> Response {
    if found.is_empty() {
        return small_page(StatusCode::OK, Width::Wide, "<p>Nothing was found that could be submitted.</p>\n");
    }
    let item = |found: &Found| {
        let Found { oid, label } = found;
        format!(
            "<li><a href=\"/streamdb/?oid={oid}\">{oid}</a> {}<input type=\"hidden\" name=\"oid\" value=\"{oid}\"></li>\n",
            escape(label)
        )
    };
    let mut items: String = found.iter().map(item).collect();
    items.extend(wrong.iter().map(|why| format!("<li class=\"wrong\">{}</li>\n", escape(why))));
    let what = match found.len() {
        1 => "this object".to_owned(),
        count => format!("these {count} objects"),
    };
    let flag = |name: &str, on: bool| format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">\n", u8::from(on));
    let flags = flag("incomplete", rules.incomplete) + &flag("again", rules.again);
    let incomplete = if rules.incomplete {
        "is submitted too, with zeros for what is missing and .incomplete in its file name"
    } else {
        "is left out"
    };
    let again = if rules.again { "submitted once more" } else { "not submitted again" };
    small_page(
        StatusCode::OK,
        Width::Wide,
        &format!(
            "<form action=\"{PATH}\" method=\"post\">\n<p>Submit {what}? What is incomplete {incomplete}; what was submitted \
             before is {again}.</p>\n<ul>\n{items}</ul>\n{flags}<button>Submit</button>\n</form>\n"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        let (oids, rules) = asked(Some("oid=1-2-3-4&again=1"), b"oid=1-2-3-5&incomplete=0").unwrap();
        assert_eq!(oids.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1-2-3-4", "1-2-3-5"]);
        assert_eq!(rules, Rules { incomplete: false, again: true });
        // Whoever names an object means it, whole or not.
        for form in ["oid=1-2-3-4", "oid=1-2-3-4&incomplete=1"] {
            assert_eq!(asked(None, form.as_bytes()).unwrap().1, Rules { incomplete: true, again: false });
        }
        for (bad, why) in [
            ("", "Which object shall be submitted?"),
            ("oid=", "Which object shall be submitted?"),
            ("again=1", "Which object shall be submitted?"),
            ("oid=1-2", "\"1-2\" is no oid"),
            ("oid=1-2-3-4&again=yes", "again: it takes 1 or 0"),
            ("oid=1-2-3-4&again=1&again=0", "again is given twice, as \"again=1\" and \"again=0\"; it takes one value"),
            ("oid=1-2-3-4&oids=1", "there is no parameter \"oids\"; did you mean oid?; a submission takes oid"),
        ] {
            for said in [asked(Some(bad), b""), asked(None, bad.as_bytes())] {
                let said = said.unwrap_err();
                assert!(said.starts_with(why), "{said}");
            }
        }
    }

    #[test]
    fn captured_text_stays_text_on_the_page() {
        let found =
            |n| Found { oid: format!("1-2-3-{n}").parse().unwrap(), label: "<script>alert(1)</script>".to_owned() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = |response: Response| runtime.block_on(axum::body::to_bytes(response.into_body(), 1 << 20)).unwrap();
        let page =
            String::from_utf8(body(ask(&[found(1), found(2)], &["<script>".to_owned()], Rules::default())).to_vec())
                .unwrap();
        assert!(page.contains("Submit these 2 objects?") && page.contains("name=\"oid\" value=\"1-2-3-2\""), "{page}");
        assert!(page.contains("name=\"incomplete\" value=\"0\""), "what a search found is never incomplete: {page}");
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    }
}
