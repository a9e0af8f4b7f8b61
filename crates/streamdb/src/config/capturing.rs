//! `data`, `[capture]` and `[store]`: where from and where to, for `streamdb run`.

use std::path::PathBuf;

use clap::ValueEnum;
use streamdb_capture::{FeedError, FeedSettings, Filter, MAX_FRAME};

use super::section::{ConfigError, Section};
use super::{LISTEN_ACCEPTED, listen};
use crate::capturing::MAX_WORKERS;
use crate::cli::{CompressionFlag, OverlapFlag, PacketsFlag, bucket_bytes, ring_bytes, window, workers};
use crate::units;

/// The keys below [capture].
pub(super) const CAPTURE: &[&str] = &[
    "interface",
    "interfaces",
    "listen_pcap",
    "listen_pcap_from",
    "spool",
    "spool_remove",
    "workers",
    "filter",
    "snap_length",
    "buffer",
    "promiscuous",
];
/// The keys below [store].
pub(super) const STORE: &[&str] = &[
    "compression",
    "packets",
    "bucket",
    "bucket_size",
    "overlap",
    "reject_bad_checksums",
    "max_connections",
    "max_held",
    "fold_vlans",
    "split_teids",
];

pub(super) const DATA: &str = "the path of a folder";

pub(super) const USER: &str = "the name of a user";

/// What is captured, and how: flags of `streamdb capture`, each of them valid, those that are not said left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) Vec<String>);

impl Flags {
    fn say(&mut self, flag: &str, value: Option<String>) {
        if let Some(value) = value {
            // In one word, as a value may begin with a dash.
            self.0.push(format!("--{flag}={value}"));
        }
    }

    /// The capture filter.
    pub(crate) fn filter(&self) -> Option<&str> {
        self.all("filter").next()
    }

    /// The interfaces.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.all("interface")
    }

    /// The folders in which captures appear.
    pub(crate) fn spool(&self) -> impl Iterator<Item = &str> {
        self.all("spool")
    }

    /// What holds until the capture is started anew: all but the filter.
    pub(crate) fn fixed(&self) -> impl Iterator<Item = &String> {
        self.0.iter().filter(|flag| !flag.starts_with("--filter="))
    }

    fn all(&self, flag: &'static str) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(move |said| said.strip_prefix("--")?.strip_prefix(flag)?.strip_prefix('='))
    }

    fn set(&mut self, flag: &str, is_set: bool) {
        if is_set {
            self.0.push(format!("--{flag}"));
        }
    }
}

