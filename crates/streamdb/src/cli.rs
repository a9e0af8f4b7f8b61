//! The command line: every flag, its help and its meaning, in one place.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use streamdb_capture::{MAX_FRAME, Network};
use streamdb_decode::FragmentOverlap;
use streamdb_http_api::Role;
use streamdb_reassembly::OverlapPolicy;
use streamdb_storage::Room;
use streamdb_submit::ContentHash;
use streamdb_types::{Oid, OidError};

use crate::capturing::MAX_WORKERS;
use crate::cutoff::Rule;
use crate::{config, units};

/// A stream store for network defenders: every stream in order, every frame byte for byte, every download one URL away.
#[derive(Debug, Parser)]
#[command(name = "streamdb", version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What is said on standard error: a sentence a line, or a JSON object a line, with time, level, process and message
    #[arg(long, global = true, value_enum, value_name = "STYLE")]
    pub(crate) log: Option<LogFlag>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFlag {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store capture files (pcap, pcapng; plain, gzip or zstd; `-` is standard input)
    Ingest(Ingest),
    /// Store what goes over a network interface, until Ctrl-C
    Capture(Capture),
    /// Serve streams and objects over HTTP
    Serve(Serve),
    /// Be a sensor: capture, find what is in the streams, and serve it, as a configuration file says, until SIGTERM
    ///
    /// Each of these is a process of its own, which is started again when it dies. SIGHUP reads the configuration again;
    /// SIGTERM and Ctrl-C end all of them, with everything sealed; a second one ends them at once, and loses nothing that was
    /// written.
    Run(Run),
    /// Say whether a configuration file is as it should be
    CheckConfig(CheckConfig),
    /// Look into the contents that were found, and hand objects on, as a configuration file says, until Ctrl-C
    Scan(Scan),
    /// Make a token for the HTTP interface, and print what the configuration file needs to know it
    Token(Token),
    /// Hand objects to the targets that the configuration names: sandboxes, folders, programs
    Submit(Submit),
    /// List streams
    Streams(Streams),
    /// List objects: what is in the streams
    Objects(Streams),
    /// List contents that came in several responses: what each is, how it stands, and its parts
    Joins(Streams),
    /// Say where a content was seen, by its SHA-256; or hand it out
    Content(Content),
    /// Search like the HTTP interface, by address or for every line of standard input
    ///
    /// With neither address nor oid, it reads lines from standard input: the first address on each is the source, the second the
    /// destination; `<epoch> <ip> <ip>` narrows to a minute either side of that time; an oid is fetched. A pair is asked for
    /// once, so that `tail -f alerts | streamdb query --data DIR --verbose` works.
    Query(Box<Query>),
    /// Hand out one stream, one object, or the frames of one connection
    Get(Get),
    /// Write frames as a capture file again
    Export(Export),
    /// Check that everything is there and agrees with itself
    Verify(Verify),
    /// Find the objects in what is stored, following what comes, until Ctrl-C
    Derive(Derive),
    /// Throw away what was derived from the buckets, and derive it again
    Reindex(Reindex),
    /// Drop the oldest buckets until the store is within its limits
    ///
    /// The buckets that were begun first go first, whole. Age counts from when a bucket was sealed, so an old capture that was
    /// ingested today stays. What is held, or not sealed yet, stays.
    Retain(Retain),
    /// Keep what an investigation needs, whatever the limits of the store say
    ///
    /// Every bucket that has anything of the connections is held, also while another process captures.
    Hold(Hold),
    /// Look for rules of YARA, digests, and what ClamAV knows, in what is stored
    ///
    /// Each content is looked into once, whoever had it and however often; every object that has a content in which something is
    /// found is listed, in order of time, behind those that are joined of several. Ctrl-C ends it, and it says where it was. What is new is scanned as it comes where the
    /// configuration has a section [scan].
    Hunt(Hunt),
    /// List the buckets
    Buckets(Buckets),
    /// Say how much is stored, and what became of every byte
    Stats(Listing),
    /// Write the man pages, and the completions for shells, as packages have them
    #[command(hide = true)]
    Manual(Manual),
    /// End when captures can be taken from a folder, as a capture that waits for it does
    #[command(hide = true)]
    AwaitFolder(AwaitFolder),
}

