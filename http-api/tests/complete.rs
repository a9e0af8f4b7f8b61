//! Whether a stream is complete: one rule, said alike by JSON, text, page and headers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod asked;

use asked::Server;
use asked::common::{Said, Talk};
use axum::http::Method;
use streamdb_types::{Marks, Reason};

/// What is said of the stream to the client, wherever it is said; `None`: it is complete.
fn says(said: Vec<Said<'_>>, reason: Reason, why: Option<&str>) {
    let mut talk = Talk {
        client: "10.0.0.5:49211",
        server: "203.0.113.9:7777",
        begun: "2012-03-02T07:51:51Z",
        said: vec![Said::ToServer(b"\x01ask"), Said::ToClient(b"\x02answer")],
        reason,
    };
    talk.said.extend(said);
    let server = Server::new(&[talk]);
    let complete = why.is_none();
    let mark = " (INCOMPLETE)";
    // As the object that it is, and as it is: the same bytes, and so the same answer.
    for raw in ["", "&raw=1"] {
        let search = format!("/streamdb/?srcip=10.0.0.5&direction=c{raw}");
        let rows: serde_json::Value = serde_json::from_slice(&server.get(&format!("{search}&as_json=1")).body).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
        let row = &rows[0];
        assert_eq!((&row["complete"], &row["object"]["complete"]), (&complete.into(), &complete.into()), "{row}");
        assert_eq!(row["object"]["reason"].as_str(), why, "{row}");
        assert_eq!(row["meta"].as_str().unwrap().ends_with(mark), !complete, "{row}");
        let text = server.get(&search).text();
        assert_eq!(text.contains(&format!("{mark}\n")), !complete, "{text}");
        let page = server.ask(Method::GET, &search, &[("accept", "text/html")]).text();
        assert_eq!(page.contains("<span class=\"whole\">complete</span>"), complete, "{page}");
        assert_eq!(page.contains(&format!("incomplete: {}", why.unwrap_or("-"))), !complete, "{page}");
        let answer = server.get(&format!("/streamdb/?oid={}{raw}", row["oid"].as_str().unwrap()));
        assert_eq!(answer.header("x-streamdb-complete"), complete.to_string());
        assert_eq!(answer.header("x-streamdb-incomplete"), why.unwrap_or_default());
    }
}

#[test]
fn a_tcp_stream_is_complete_from_its_beginning_to_its_fin() {
    const FIN: Marks = Marks::SYN.with(Marks::FIN);
    says(vec![], Reason::Fin, None);
    // A reset after the FIN, as many clients send it, and a connection whose other side never closed.
    says(vec![Said::Marked(FIN)], Reason::Rst, None);
    says(vec![Said::Marked(FIN)], Reason::TimeCutoff, None);
    says(vec![Said::Marked(FIN)], Reason::Exiting, None);
    // What ends otherwise has not come to its end.
    says(vec![], Reason::Rst, Some("reset"));
    says(vec![Said::Marked(Marks::SYN.with(Marks::RST))], Reason::Rst, Some("reset-by-server"));
    says(vec![], Reason::TimeCutoff, Some("timed-out"));
    says(vec![], Reason::Exiting, Some("capture-ended"));
    says(vec![], Reason::SizeCutoff, Some("cutoff"));
    says(vec![Said::Open], Reason::Rst, Some("open"));
    says(vec![Said::GoesOn], Reason::Rst, Some("timed-out"));
    // Without its beginning, or with a hole, no end makes it whole.
    says(vec![Said::Marked(FIN.with(Marks::MIDSTREAM))], Reason::Fin, Some("gap"));
    says(vec![Said::Lost(4), Said::ToClient(b"and more")], Reason::Fin, Some("gap"));
    says(vec![Said::Lost(4)], Reason::Fin, Some("gap"));
}

#[test]
fn a_stream_of_datagrams_is_complete_once_it_has_ended() {
    for reason in [Reason::TimeCutoff, Reason::Exiting] {
        says(vec![Said::Udp], reason, None);
    }
    says(vec![Said::Udp], Reason::SizeCutoff, Some("cutoff"));
    // Its bucket was to have another after it, which never came: it fell silent.
    says(vec![Said::Udp, Said::GoesOn], Reason::TimeCutoff, None);
    says(vec![Said::Udp, Said::Open], Reason::TimeCutoff, Some("open"));
    says(vec![Said::Udp, Said::Lost(4)], Reason::TimeCutoff, Some("gap"));
}
