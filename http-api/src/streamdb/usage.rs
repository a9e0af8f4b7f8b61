//! What a wrong question gets with its answer.

pub(super) const USAGE: &str = "\
Usage: GET /streamdb/?name=value&name=value...

  srcip, dstip       address of the side that opened the connection, and of the other: IPv4 or IPv6, networks
                     as in 10.0.0.0/8, lists with commas, ! in front for all others
  ip                 address of either side
  srcport, dstport   ports, as addresses; port is that of either side
  start, end         when the stream began: epoch seconds or milliseconds, 2012-03-02 07:51:51, 2012-03-02T07:51:51Z, 2 weeks ago
  direction          c: bytes to the client, s: bytes to the server
  reason             how the stream ended: c FIN, r RST, t SYN Timeout, e exiting, l Size cutoff, i Time cutoff, or open
  length             bytes of the stream: 22528, 1K-64K, 1M-
  protocol           tcp, udp, or a number
  community_id       1:...
  host, uri          whom a request was for, and for what: *.example.com, /path (what it begins with; * for anything)
  method, status     of a request and its response
  filetype           regular expression over what an object is (the line over it), as in filetype=executable
  fact               regular expression over what more is known of an object, a line for each, as in fact=^imphash: f34d
                     or fact=^signed: no (^ and $ are the ends of a line)
  verdict            what scanners found: *eicar*, yara:*, hash-list:bad.txt (by rule, signature or list; * for anything);
                     verdict=* is any verdict, verdict=!* none
  mime               by content: application/pdf, image/*
  name               the name that its sender gave it: *.exe
  md5, sha1, sha256  of an object's content, or of its bytes as sent
  size               bytes of content: 22528, 1K-64K, 1M-
  incomplete         1: only objects that are not complete, 0: only those that are
  mismatch           1: only objects whose declared type contradicts what they are, 0: only others
  kind               request, response: messages of HTTP; file: what lies inside another object, as an executable under a key;
                     part: one of a body or mail that has several; stream: all else, as it is
  pcre               regular expression over bytes: only objects whose head and content have it (linear time: no look-around,
                     no back-references)
  offset, limit      skip so many streams, and show the objects of at most so many (100; 10000 at most)
  sort, after        1: newest first, 0: oldest first; only what comes behind a position, as /api/v1 gives them
  raw                1: each stream as one object, its bytes as sent; 0: taken apart into its messages
  as_json, as_hex    1: JSON; hex dumps. A browser gets a page: as_text=1 text
  oid                FILE-OFFSET-LENGTH-INDEX, as a search shows it: download that object, decoded
                     with raw=1 the bytes of its stream, with as_pcap=1 the frames of its connection, with as_zip=1 a zip
                     with the password infected, with as_hex=1 a hex dump, with submit=1 to the targets, also when it is incomplete
  other              1 to 4: with an oid, that other version of the object, where frames carried different bytes for one place
  newest             1: with an oid of a stream that was open: of the stream as it is now (x-streamdb-oid says its oid)
  follow             1: with oid and raw=1: the stream's bytes, and what comes from now on, until it ends
  submit             regular expression: of what is found, the complete objects whose line has it are submitted

At least one of srcip, dstip, ip (not negated), host, uri, name, verdict, md5, sha1, sha256 or
community_id is needed; or an oid.
What takes one value is given once; the others take several, with commas.
The answer begins with how many objects are shown of how many streams found: Returning 4 of 2 is four objects, two streams.
JSON has a row for each object, and one without \"object\" and with \"stream\" for each stream in which there is none.
A stream is complete from its beginning to its end, without a gap: over TCP to its FIN, over UDP to when it ended.
Also accepted: sip dip spt dpt stime etime; dstport!80 for dstport=!80; quiet and filename, which do nothing.
If a search finds nothing, it is run once more with source and destination exchanged.
For programs: /api/v1/streams and /api/v1/objects have rows page by page or line by line; /api/v1/openapi.json describes them.

Example: /streamdb/?srcip=10.0.0.5&dstip=203.0.113.9&dstport=80&start=2012-03-02 07:50:00&end=2012-03-02 07:53:00
";
