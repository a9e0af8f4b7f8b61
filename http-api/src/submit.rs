//! `/submit?oid=...`, and `submit=` on a search: objects to the sandbox.
//!
//! A link that somebody clicks must not upload anything. So a `GET` only asks, on a page, whether the objects shall be
//! submitted, and that page sends the `POST`; unless the request carries a token that may submit: no other page can make a
//! browser send one.

use axum::Router;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Extension, Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use streamdb_submit::{Rules, Submissions};
use streamdb_types::Oid;

use crate::answer::{PLAIN, refuse, whole};
use crate::app::App;
use crate::auth::{Caller, NO_ROLE, Role, is_browser};
use crate::small_page::{Width, escape, small_page};

/// Where submissions are handed in.
pub(crate) const PATH: &str = "/submit";
/// Most bytes of a form: a search's most objects, with their oids.
const FORM_BYTES: usize = 1 << 20;

const NO_TARGET: &str = "submit: nothing is submitted from here; the operator can name a sandbox or a folder below [submit] in the configuration.";

/// An object that may be submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its name.
    pub(crate) oid: Oid,
    /// A line that tells a person what it is, as captured.
    pub(crate) label: String,
}

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
    ask(&found, rules)
}

async fn link(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Response {
    match query.map_err(|rejection| rejection.body_text()).and_then(|Query(pairs)| asked(&pairs)) {
        Ok((oids, rules)) => {
            let found = oids.into_iter().map(|oid| Found { oid, label: String::new() }).collect();
            answer(&app, caller, &headers, found, rules).await
        }
        Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
    }
}

async fn take(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Response {
    let submissions = match allowed(&app, caller) {
        Ok(submissions) => submissions,
        Err(refusal) => return *refusal,
    };
    match form.map_err(|rejection| rejection.body_text()).and_then(|Form(pairs)| asked(&pairs)) {
        Ok((oids, rules)) => submit(&app, submissions, oids, rules, is_browser(&headers)).await,
        Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
    }
}

fn allowed(app: &App, caller: Caller) -> Result<Submissions, Box<Response>> {
    if !caller.may(Role::Submit) {
        return Err(Box::new(refuse(StatusCode::FORBIDDEN, &format!("{NO_ROLE} {}.", Role::Submit.word()))));
    }
    app.submissions().cloned().ok_or_else(|| Box::new(refuse(StatusCode::BAD_REQUEST, NO_TARGET)))
}

/// What a form asks for. Named by its oid an incomplete object can be submitted too, if the form says so.
fn asked(pairs: &[(String, String)]) -> Result<(Vec<Oid>, Rules), String> {
    let (mut oids, mut rules) = (Vec::new(), Rules::default());
    for (name, value) in pairs {
        let flag = || match value.as_str() {
            "1" => Ok(true),
            "0" | "" => Ok(false),
            _ => Err(format!("{name}: it takes 1 or 0")),
        };
        match name.as_str() {
            "oid" => oids.push(value.trim().parse::<Oid>().map_err(|error| error.to_string())?),
            "incomplete" => rules.incomplete = flag()?,
            "again" => rules.again = flag()?,
            _ => return Err("a submission takes oid, once or several times, and incomplete=1 and again=1".to_owned()),
        }
    }
    if oids.is_empty() { Err("oid is missing: which object shall be submitted?".to_owned()) } else { Ok((oids, rules)) }
}

/// Submits, one after the other, and says what became of each.
async fn submit(app: &App, submissions: Submissions, oids: Vec<Oid>, rules: Rules, page: bool) -> Response {
    let work = app.start(move |store| {
        let one = |oid: &Oid| match submissions.submit(store, *oid, rules) {
            Ok(receipt) => (true, receipt.to_string()),
            Err(error) => (false, error.to_string()),
        };
        oids.iter().map(one).collect::<Vec<(bool, String)>>()
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

/// The page that asks.
fn ask(found: &[Found], rules: Rules) -> Response {
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
    let items: String = found.iter().map(item).collect();
    let what = match found.len() {
        1 => "this object".to_owned(),
        count => format!("these {count} objects"),
    };
    let flag = |name: &str, on| {
        if on { format!("<input type=\"hidden\" name=\"{name}\" value=\"1\">\n") } else { String::new() }
    };
    let flags = flag("incomplete", rules.incomplete) + &flag("again", rules.again);
    let incomplete = if rules.incomplete { "is submitted too" } else { "is left out" };
    let again = if rules.again { "submitted once more" } else { "not submitted again" };
    small_page(
        StatusCode::OK,
        Width::Wide,
        &format!(
            "<form action=\"{PATH}\" method=\"post\">\n<p>Submit {what}? What is incomplete {incomplete}, and what was submitted \
             before is {again}.</p>\n<ul>\n{items}</ul>\n{flags}<button>Submit</button>\n</form>\n"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(pairs: &[(&str, &str)]) -> Result<(Vec<Oid>, Rules), String> {
        asked(&pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn forms_are_read() {
        let (oids, rules) = form(&[("oid", "1-2-3-4"), ("oid", "1-2-3-5"), ("incomplete", "1")]).unwrap();
        assert_eq!(oids.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1-2-3-4", "1-2-3-5"]);
        assert_eq!(rules, Rules { incomplete: true, again: false });
        for (bad, why) in [
            (&[][..], "oid is missing"),
            (&[("oid", "1-2")], "is no oid"),
            (&[("oid", "1-2-3-4"), ("again", "yes")], "again: it takes 1 or 0"),
            (&[("oid", "1-2-3-4"), ("x", "1")], "a submission takes oid"),
        ] {
            let said = form(bad).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn captured_text_stays_text_on_the_page() {
        let found =
            |n| Found { oid: format!("1-2-3-{n}").parse().unwrap(), label: "<script>alert(1)</script>".to_owned() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = |response: Response| runtime.block_on(axum::body::to_bytes(response.into_body(), 1 << 20)).unwrap();
        let page = String::from_utf8(body(ask(&[found(1), found(2)], Rules::default())).to_vec()).unwrap();
        assert!(page.contains("Submit these 2 objects?") && page.contains("name=\"oid\" value=\"1-2-3-2\""), "{page}");
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    }
}