/// The data folder.
#[derive(Debug, Args)]
pub(crate) struct Data {
    /// The data folder
    #[arg(long = "data", value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// How frames become a store: what all commands that write have in common.
#[derive(Debug, Args)]
pub(crate) struct Storing {
    #[command(flatten)]
    pub(crate) data: Data,
    /// Print a summary as one JSON object, with every counter
    #[arg(long)]
    pub(crate) json: bool,
    /// How hard to compress: fast leaves the bytes of long streams as they are
    #[arg(long, value_enum, default_value = "full")]
    pub(crate) compression: CompressionFlag,
    /// Which frames can be had back: all, those of TCP, or none (streams alone)
    #[arg(long, value_enum, default_value = "full")]
    pub(crate) packets: PacketsFlag,
    /// The time window of a bucket, at least 1s
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = window)]
    pub(crate) bucket: i64,
    /// The most bytes of a bucket, before compression
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = bucket_bytes)]
    pub(crate) bucket_size: u64,
    /// Store only frames that match this capture filter (the language of tcpdump)
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// Keep only the first bytes of each direction of these connections: TESTS:SIZE
    ///
    /// Tests are protocol= (tcp, udp, or what first bytes show: tls, ssh, http ...), port= and net= (of either end; lists with
    /// commas, port ranges, CIDR), and last filter= (as for --filter, about a connection's first frame); all of a rule must
    /// hold, and the first rule that matches decides. SIZE is 64K, 1M, 0 for headers alone, or all. The lengths of streams
    /// and the headers of frames are kept always. Examples: protocol=tls:64K, 'port=443 net=10.0.0.0/8:1M',
    /// 'filter=host 10.0.0.5:0'
    #[arg(long, value_name = "RULE", value_parser = Rule::parse)]
    pub(crate) cutoff: Vec<Rule>,
    /// The configuration file (TOML): its [retention], which flags override, its [[cutoff]] rules, which are asked after
    /// those of --cutoff, and by what contents are scanned, in its [scan]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Which copy of overlapping bytes a stream keeps, when both wait for earlier ones, and a packet of fragments that overlap
    /// (windows: there the first); the other stays with its frame
    #[arg(long, value_enum, default_value = "first")]
    pub(crate) overlap: OverlapFlag,
    /// The most connections that are known at once, of each worker; at the limit those go first that are over, half-open or of one end
    /// alone, and established ones last
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=16_000_000))]
    pub(crate) max_connections: u32,
    /// The most bytes that wait for earlier ones of their streams, of each worker; beyond it they are written out of order
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = units::size)]
    pub(crate) max_held: u64,
    /// Take VLANs for one network: for mirrors on which the two directions of a connection, or copies of a frame, have different
    /// tags. What uses the same addresses in different VLANs is mixed then
    #[arg(long)]
    pub(crate) fold_vlans: bool,
    /// Take GTP-U tunnels with different endpoint ids for different networks. Each direction of a connection in them has its own id,
    /// so each is a connection of its own then
    #[arg(long)]
    pub(crate) split_teids: bool,
    /// Leave frames with wrong checksums out of streams; they are kept as frames
    #[arg(long)]
    pub(crate) reject_bad_checksums: bool,
    #[command(flatten)]
    pub(crate) limiting: Limiting,
    /// Only store: `streamdb derive` finds the objects later, or does so beside this
    #[arg(long)]
    pub(crate) no_derive: bool,
}

/// What the store may have. Nothing is dropped by default.
#[derive(Debug, Args)]
pub(crate) struct Limiting {
    /// Drop the oldest buckets when all of them have more bytes, as in 500G
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_bytes: Option<u64>,
    /// Drop buckets that were sealed longer ago, as in 90d, whatever the time of their frames is
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) max_age: Option<i64>,
    /// Drop the oldest buckets when less of the file system is free, as in 10G or 5%
    #[arg(long, value_name = "ROOM", value_parser = units::room)]
    pub(crate) min_free: Option<Room>,
}

