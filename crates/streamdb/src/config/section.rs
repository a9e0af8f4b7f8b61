//! A table of the configuration file: its values by key, each mistake with its line.

use std::ops::Range;
use std::path::PathBuf;

use streamdb_query::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Most characters of what was given that are repeated.
const SHOWN: usize = 80;

/// What is wrong with the configuration, in one sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{path}: the configuration could not be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}, line {line}: {what}")]
    Line { path: PathBuf, line: usize, what: String },
}

/// The file.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl File {
    /// Its outermost table, in which only these keys are known.
    pub(super) fn table(&self, known: &'static [&'static str]) -> Result<Section<'_>, ConfigError> {
        match DeTable::parse(&self.text) {
            Ok(table) => {
                let at = table.span();
                Section::new(self, String::new(), at, table.into_inner(), known)
            }
            Err(error) => {
                let what = error.message().replace('\n', ", ");
                Err(self.wrong(error.span().unwrap_or_default(), format!("this is no TOML: {what}")))
            }
        }
    }

    pub(super) fn wrong(&self, at: Range<usize>, what: String) -> ConfigError {
        let before = self.text.as_bytes().get(..at.start).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        ConfigError::Line { path: self.path.clone(), line, what }
    }
}

/// A table. What it has is taken out of it.
pub(super) struct Section<'f> {
    file: &'f File,
    /// As in `[http]`; empty for the file's own.
    name: String,
    at: Range<usize>,
    table: DeTable<'f>,
}

impl<'f> Section<'f> {
    fn new(
        file: &'f File,
        name: String,
        at: Range<usize>,
        table: DeTable<'f>,
        known: &'static [&'static str],
    ) -> Result<Self, ConfigError> {
        let unknown = table.keys().find(|key| !known.contains(&key.get_ref().as_ref()));
        if let Some(key) = unknown {
            let place = if name.is_empty() { String::new() } else { format!(" below [{name}]") };
            let hint = match nearest(key.get_ref(), known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there are {}", known.join(", ")),
            };
            return Err(file.wrong(key.span(), format!("there is no key {}{place}; {hint}", quoted(key.get_ref()))));
        }
        Ok(Self { file, name, at, table })
    }

    /// A mistake of the table as a whole.
    pub(super) fn wrong(&self, what: &str) -> ConfigError {
        self.file.wrong(self.at.clone(), what.to_owned())
    }

    /// The table below this one with this name.
    pub(super) fn section(
        &mut self,
        key: &str,
        known: &'static [&'static str],
    ) -> Result<Option<Section<'f>>, ConfigError> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        let at = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Section::new(self.file, self.path(key), at, table, known).map(Some),
            other => Err(self.refused(key, at, &other, &format!("a table, which begins with [{}]", self.path(key)))),
        }
    }

    /// The tables of the list of them with this name, in the order of the file.
    pub(super) fn sections(
        &mut self,
        key: &str,
        known: &'static [&'static str],
    ) -> Result<Vec<Section<'f>>, ConfigError> {
        let accepted = format!("tables, each of which begins with [[{}]]", self.path(key));
        let Some(value) = self.table.remove(key) else { return Ok(Vec::new()) };
        let at = value.span();
        let entries = match value.into_inner() {
            DeValue::Array(entries) => entries,
            other => return Err(self.refused(key, at, &other, &accepted)),
        };
        let section = |entry: Spanned<DeValue<'f>>| match (entry.span(), entry.into_inner()) {
            (at, DeValue::Table(table)) => Section::new(self.file, self.path(key), at, table, known),
            (at, other) => Err(self.refused(key, at, &other, &accepted)),
        };
        entries.into_iter().map(section).collect()
    }

    /// The value of a key, read by `parse`, for which `accepted` says what it takes. Numbers are read as their digits.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        accepted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        let at = value.span();
        let value = value.into_inner();
        let parsed = match &value {
            DeValue::String(text) => parse(text),
            DeValue::Integer(number) if number.radix() == 10 => parse(number.as_str()),
            DeValue::Boolean(yes) => parse(if *yes { "true" } else { "false" }),
            _ => None,
        };
        parsed.map(Some).ok_or_else(|| self.refused(key, at, &value, accepted))
    }

    /// The same for what nobody is to read in a message.
    pub(super) fn secret<T>(
        &mut self,
        key: &str,
        accepted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        let parsed = value.get_ref().as_str().and_then(parse);
        let refused = || self.file.wrong(value.span(), format!("{}: it takes {accepted}", self.path(key)));
        parsed.map(Some).ok_or_else(refused)
    }

    /// The same for a key that has to be there.
    pub(super) fn needed<T>(
        &mut self,
        key: &str,
        accepted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let value = self.value(key, accepted, parse)?;
        value.ok_or_else(|| self.wrong(&format!("{} is missing; it takes {accepted}", self.path(key))))
    }

    /// The values of a list, each read by `parse`.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        accepted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        let at = value.span();
        let entries = match value.into_inner() {
            DeValue::Array(entries) => entries,
            other => {
                let accepted = format!("a list in brackets, of {accepted}");
                return Err(self.refused(key, at, &other, &accepted));
            }
        };
        let entry = |entry: Spanned<DeValue<'f>>| {
            let parsed = match entry.get_ref() {
                DeValue::String(text) => parse(text),
                _ => None,
            };
            parsed.ok_or_else(|| self.refused(key, entry.span(), entry.get_ref(), accepted))
        };
        entries.into_iter().map(entry).collect::<Result<_, _>>().map(Some)
    }

    /// The same for what nobody is to read in a message.
    pub(super) fn secrets<T>(
        &mut self,
        key: &str,
        accepted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some(value) = self.table.remove(key) else { return Ok(Vec::new()) };
        let refused =
            |at| self.file.wrong(at, format!("{}: it takes a list in brackets, of {accepted}", self.path(key)));
        let at = value.span();
        let DeValue::Array(entries) = value.into_inner() else { return Err(refused(at)) };
        let entry = |entry: &Spanned<DeValue<'f>>| entry.get_ref().as_str().and_then(&parse);
        entries.iter().map(|one| entry(one).ok_or_else(|| refused(one.span()))).collect()
    }

    /// Whether something is so.
    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        let flag = value.get_ref().as_bool();
        flag.map(Some).ok_or_else(|| self.refused(key, value.span(), value.get_ref(), "true or false"))
    }

    /// Which of these keys it has, if any.
    pub(super) fn has_one_of(&self, keys: &[&'static str]) -> Option<&'static str> {
        keys.iter().find(|key| self.table.contains_key(**key)).copied()
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn refused(&self, key: &str, at: Range<usize>, value: &DeValue<'_>, accepted: &str) -> ConfigError {
        let given = match value {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        self.file.wrong(at, format!("{}: {given} is not accepted; it takes {accepted}", self.path(key)))
    }
}

fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("{short:?}")
}
