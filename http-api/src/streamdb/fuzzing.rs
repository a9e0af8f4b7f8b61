//! A way in for the fuzz targets: query strings, as the endpoint reads them. Only with the feature `fuzzing`.

use axum::extract::Query;
use axum::http::Uri;
use streamdb_query::Zone;
use streamdb_types::Timestamp;

use super::params::Asked;

/// When everything is asked: `now`, `yesterday` and their like depend on it.
const NOW: Timestamp = Timestamp(1_330_674_711_000_000_000);

/// Reads a query string, percent-encoded as in a request, and asserts what holds for any: it means the same each time, a
/// filter whose ends are exchanged twice is the same filter, and a refusal is a sentence without control characters.
pub fn query_string(query: &str) {
    let Ok(uri) = format!("/streamdb/?{query}").parse::<Uri>() else { return };
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(&uri) else { return };
    let ask = || Asked::parse(&pairs, NOW, &Zone::UTC);
    let asked = ask();
    assert!(asked == ask(), "{query:?} is understood in two ways");
    match asked {
        Ok(Asked::Search(search)) => {
            if let Some(swapped) = search.filter.swapped() {
                assert_eq!(swapped.swapped().as_ref(), Some(&search.filter), "{query:?}");
            }
        }
        Ok(_) => {}
        Err(why) => assert!(!why.is_empty() && !why.contains(char::is_control), "{why:?} is no sentence"),
    }
}
