//! Standard output and standard error: text from captures never reaches a terminal raw.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Prints one sentence on standard error.
pub(crate) fn complain(sentence: &str) {
    // When standard error is gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "streamdb: {}", printable(sentence));
}

/// The text with its control characters made visible.
pub(crate) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A file, or standard output for `-` and for nothing.
pub(crate) struct Output {
    writer: BufWriter<Box<dyn Write>>,
    /// What errors call it.
    pub(crate) name: PathBuf,
}

impl Output {
    /// Opens it.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, crate::commands::Error> {
        let (writer, name): (Box<dyn Write>, PathBuf) = match path.filter(|path| *path != Path::new("-")) {
            None => (Box::new(io::stdout().lock()), "standard output".into()),
            Some(path) => {
                let file = File::create(path).map_err(|e| crate::commands::Error::output(path, e))?;
                (Box::new(file), path.to_owned())
            }
        };
        Ok(Self { writer: BufWriter::with_capacity(1 << 20, writer), name })
    }

    /// What an I/O error means here.
    pub(crate) fn error(&self) -> impl Fn(io::Error) -> crate::commands::Error + use<> {
        let name = self.name.clone();
        move |error| crate::commands::Error::output(&name, error)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_made_visible() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("größe"), "größe");
    }
}