#[derive(Debug, Args)]
pub(crate) struct Retain {
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) limiting: Limiting,
    /// The configuration file (TOML), which has such limits below [retention]; flags override it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Only say what would be dropped now; this works beside a writer too
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// One JSON object a line, for each bucket
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["oids", "sha256", "ip", "list", "release"]))]
pub(crate) struct Hold {
    #[command(flatten)]
    pub(crate) data: Data,
    /// What to keep, as the lists name it: the whole connection of each
    #[arg(value_name = "OID", conflicts_with_all = ["sha256", "ip", "start", "end", "list", "release"])]
    pub(crate) oids: Vec<Oid>,
    /// The connections that carried an object with this digest
    #[arg(long, value_name = "HEX", conflicts_with_all = ["list", "release"])]
    pub(crate) sha256: Option<String>,
    /// The connections from or to this address, or these: 10.0.0.0/8
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["list", "release"])]
    pub(crate) ip: Option<String>,
    /// Of those, the ones begun at this time or later: epoch seconds or milliseconds, a date in UTC, or words as in "2 weeks ago"
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with_all = ["list", "release"])]
    pub(crate) start: Option<String>,
    /// Of those, the ones begun at this time or earlier
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with_all = ["list", "release"])]
    pub(crate) end: Option<String>,
    /// What to remember with it: who needs it, and what for
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["list", "release"])]
    pub(crate) note: Option<String>,
    /// List the holds
    #[arg(long, conflicts_with = "release")]
    pub(crate) list: bool,
    /// End the hold with this number
    #[arg(long, value_name = "N")]
    pub(crate) release: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Buckets {
    #[command(flatten)]
    pub(crate) data: Data,
    /// List those that retention dropped too
    #[arg(long)]
    pub(crate) dropped: bool,
    /// JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Ingest {
    /// Capture files, in any order: their frames are merged by time
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) storing: Storing,
    /// Store a file that was ingested before once more
    #[arg(long)]
    pub(crate) again: bool,
    /// When another process writes to the data folder, hand the captures to it and do not wait until it has stored them
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Capture {
    /// An interface to capture from, given again for each further one; `any` is all of them
    ///
    /// Connections whose two directions come over two interfaces, as those of a tap do, are put together.
    #[arg(short, long, value_name = "IFACE", required_unless_present_any = ["listen_pcap", "spool"],
        value_parser = NonEmptyStringValueParser::new())]
    pub(crate) interface: Vec<String>,
    /// An address to listen on for captures that others send over TCP, as pcap or pcapng, while they capture them, as
    /// `tcpdump -U -w - | nc HOST PORT` does; given again for each further one
    ///
    /// At most 16 senders at once, each an interface of its own. Nobody shows who they are: besides this machine only
    /// --listen-pcap-from may send, and others than loopback addresses are accepted only with it.
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    pub(crate) listen_pcap: Vec<SocketAddr>,
    /// A network from which captures may be sent, as in 10.1.0.0/16; given again for each further one
    #[arg(long, value_name = "NETWORK", requires = "listen_pcap")]
    pub(crate) listen_pcap_from: Vec<Network>,
    /// A folder in which captures appear as files, as those of `tcpdump -G` do: each is stored when it is complete, and
    /// connections go on from one to the next; given again for each further one
    ///
    /// A file is complete when its writer closes it or it is moved into the folder; one of which nothing is heard, as it was
    /// there before or comes over a network, when nothing has changed in it for a minute. Of files that are there the oldest
    /// goes first. Links, folders, what is hidden, and *.tmp and *.part are let be. What is stored is known again by its content.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) spool: Vec<PathBuf>,
    /// Remove a file from its --spool folder once all of it is in the store, and on disk there; one that is damaged stays
    #[arg(long, requires = "spool")]
    pub(crate) spool_remove: bool,
    /// How many threads take the frames of each interface; the kernel shares them out by connection. Several have a table in
    /// common that takes 16 to 32 bytes of memory for each of --max-connections, and that for each worker
    #[arg(long, value_name = "N", default_value = "1", value_parser = workers)]
    pub(crate) workers: usize,
    #[command(flatten)]
    pub(crate) storing: Storing,
    /// The most bytes of a frame to keep
    #[arg(long, value_name = "BYTES", default_value_t = MAX_FRAME as u32,
        value_parser = clap::value_parser!(u32).range(64..=MAX_FRAME as i64))]
    pub(crate) snaplen: u32,
    /// How much the kernel keeps for us while we are busy
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = ring_bytes)]
    pub(crate) buffer: u32,
    /// Take only frames that the interface takes by itself
    #[arg(long)]
    pub(crate) no_promisc: bool,
    #[command(flatten)]
    pub(crate) giving_up: GivingUp,
}

/// What a process gives up when it has opened what needs rights.
#[derive(Debug, Default, Args)]
pub(crate) struct GivingUp {
    /// Go on as this user, without any other rights, once what needs them is open
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Give up all that the work does not need: other files, other system calls, and the network where it is not needed
    /// (Landlock and seccomp, as far as the kernel has them)
    #[arg(long)]
    pub(crate) confine: bool,
}

