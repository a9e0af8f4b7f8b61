//! The page at `/`: what this is, and how to search.

use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::answer::whole;

/// No captured text is on this page.
const PAGE: &str = "<!DOCTYPE html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>StreamDB</title>
<h1>StreamDB</h1>
<p>What went over the network, as it was said: find a connection by its addresses, and read or download what is in it.</p>
<form action=\"/streamdb/\" method=\"get\">
<p><label>Address of either side <input name=\"ip\" placeholder=\"10.0.0.5 or 10.0.0.0/8\" autofocus></label>
<p><label>Source (who opened the connection) <input name=\"srcip\"></label> <label>port <input name=\"srcport\" size=\"6\"></label>
<p><label>Destination <input name=\"dstip\"></label> <label>port <input name=\"dstport\" size=\"6\"></label>
<p><label>From <input name=\"start\" placeholder=\"2 weeks ago\"></label> <label>to <input name=\"end\" placeholder=\"now\"></label> (UTC)
<p><label>Newest first <input type=\"checkbox\" name=\"sort\" value=\"1\"></label> <button>Search</button>
</form>
<p>As a link, for log searches and scripts:
<code>/streamdb/?srcip=10.0.0.5&amp;dstip=203.0.113.9&amp;dstport=80&amp;start=2012-03-02 07:50:00&amp;end=2012-03-02 07:53:00</code>.
Each object found has an oid; <code>/streamdb/?oid=...</code> downloads it, with <code>&amp;raw=1</code> the bytes of its stream,
with <code>&amp;as_pcap=1</code> the frames of its connection. <a href=\"/streamdb/\">All parameters</a>.</p>
</html>
";

pub(crate) async fn page() -> Response {
    let mut response = whole(StatusCode::OK, HeaderValue::from_static("text/html; charset=utf-8"), PAGE);
    let policy =
        HeaderValue::from_static("default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}