pub(super) fn data(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

pub(super) fn user(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}

/// What to capture. Without an interface there is nothing to say.
pub(super) fn capture(mut section: Section<'_>, flags: &mut Flags) -> Result<(), ConfigError> {
    let name = |text: &str| (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned());
    let accepted = "the name of a network interface, or any";
    let sent = sent(&mut section, flags)?;
    let appears = spool(&mut section, flags)?;
    match (section.value("interface", accepted, name)?, section.list("interfaces", accepted, name)?) {
        (Some(_), Some(_)) => return Err(section.wrong("[capture] has interface and interfaces; give it one of them")),
        (Some(one), None) => flags.say("interface", Some(one)),
        (None, Some(all)) if !all.is_empty() => all.into_iter().for_each(|one| flags.say("interface", Some(one))),
        (None, None) if sent || appears => {}
        _ => return Err(section.wrong(&format!("capture.interface is missing; it takes {accepted}"))),
    }
    let checked = |text: &str| workers(text).ok().map(|_| text.to_owned());
    let accepted = format!("a number of workers for each interface, from 1 to {MAX_WORKERS}");
    flags.say("workers", section.value("workers", &accepted, checked)?);
    flags.say("filter", filter(&mut section)?);
    let length = |text: &str| text.parse().ok().filter(|n: &usize| (64..=MAX_FRAME).contains(n));
    let accepted = format!("a number of bytes from 64 to {MAX_FRAME}");
    let length = section.value("snap_length", &accepted, length)?;
    flags.say("snaplen", length.map(|length| length.to_string()));
    let checked = |text: &str| ring_bytes(text).ok().map(|_| text.to_owned());
    flags.say("buffer", section.value("buffer", "a size from 1M to 2047M", checked)?);
    flags.set("no-promisc", section.flag("promiscuous")? == Some(false));
    Ok(())
}

/// The capture filter. What it is to be used on is not known here.
fn filter(section: &mut Section<'_>) -> Result<Option<String>, ConfigError> {
    let mut why = String::new();
    let expression = |text: &str| {
        let checked = if text.is_empty() { None } else { Some(Filter::check(text)) };
        checked?.map_err(|error| why = format!("capture.filter: {error}")).ok().map(|()| text.to_owned())
    };
    let taken = section.value("filter", "an expression in the language of tcpdump", expression);
    taken.map_err(|error| if why.is_empty() { error } else { section.wrong(&why) })
}

/// Where it is listened for what others send, and who may. Says whether it is.
fn sent(section: &mut Section<'_>, flags: &mut Flags) -> Result<bool, ConfigError> {
    let listen = section.list("listen_pcap", LISTEN_ACCEPTED, listen)?.unwrap_or_default();
    let accepted = "addresses and networks, as in 192.0.2.7 or 10.1.0.0/16, and not all addresses";
    let from = section.list("listen_pcap_from", accepted, |text| text.parse().ok())?.unwrap_or_default();
    if listen.is_empty() && !from.is_empty() {
        return Err(
            section.wrong("capture.listen_pcap_from says who may send, and without listen_pcap nobody is listened to")
        );
    }
    let settings = FeedSettings { listen, from };
    if let Err(FeedError::Public { address }) = settings.check() {
        return Err(section.wrong(&format!(
            "captures over TCP know no authentication, so capture.listen_pcap takes {address} only with a list of who may send: give \
             listen_pcap_from, or listen on 127.0.0.1 and have a tunnel end there"
        )));
    }
    settings.listen.iter().for_each(|address| flags.say("listen-pcap", Some(address.to_string())));
    settings.from.iter().for_each(|network| flags.say("listen-pcap-from", Some(network.to_string())));
    Ok(!settings.listen.is_empty())
}

/// In which folders captures appear, and whether they are removed. Says whether there are any.
fn spool(section: &mut Section<'_>, flags: &mut Flags) -> Result<bool, ConfigError> {
    // Whoever starts it, and wherever: it is the same folder.
    let absolute = |text: &str| (text.starts_with('/') && !text.contains('\0')).then(|| text.to_owned());
    let folders = section.list("spool", "paths of folders, each from / on", absolute)?.unwrap_or_default();
    let removes = section.flag("spool_remove")? == Some(true);
    if removes && folders.is_empty() {
        return Err(
            section.wrong("capture.spool_remove removes what is stored from the folders of spool, and there are none")
        );
    }
    let appears = !folders.is_empty();
    folders.into_iter().for_each(|folder| flags.say("spool", Some(folder)));
    flags.set("spool-remove", removes);
    Ok(appears)
}

/// How it is stored.
pub(super) fn store(mut section: Section<'_>, flags: &mut Flags) -> Result<(), ConfigError> {
    flags.say("compression", one_of::<CompressionFlag>(&mut section, "compression")?);
    flags.say("packets", one_of::<PacketsFlag>(&mut section, "packets")?);
    flags.say("overlap", one_of::<OverlapFlag>(&mut section, "overlap")?);
    let checked = |text: &str| window(text).ok().map(|_| text.to_owned());
    flags.say("bucket", section.value("bucket", "a time of 1s or more, as in 90s, 5m or 2h", checked)?);
    let checked = |text: &str| bucket_bytes(text).ok().map(|_| text.to_owned());
    flags.say("bucket-size", section.value("bucket_size", "a size from 16M to 4G", checked)?);
    flags.set("reject-bad-checksums", section.flag("reject_bad_checksums")? == Some(true));
    let number =
        |text: &str| text.parse().ok().filter(|n: &u32| (1000..=16_000_000).contains(n)).map(|n| n.to_string());
    flags.say("max-connections", section.value("max_connections", "a number from 1000 to 16000000", number)?);
    let checked = |text: &str| units::size(text).ok().map(|_| text.to_owned());
    flags.say("max-held", section.value("max_held", "a size, as in 256M or 1G", checked)?);
    flags.set("fold-vlans", section.flag("fold_vlans")? == Some(true));
    flags.set("split-teids", section.flag("split_teids")? == Some(true));
    Ok(())
}

/// A word that a flag takes.
fn one_of<F: ValueEnum>(section: &mut Section<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    let words: Vec<_> = F::value_variants().iter().filter_map(|value| value.to_possible_value()).collect();
    let names: Vec<_> = words.iter().map(|word| word.get_name()).collect();
    section.value(key, &names.join(", "), |text| names.contains(&text).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::config::tests::parse;

    #[test]
    fn what_is_said_becomes_flags() {
        assert_eq!(parse("").unwrap().capture, None);
        let config = parse(
            "data = \"/var/lib/streamdb\"\n[capture]\ninterface = \"eth1\"\nfilter = \"not port 22\"\nsnap_length = 1500\n\
             buffer = \"256M\"\npromiscuous = false\n[store]\ncompression = \"fast\"\npackets = \"tcp\"\nbucket = \"1m\"\n\
             bucket_size = \"1G\"\noverlap = \"linux\"\nreject_bad_checksums = true\n\
             max_connections = 50000\nmax_held = \"64M\"\nfold_vlans = true\nsplit_teids = true\n",
        );
        let config = config.unwrap();
        assert_eq!(config.data, Some("/var/lib/streamdb".into()));
        assert_eq!(
            config.capture.unwrap().0,
            [
                "--interface=eth1",
                "--filter=not port 22",
                "--snaplen=1500",
                "--buffer=256M",
                "--no-promisc",
                "--compression=fast",
                "--packets=tcp",
                "--overlap=linux",
                "--bucket=1m",
                "--bucket-size=1G",
                "--reject-bad-checksums",
                "--max-connections=50000",
                "--max-held=64M",
                "--fold-vlans",
                "--split-teids",
            ]
        );
    }

    #[test]
    fn several_interfaces_are_flags_each() {
        let config = parse("[capture]\ninterfaces = [\"eth1\", \"eth2\"]\nworkers = 2").unwrap();
        assert_eq!(config.capture.unwrap().0, ["--interface=eth1", "--interface=eth2", "--workers=2"]);
    }

    #[test]
    fn where_captures_appear_no_interface_is_needed() {
        let config = parse("[capture]\nspool = [\"/a\", \"/b\"]\nspool_remove = true");
        assert_eq!(config.unwrap().capture.unwrap().0, ["--spool=/a", "--spool=/b", "--spool-remove"]);
    }

    #[test]
    fn mistakes_are_sentences() {
        for (text, wanted) in [
            ("[capture]", "1: capture.interface is missing; it takes the name of a network interface, or any"),
            (
                "[capture]\ninterface = \"eth1\"\nbuffer = \"5G\"",
                "3: capture.buffer: \"5G\" is not accepted; it takes a size from 1M to 2047M",
            ),
            ("[store]\ncompression = \"none\"", "2: store.compression: \"none\" is not accepted; it takes fast, full"),
            (
                "[capture]\nintrface = \"eth1\"",
                "2: there is no key \"intrface\" below [capture]; did you mean interface?",
            ),
            (
                "[capture]\ninterface = \"eth1\"\nfilter = \"tcp prt 80\"",
                "1: capture.filter: the filter 'tcp prt 80' cannot be used on link type 1: can't parse filter expression: \
                 syntax error",
            ),
            (
                "[capture]\ninterface = \"eth1\"\nfilter = \"\"",
                "3: capture.filter: \"\" is not accepted; it takes an expression in the language of tcpdump",
            ),
            (
                "[capture]\ninterface = \"eth1\"\ninterfaces = [\"eth2\"]",
                "1: [capture] has interface and interfaces; give it one of them",
            ),
            (
                "[capture]\ninterfaces = []",
                "1: capture.interface is missing; it takes the name of a network interface, or any",
            ),
            (
                "[capture]\ninterface = \"eth1\"\nworkers = 0",
                "3: capture.workers: 0 is not accepted; it takes a number of workers for each interface, from 1 to 59",
            ),
            (
                "[capture]\nspool = [\"pcaps\"]",
                "2: capture.spool: \"pcaps\" is not accepted; it takes paths of folders, each from / on",
            ),
            (
                "[capture]\ninterface = \"eth1\"\nspool_remove = true",
                "1: capture.spool_remove removes what is stored from the folders of spool, and there are none",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), format!("streamdb.toml, line {wanted}"));
        }
    }
}