impl GivingUp {
    /// Whether anything is given up.
    pub(crate) const fn any(&self) -> bool {
        self.user.is_some() || self.confine
    }
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) giving_up: GivingUp,
    /// Leave it to others to look into contents and to send what is submitted
    #[arg(long)]
    pub(crate) no_scan: bool,
    /// The configuration file (TOML): who may ask, where objects are submitted, and by what contents are scanned
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The address to listen on [default: what the configuration says, or 127.0.0.1:8080]; others than loopback addresses
    /// are accepted when there are tokens
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// Memory that the process may take, as that of `derive`
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = units::size)]
    pub(crate) max_memory: u64,
    /// Seconds of the processor that a connection may take to be taken apart, as those of `derive`
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) max_seconds: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration file (TOML): `data` names the data folder, [capture] the interface
    #[arg(long, value_name = "FILE", default_value = config::PLACE)]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CheckConfig {
    /// The configuration file
    #[arg(value_name = "FILE", default_value = config::PLACE)]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// What to call it: who or what will hold it
    #[arg(value_name = "NAME", value_parser = token_name)]
    pub(crate) name: String,
    /// What its holder may do, in one or more words: read (search, and download what is found) and submit (hand objects to the
    /// targets that the configuration names)
    #[arg(long, value_name = "ROLE", value_delimiter = ',', default_value = "read", value_parser = role)]
    pub(crate) role: Vec<Role>,
}

