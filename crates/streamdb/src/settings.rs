//! How frames become a store: what flags and configuration say of it, as one value that another process can be given.

use serde::{Deserialize, Serialize};
use streamdb_storage::{Compression, Packets, WriterConfig};

use crate::cli::{CompressionFlag, OverlapFlag, PacketsFlag, Storing};
use crate::commands::Error;
use crate::config::Config;
use crate::cutoff::{MAX_RULES, Rule};
use crate::worker::WorkerConfig;

/// How frames become a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    compression: CompressionFlag,
    packets: PacketsFlag,
    /// Nanoseconds.
    bucket: i64,
    bucket_size: u64,
    /// The capture filter.
    pub(crate) filter: Option<String>,
    cutoffs: Vec<Rule>,
    overlap: OverlapFlag,
    reject_bad_checksums: bool,
    max_connections: u32,
    max_held: u64,
    fold_vlans: bool,
    split_teids: bool,
}

impl Settings {
    /// What the flags say, and the configuration.
    ///
    /// # Errors
    /// When there are too many rules about cutoffs.
    pub(crate) fn new(args: &Storing, config: &Config) -> Result<Self, Error> {
        // What the flags say is asked first, as it is for this run.
        let cutoffs: Vec<Rule> = args.cutoff.iter().chain(&config.cutoffs).cloned().collect();
        if cutoffs.len() > MAX_RULES {
            return Err(Error::Other(format!(
                "{} rules about cutoffs are too many: there is room for {MAX_RULES}",
                cutoffs.len()
            )));
        }
        Ok(Self {
            compression: args.compression,
            packets: args.packets,
            bucket: args.bucket,
            bucket_size: args.bucket_size,
            filter: args.filter.clone(),
            cutoffs,
            overlap: args.overlap,
            reject_bad_checksums: args.reject_bad_checksums,
            max_connections: args.max_connections,
            max_held: args.max_held,
            fold_vlans: args.fold_vlans,
            split_teids: args.split_teids,
        })
    }

    /// How buckets are written.
    pub(crate) fn writer(&self) -> WriterConfig {
        WriterConfig {
            compression: match self.compression {
                CompressionFlag::Fast => Compression::Fast,
                CompressionFlag::Full => Compression::Full,
            },
            packets: match self.packets {
                PacketsFlag::Full => Packets::Full,
                PacketsFlag::Tcp => Packets::Tcp,
                PacketsFlag::Off => Packets::Off,
            },
            bucket_window: self.bucket,
            bucket_bytes: self.bucket_size,
            ..WriterConfig::default()
        }
    }

    /// How streams are put together.
    pub(crate) fn worker(&self) -> WorkerConfig {
        let mut config = WorkerConfig { cutoffs: self.cutoffs.clone(), ..WorkerConfig::default() };
        config.reassembly.overlap = self.overlap.into();
        config.reassembly.reject_bad_checksums = self.reject_bad_checksums;
        config.reassembly.max_connections = self.max_connections as usize;
        config.reassembly.max_held = usize::try_from(self.max_held).unwrap_or(usize::MAX);
        config.decode.verify_checksums = self.reject_bad_checksums;
        config.decode.overlap = self.overlap.into();
        config.decode.fold_vlans = self.fold_vlans;
        config.decode.split_teids = self.split_teids;
        config
    }
}
