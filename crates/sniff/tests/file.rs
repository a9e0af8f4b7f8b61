//! Compares the sentences with those of file(1) 5.44, over the files of the machine it runs on.
//!
//! `STREAMDB_SNIFF_FILES=folder:folder` compares those folders instead, and all files in them.
#![allow(clippy::unwrap_used, reason = "a test that cannot read the system's files has failed")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use streamdb_sniff::{Content, HEAD_BYTES, Kind, sniff_content};

/// The version whose wording is ours.
const VERSION: &str = "file-5.44";
/// How many files of one extension are taken from one of the folders.
const OF_EACH: usize = 6;
/// How many of the files whose kinds we name must have the same sentence.
const AGREEING: f64 = 0.97;

/// Where we differ on purpose: what ours begins with, what theirs contains, and why.
const ON_PURPOSE: &[(&str, &str, &str)] = &[
    ("ELF 64-bit LSB pie executable", "shared object", "libc.so can be run, and file(1) asks the file's mode"),
    ("ELF 64-bit LSB shared object", "pie executable", "file(1) asks the file's mode"),
    ("Perl script", "Perl script text executable", "file(1) takes it for binary, and so says no encoding"),
    ("Bourne-Again shell script", "executable (binary data)", "as above"),
    ("POSIX shell script", "executable (binary data)", "as above"),
    ("script, ", "script", "an interpreter that is not ours to name; file(1) prints its path"),
    ("Node.js script", "a /usr/bin/env", "the interpreter's name is enough"),
    ("dash script", "a /bin/dash script", "as above"),
    ("dash script", "a /usr/bin/dash script", "as above"),
    ("Python script", "a /usr/bin/", "as above"),
    ("Perl script", "a /usr/bin/", "as above"),
    ("Ruby script", "a /usr/bin/", "as above"),
    ("Lua script", "a /usr/bin/", "as above"),
    ("awk script", "a /usr/bin/", "as above"),
    ("makefile script", "makefile script", "file(1) says that it is an executable in another place"),
    ("PHP script", "a /usr/bin/", "as above"),
    ("Tcl/Tk script", "a /usr/bin/", "as above"),
    ("JavaScript source", "", "file(1) knows none without a first line"),
    ("PowerShell script", "", "as above"),
    ("VBScript source", "", "as above"),
    ("HTML Application (HTA)", "HTML document", "as above"),
    ("Python script", "text", "file(1) looks for other words"),
    ("XHTML document", "XML 1.0 document", "file(1) looks for the word in another place"),
    ("RFC 822 mail", "text", "file(1) has a sentence for each first field"),
    ("Composite Document File V2 Document", "Composite Document File V2 Document", "their properties are not ours"),
    ("Microsoft Excel 2007+", "Microsoft", "told by its directory, not by the order of its members"),
    ("Microsoft Word 2007+", "Microsoft", "as above"),
    ("Microsoft PowerPoint 2007+", "Microsoft", "as above"),
    ("Java archive data (JAR)", "Zip archive data", "told by the manifest, wherever it stands"),
    ("Android package (APK)", "Zip archive data", "as above"),
    ("PDF document", "PDF document", "pages are counted at the root of their tree, not at the first count"),
    ("RIFF (little-endian) data", "RIFF (little-endian) data", "without the codec"),
    ("Web Open Font Format", "Web Open Font Format", "without its version"),
    ("MS Windows icon resource", "MS Windows icon resource", "without the depths"),
    ("PC bitmap", "PC bitmap", "without the places of its parts"),
    ("Audio file with ID3", "Audio file with ID3", "without what it contains"),
    ("MPEG audio", "MPEG ADTS", "without rates"),
    ("RPM v3.0", "RPM v3.0", "without the package's name"),
    ("MS Windows shortcut", "MS Windows shortcut", "without what it points to"),
    ("Mach-O", "Mach-O", "without flags and the list of architectures"),
    ("PostScript document text", "PostScript document text", "without conformance"),
    ("MS-DOS executable", "MS-DOS executable", "without the loaders of the eighties"),
    ("JSON text data", "JSON", "one object per line is not apart"),
    ("TIFF image data", "TIFF image data", "without the directory"),
    ("PE32", "PE32", "one section is said, too; Nullsoft's installers are told by their section"),
    ("PE32", "Linux kernel", "a kernel that is a program for EFI, too"),
    ("Zip archive data", "Zip data (MIME type", "an unknown type is not said"),
    ("ISO 9660", "ISO 9660", "whether one can boot from it is not said"),
    ("PEM ", "ASCII text", "file(1) knows fewer labels"),
    ("PGP public key block", "PGP public key block", "without its packets"),
    ("PostScript Type 1 font text", "PostScript Type 1 font text", "without its name"),
    ("makefile script", "a /usr/bin/make", "the interpreter's name is enough"),
    ("HTML document", "text", "file(1) looks for tags anywhere, we at the beginning"),
    ("OpenType font data", "OpenType font data", "without its tables"),
];

