//! `[scan]`: by what contents are scanned as they come.

use std::path::PathBuf;
use std::time::Duration;

use streamdb_scan::{Address, Settings};

use super::section::{ConfigError, Section};
use crate::units;

/// The keys below [scan].
pub(super) const KEYS: &[&str] = &["rules", "hash_lists", "clamd", "max_bytes", "timeout", "past"];

pub(super) fn read(mut section: Section<'_>) -> Result<Settings, ConfigError> {
    let default = Settings::default();
    let path = |text: &str| Some(PathBuf::from(text)).filter(|_| !text.is_empty());
    let size = |text: &str| units::size(text).ok().filter(|size| *size > 0);
    let time =
        |text: &str| u64::try_from(units::duration(text).ok()?).ok().filter(|time| *time > 0).map(Duration::from_nanos);
    let yes = |text: &str| text.parse().ok();
    let settings = Settings {
        rules: section.list("rules", "paths of rule files and of folders of them", path)?.unwrap_or_default(),
        hash_lists: section.list("hash_lists", "paths of files with a digest a line", path)?.unwrap_or_default(),
        clamd: section.value("clamd", Address::ACCEPTED, Address::parse)?,
        max_bytes: section.value("max_bytes", "a size, as in 512K or 64M", size)?.unwrap_or(default.max_bytes),
        timeout: section.value("timeout", "a time, as in 30s or 5m", time)?.unwrap_or(default.timeout),
        past: section.value("past", "true or false", yes)?.unwrap_or(default.past),
    };
    if settings.any() {
        Ok(settings)
    } else {
        Err(section.wrong("[scan] names nothing to scan by; give it rules, hash_lists or clamd"))
    }
}