/// What is to be submitted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Object(Oid),
    Content(ContentHash),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match ContentHash::parse(&text.to_ascii_lowercase()) {
            Some(hash) => Ok(Self::Content(hash)),
            None => text.parse().map(Self::Object).map_err(|error: OidError| error.to_string()),
        }
    }
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["wanted", "list", "send", "drop_failed"]))]
pub(crate) struct Submit {
    #[command(flatten)]
    pub(crate) data: Data,
    /// The configuration file (TOML), which says in [[submit.target]] tables where to: to a CAPE, a Cuckoo, any server that
    /// takes a form, a folder, or a program. Each content goes to each of them
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The objects, as the lists name them; or contents by their SHA-256: that of an object that has it whole, or joined of
    /// several. Each content is submitted once; an incomplete one has that in its name
    #[arg(value_name = "OID|SHA256")]
    pub(crate) wanted: Vec<Wanted>,
    /// Submit them again, also those that were sent or given up before
    #[arg(long, requires = "wanted")]
    pub(crate) again: bool,
    /// Only send what waits and is due
    #[arg(long)]
    pub(crate) send: bool,
    /// List what waits, what was sent and what was given up
    #[arg(long)]
    pub(crate) list: bool,
    /// One JSON object a line
    #[arg(long, requires = "list")]
    pub(crate) json: bool,
    /// Forget what was given up, and remove its copies; with --config also what waits for targets that are configured no more
    #[arg(long)]
    pub(crate) drop_failed: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Streams {
    #[command(flatten)]
    pub(crate) data: Data,
    /// Filters, as in the HTTP interface: srcip=10.0.0.5 dstport=80 start="2012-03-02 07:50:00"
    #[arg(value_name = "NAME=VALUE")]
    pub(crate) filters: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) data: Data,
    /// The configuration file (TOML), which says the time zone of dates
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The address of who opened the connection; `!` in front for all others
    #[arg(long, value_name = "ADDR")]
    pub(crate) srcip: Option<String>,
    /// The address of the other side
    #[arg(long, value_name = "ADDR")]
    pub(crate) dstip: Option<String>,
    /// The port of who opened the connection
    #[arg(long, value_name = "PORT")]
    pub(crate) srcport: Option<String>,
    /// The port of the other side
    #[arg(long, value_name = "PORT")]
    pub(crate) dstport: Option<String>,
    /// Begun at this time or later: epoch seconds or milliseconds, a date, or words as in "2 weeks ago"
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) start: Option<String>,
    /// Begun at this time or earlier
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) end: Option<String>,
    /// c: bytes to the client; s: bytes to the server
    #[arg(long, value_name = "LETTER")]
    pub(crate) direction: Option<String>,
    /// Why the stream ended: letters of c r t e l i, or open
    #[arg(long, value_name = "LETTERS")]
    pub(crate) reason: Option<String>,
    /// What the object is, as in executable
    #[arg(long, value_name = "REGEX")]
    pub(crate) filetype: Option<String>,
    /// What head or content of the object has (the parameter pcre)
    #[arg(long = "match", value_name = "REGEX", allow_hyphen_values = true)]
    pub(crate) matching: Option<String>,
    /// At most this many streams, for each search
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=10_000))]
    pub(crate) limit: u64,
    /// Skip this many streams
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) offset: u64,
    /// Newest first
    #[arg(long)]
    pub(crate) descending: bool,
    /// Fetch the content of this object instead of searching
    #[arg(long, conflicts_with_all = ["filters", "srcip", "dstip", "srcport", "dstport", "start", "end", "direction",
        "reason", "filetype", "matching", "limit", "offset", "descending", "headers_only", "json"])]
    pub(crate) oid: Option<Oid>,
    /// Print the heads of messages, without bodies
    #[arg(long)]
    pub(crate) headers_only: bool,
    /// Print what is in the objects, and say of each pair on standard input when it finds nothing
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Say on standard error what is searched for, and how long it takes
    #[arg(long)]
    pub(crate) debug: bool,
    /// One JSON object a line: for each object as `objects` prints it (it has a `kind`), and for each stream in which there is
    /// none as `streams` prints it; an oid on a line is left alone
    #[arg(long, conflicts_with_all = ["headers_only", "verbose"])]
    pub(crate) json: bool,
    /// Further filters, as in the HTTP interface: host=bad.example protocol=tcp
    #[arg(value_name = "NAME=VALUE")]
    pub(crate) filters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Derive {
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) giving_up: GivingUp,
    /// The configuration file (TOML): by what contents are scanned, in its [scan]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// End when all that is there is done
    #[arg(long)]
    pub(crate) once: bool,
    /// Memory that the process may take, files left out that it maps, and never less than 256 MB beside the gigabyte that it reserves
    /// when it begins; when that is not enough, it ends, and the next one gives up the connection that it was at
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = units::size)]
    pub(crate) max_memory: u64,
    /// Seconds of the processor that a connection may take to be taken apart, and as many again for each 64 MiB; then the process ends,
    /// and the next one gives that connection up
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) max_seconds: u32,
    /// Print a summary as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Scan {
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) giving_up: GivingUp,
    /// The configuration file (TOML): by what contents are scanned, and where to objects go
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// End when all that is there is done
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Reindex {
    #[command(flatten)]
    pub(crate) data: Data,
    /// Print a summary as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Hunt {
    #[command(flatten)]
    pub(crate) data: Data,
    /// Files of YARA rules, and folders with *.yar and *.yara; and filters as in `streamdb objects`: host=*.example mime=image/*
    #[arg(value_name = "RULES|NAME=VALUE")]
    pub(crate) what: Vec<String>,
    /// Only objects whose stream began at this time or later
    #[arg(long, value_name = "TIME")]
    pub(crate) start: Option<String>,
    /// Only objects whose stream began at this time or earlier
    #[arg(long, value_name = "TIME")]
    pub(crate) end: Option<String>,
    /// A list of digests: an MD5, SHA-1 or SHA-256 at the beginning of each line
    #[arg(long, value_name = "FILE")]
    pub(crate) hash_list: Vec<PathBuf>,
    /// Where ClamAV's clamd listens: the path of its socket, or a host and a port
    #[arg(long, value_name = "ADDR", value_parser = clamd)]
    pub(crate) clamd: Option<streamdb_scan::Address>,
    /// Look into so many first bytes of a content [default: 64M]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_bytes: Option<u64>,
    /// How long one scanner may take for one content [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) timeout: Option<i64>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

fn clamd(text: &str) -> Result<streamdb_scan::Address, String> {
    streamdb_scan::Address::parse(text).ok_or_else(|| format!("it takes {}", streamdb_scan::Address::ACCEPTED))
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) data: Data,
    /// What to hand out, as the lists name it: FILE-OFFSET-LENGTH-INDEX
    #[arg(value_name = "OID")]
    pub(crate) oid: Oid,
    /// Another version of the object, where frames carried different bytes for one place: 1 to 4
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1", require_equals = true,
        value_parser = clap::value_parser!(u8).range(1..=4), conflicts_with_all = ["pcap", "raw"])]
    pub(crate) other: Option<u8>,
    /// The stream's own bytes, with zeros where bytes are missing
    #[arg(long, conflicts_with = "pcap")]
    pub(crate) raw: bool,
    /// The frames of its connection, as a capture file
    #[arg(long)]
    pub(crate) pcap: bool,
    /// Go on with what comes, until the stream ends or Ctrl-C: any oid that the stream ever had will do
    #[arg(long, requires = "raw")]
    pub(crate) follow: bool,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Content {
    #[command(flatten)]
    pub(crate) data: Data,
    /// Which: 64 hexadecimal digits
    #[arg(value_name = "SHA256")]
    pub(crate) sha256: String,
    /// Print it as one JSON object
    #[arg(long, conflicts_with = "output")]
    pub(crate) json: bool,
    /// Write the content itself to this file, `-` for standard output: of an object that has it whole, or joined of its parts
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) data: Data,
    /// The capture file to write, `-` for standard output: classic pcap where that says all there is to say, else pcapng
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: PathBuf,
    /// The format, whatever the frames are
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatFlag>,
    /// Filters by address, port and time: ip=10.0.0.0/8 port=80 start="2012-03-02 07:50:00"
    #[arg(value_name = "NAME=VALUE")]
    pub(crate) filters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) data: Data,
    /// Look at every byte: all checksums, records and frames, and the rows of objects beside what the buckets give
    #[arg(long)]
    pub(crate) deep: bool,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Listing {
    #[command(flatten)]
    pub(crate) data: Data,
    /// JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AwaitFolder {
    #[command(flatten)]
    pub(crate) data: Data,
    /// The folder
    #[arg(value_name = "FOLDER")]
    pub(crate) awaited: PathBuf,
    /// One from which captures are taken already
    #[arg(long, value_name = "FOLDER")]
    pub(crate) beside: Vec<PathBuf>,
    /// Files are to be removed there
    #[arg(long)]
    pub(crate) remove: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Manual {
    /// The folder to write them to
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
pub(crate) enum CompressionFlag {
    Fast,
    Full,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
pub(crate) enum PacketsFlag {
    Full,
    Tcp,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FormatFlag {
    Pcap,
    Pcapng,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
pub(crate) enum OverlapFlag {
    First,
    Last,
    Linux,
    Windows,
}

impl From<OverlapFlag> for OverlapPolicy {
    fn from(flag: OverlapFlag) -> Self {
        match flag {
            OverlapFlag::First => Self::First,
            OverlapFlag::Last => Self::Last,
            OverlapFlag::Linux => Self::Linux,
            OverlapFlag::Windows => Self::Windows,
        }
    }
}

impl From<OverlapFlag> for FragmentOverlap {
    fn from(flag: OverlapFlag) -> Self {
        match flag {
            // Windows took the first copy of what came in fragments.
            OverlapFlag::First | OverlapFlag::Windows => Self::First,
            OverlapFlag::Last => Self::Last,
            OverlapFlag::Linux => Self::Linux,
        }
    }
}

fn token_name(text: &str) -> Result<String, String> {
    config::name(text).ok_or_else(|| format!("it takes {}", config::NAME_ACCEPTED))
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_word(text).ok_or_else(|| "the roles are read and submit".to_owned())
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    config::listen(text).ok_or_else(|| format!("it takes {}", config::LISTEN_ACCEPTED))
}

/// A bucket's window is whole seconds.
pub(crate) fn window(text: &str) -> Result<i64, String> {
    units::duration(text)
        .map_err(|_| "the window of a bucket is 1s or longer, in whole seconds, as in 90s, 5m or 2h".to_owned())
}

pub(crate) fn bucket_bytes(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 16 << 20;
    const MOST: u64 = 4 << 30;
    let size = units::size(text)?;
    if (LEAST..=MOST).contains(&size) { Ok(size) } else { Err("a bucket has 16M to 4G".into()) }
}

/// How many workers an interface has.
pub(crate) fn workers(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_WORKERS).contains(number));
    number.ok_or_else(|| format!("an interface has 1 to {MAX_WORKERS} workers"))
}

/// libpcap takes a signed 32-bit number.
pub(crate) fn ring_bytes(text: &str) -> Result<u32, String> {
    const LEAST: u64 = 1 << 20;
    const MOST: u64 = 2047 << 20;
    let size = units::size(text)?;
    match u32::try_from(size) {
        Ok(bytes) if (LEAST..=MOST).contains(&size) => Ok(bytes),
        _ => Err("a buffer has 1M to 2047M".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