/// Where the types differ on purpose: what ours and theirs begin with, and why.
const TYPES_ON_PURPOSE: &[(&str, &str, &str)] = &[
    ("application/java-archive", "application/zip", "told by the manifest, wherever it stands"),
    ("application/java-vm", "application/x-java-applet", "the name that others use"),
    ("application/octet-stream", "inode/x-empty", "what comes over a network is no node of a file system"),
    ("application/postscript", "text/plain", "file(1) has a sentence without a type"),
    ("application/x-executable", "application/x-pie-executable", "one type for all that is run"),
    ("application/x-font-type1", "text/plain", "file(1) has a sentence without a type"),
    ("application/x-llvm", "application/octet-stream", "file(1) has a sentence without a type"),
    ("application/x-pem-file", "text/plain", "file(1) has a sentence without a type"),
    ("font/ttf", "font/sfnt", "the more exact of the types of RFC 8081"),
    ("image/x-icon", "image/vnd.microsoft.icon", "the name that browsers and servers use"),
    ("text/html", "text/plain", "file(1) looks for other tags"),
    ("text/javascript", "application/javascript", "RFC 9239"),
    ("text/javascript", "text/plain", "file(1) knows none without a first line"),
    ("text/vbscript", "text/plain", "file(1) knows none"),
    ("text/x-awk", "text/plain", "file(1) looks for other words"),
    ("text/x-makefile", "text/plain", "file(1) has a sentence without a type"),
    ("text/x-powershell", "text/plain", "file(1) knows none"),
    ("text/x-python", "text/plain", "file(1) looks for other words"),
    ("text/x-python", "text/x-script.python", "the name that others use"),
    ("text/plain", "text/", "a source that runs nowhere as it is, is a text"),
];

fn files(folder: &Path, most: Option<usize>) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_file() && path.to_str().is_some_and(|path| !path.contains('\n')) {
                let extension = path.extension().map(OsStr::to_string_lossy).unwrap_or_default().into_owned();
                let of_it = taken.entry(extension).or_default();
                *of_it += 1;
                if most.is_none_or(|most| *of_it <= most) {
                    files.push(path);
                }
            }
        }
    }
    files
}

