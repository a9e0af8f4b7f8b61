//! What a wrong question gets with its answer.

pub(super) const USAGE: &str = "\
Usage: GET /streamdb/?name=value&name=value...

  srcip, dstip       address of the side that opened the connection, and of the other: IPv4 or IPv6, networks
                     as in 10.0.0.0/8, lists with commas, ! in front for all others
  ip                 address of either side; at least one address is needed
  srcport, dstport   ports, as addresses; port is that of either side
  start, end         when the stream began: epoch seconds, 2012-03-02 07:51:51, 2012-03-02T07:51:51Z, 2 weeks ago (UTC)
  direction          c: bytes to the client, s: bytes to the server
  reason             how the stream ended: c FIN, r RST, t SYN Timeout, e exiting, l Size cutoff, i Time cutoff, or open
  protocol           tcp, udp, or a number
  offset, limit      skip so many streams, and show at most so many (100; 10000 at most)
  sort               1: newest first
  raw                1: the streams' own bytes, not taken apart
  as_json            1: JSON
  oid                FILE-OFFSET-LENGTH-INDEX, as a search shows it: download that object
                     with raw=1 the bytes of its stream, with as_pcap=1 the frames of its connection

If a search finds nothing, it is run once more with source and destination exchanged.

Example: /streamdb/?srcip=10.0.0.5&dstip=203.0.113.9&dstport=80&start=2012-03-02 07:50:00&end=2012-03-02 07:53:00
";