/// What file(1) says of each, in the same order.
fn theirs(files: &[PathBuf], what: &[&str]) -> Vec<String> {
    let mut child = Command::new("file")
        .args(what)
        .args(["--brief", "--no-sandbox", "--files-from", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut names = child.stdin.take().unwrap();
    let list: String = files.iter().map(|path| format!("{}\n", path.display())).collect();
    let writing = std::thread::spawn(move || names.write_all(list.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn ours(path: &Path) -> Option<Kind> {
    let mut head = Vec::new();
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.take(HEAD_BYTES as u64).read_to_end(&mut head).ok()?;
    Some(sniff_content(Content::of_length(&head, length)))
}

/// Whether all parts of our sentence stand in theirs, in this order: theirs may say more.
fn says(theirs: &str, ours: &str) -> bool {
    let theirs = theirs.replace(" (stripped to external PDB)", "");
    let mut parts = theirs.split(", ");
    ours.split(", ").all(|part| parts.any(|other| other == part))
}

/// The files to compare, or nothing when there is no file(1) of this version.
fn chosen() -> Option<Vec<PathBuf>> {
    let version = Command::new("file").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if !version.starts_with(VERSION) {
        println!("skipped: {VERSION} is not installed");
        return None;
    }
    Some(match &std::env::var_os("STREAMDB_SNIFF_FILES") {
        Some(folders) => std::env::split_paths(folders).flat_map(|folder| files(&folder, None)).collect(),
        None => ["/usr/bin", "/usr/lib", "/usr/share"]
            .iter()
            .flat_map(|folder| files(Path::new(folder), Some(OF_EACH)))
            .collect(),
    })
}

#[test]
fn the_types_are_those_of_file() {
    let Some(files) = chosen() else { return };
    let theirs = theirs(&files, &["--mime-type"]);
    assert_eq!(theirs.len(), files.len(), "a line of file(1) for each name");
    let (mut all, mut same) = (0_usize, 0);
    let mut purposes: BTreeMap<(&str, String), (usize, &str)> = BTreeMap::new();
    let mut differing: BTreeMap<(&str, String), (usize, &Path)> = BTreeMap::new();
    for (path, theirs) in files.iter().zip(theirs) {
        let Some(kind) = ours(path) else { continue };
        // A kind that we do not name.
        if kind.description == "data" {
            continue;
        }
        all += 1;
        if kind.mime == theirs {
            same += 1;
            continue;
        }
        let known =
            TYPES_ON_PURPOSE.iter().find(|(ours, other, _)| kind.mime.starts_with(ours) && theirs.starts_with(other));
        match known {
            Some((_, _, reason)) => purposes.entry((kind.mime, theirs)).or_insert((0, reason)).0 += 1,
            None => differing.entry((kind.mime, theirs)).or_insert((0, path)).0 += 1,
        }
    }
    for ((ours, theirs), (count, reason)) in &purposes {
        println!("{count:6} {ours}, file(1): {theirs}: {reason}");
    }
    let purpose: usize = purposes.values().map(|(count, _)| count).sum();
    println!("{all} files of kinds that we name: {same} with the same type, {purpose} with another on purpose");
    let others: usize = differing.values().map(|(count, _)| count).sum();
    println!("{others} others:");
    for ((ours, theirs), (count, path)) in &differing {
        println!("{count:6} {ours}, file(1): {theirs}: {}", path.display());
    }
    assert!((same + purpose) as f64 >= AGREEING * all as f64, "too many differ: {others} of {all}");
}

#[test]
fn the_sentences_are_those_of_file() {
    let Some(files) = chosen() else { return };
    let theirs = theirs(&files, &[]);
    assert_eq!(theirs.len(), files.len(), "a line of file(1) for each name");

    // By the first words of theirs: how many, how many the same, how many differ on purpose.
    let mut kinds: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut differing = Vec::new();
    for (path, theirs) in files.iter().zip(&theirs) {
        let Some(ours) = ours(path).map(|kind| kind.description.into_owned()) else { continue };
        let words: Vec<&str> = theirs.split([' ', ',']).take(3).collect();
        let counts = kinds.entry(words.join(" ")).or_default();
        counts[0] += 1;
        if says(theirs, &ours) {
            counts[1] += 1;
        } else if ON_PURPOSE.iter().any(|(start, part, _)| ours.starts_with(start) && theirs.contains(part)) {
            counts[2] += 1;
        } else if ours == "data" {
            // A kind that we do not name.
            counts[0] -= 1;
        } else {
            differing.push(format!("{}\n    ours:   {ours}\n    theirs: {theirs}", path.display()));
        }
    }
    for (kind, [all, same, purpose]) in kinds.iter().filter(|(_, [all, ..])| *all > 0) {
        println!("{all:6} {same:6} {purpose:6}  {kind}");
    }
    let [all, same, purpose] = kinds.values().fold([0; 3], |sum, counts| std::array::from_fn(|n| sum[n] + counts[n]));
    println!("{all} files of kinds that we name: {same} with the same sentence, {purpose} with another on purpose");
    println!("{} others:\n{}", differing.len(), differing.join("\n"));
    assert!((same + purpose) as f64 >= AGREEING * all as f64, "too many differ: {} of {all}", differing.len());
}
