//! Holds ARCHITECTURE.md to the tree: the arrows between the rooms, the files that use the owner's packages, where
//! `unsafe` is, and that all lints are on everywhere.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot read the tree has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files that may allow unsafe code.
const UNSAFE_FILES: [&str; 2] = ["capture/src/live/socket.rs", "storage/src/map.rs"];

/// The packages whose users ARCHITECTURE.md names.
const OWNED_PACKAGES: [&str; 10] =
    ["pcap", "etherparse", "httparse", "mail_parser", "memmap2", "crc32fast", "infer", "axum", "tokio", "zstd"];

/// A member of the workspace, as cargo sees it.
struct Member {
    /// Its name, less the `streamdb-` of all but the binary.
    name: String,
    /// Its folder.
    folder: PathBuf,
    /// The members it depends on, but not those that only its tests need.
    arrows: BTreeSet<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn architecture() -> String {
    read(&root().join("ARCHITECTURE.md"))
}

/// `streamdb-types` is `types` on the page; the binary keeps its name.
fn room(package: &str) -> String {
    package.strip_prefix("streamdb-").unwrap_or(package).to_owned()
}

fn members() -> Vec<Member> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let arrows = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
                .map(|dependency| dependency["name"].as_str().unwrap())
                .filter(|name| ours.contains(name))
                .map(room)
                .collect();
            let manifest = Path::new(package["manifest_path"].as_str().unwrap());
            Member {
                name: room(package["name"].as_str().unwrap()),
                folder: manifest.parent().unwrap().to_path_buf(),
                arrows,
            }
        })
        .collect()
}

/// The lines of the fenced block that begins with ```` ```arrows ````: `room: room room`.
fn drawn_arrows(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    page.lines()
        .skip_while(|line| line.trim() != "```arrows")
        .skip(1)
        .take_while(|line| line.trim() != "```")
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (from, to) = line.split_once(':').unwrap_or_else(|| panic!("an arrow without a colon: {line}"));
            (from.trim().to_owned(), to.split_whitespace().map(str::to_owned).collect())
        })
        .collect()
}

/// Package and paths of each row `` | `package` | `path`, `path` | ... | `` of the table of the owner's packages.
fn drawn_packages(page: &str) -> BTreeMap<String, Vec<String>> {
    let words = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    page.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|');
            let (package, paths) = (words(cells.next()?), words(cells.next()?));
            match package.as_slice() {
                [package] if OWNED_PACKAGES.contains(&package.as_str()) => Some((package.clone(), paths)),
                _ => None,
            }
        })
        .collect()
}

/// All `.rs` files below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target" && name != ".git") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The code of a file: no comment lines, and nothing from `mod tests` on, as tests are last in a file.
fn code(path: &Path) -> String {
    read(path)
        .lines()
        .take_while(|line| *line != "mod tests {")
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether the code names something of this package: `package::` that is not the end of another name or path.
fn uses(code: &str, package: &str) -> bool {
    let needle = format!("{package}::");
    code.match_indices(&needle).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// The `key = value` lines of a table of a manifest, each without blanks.
fn table(manifest: &str, header: &str) -> BTreeSet<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != header)
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with('['))
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|line| line.split_whitespace().collect())
        .collect()
}

#[test]
fn the_arrows_are_those_of_the_page() {
    let drawn = drawn_arrows(&architecture());
    let members = members();
    let names: BTreeSet<&String> = members.iter().map(|member| &member.name).collect();
    assert!(drawn.keys().eq(names.iter().copied()), "rooms: the page has {:?}, cargo {names:?}", drawn.keys());
    let mut wrong = Vec::new();
    for Member { name, arrows, .. } in &members {
        let Some(page) = drawn.get(name) else { continue };
        wrong.extend(arrows.difference(page).map(|to| format!("{name} -> {to} is in Cargo.toml, not on the page")));
        wrong.extend(page.difference(arrows).map(|to| format!("{name} -> {to} is on the page, not in Cargo.toml")));
    }
    assert!(wrong.is_empty(), "ARCHITECTURE.md, arrows:\n{}", wrong.join("\n"));
}

#[test]
fn every_arrow_is_used() {
    let mut unused = Vec::new();
    for Member { name, folder, arrows } in members() {
        // The benches are not below src/.
        let sources = rust_files(&if name == "benches" { folder } else { folder.join("src") });
        let code: Vec<String> = sources.iter().map(|path| code(path)).collect();
        let is_used = |to: &str| code.iter().any(|code| uses(code, &format!("streamdb_{}", to.replace('-', "_"))));
        unused.extend(arrows.iter().filter(|to| !is_used(to)).map(|to| format!("{name} -> {to}")));
    }
    assert!(unused.is_empty(), "in Cargo.toml, but in no code: {unused:?}");
}

#[test]
fn the_arrows_run_one_way() {
    // Rooms that only rest on rooms taken away before are taken away; what is left rests on itself.
    let mut left = drawn_arrows(&architecture());
    assert!(!left.is_empty(), "ARCHITECTURE.md has no block of arrows");
    loop {
        let free: Vec<String> =
            left.iter().filter(|(_, to)| to.iter().all(|to| !left.contains_key(to))).map(|(n, _)| n.clone()).collect();
        if free.is_empty() {
            break;
        }
        left.retain(|name, _| !free.contains(name));
    }
    assert!(left.is_empty(), "these rooms rest on each other: {:?}", left.keys());
}

#[test]
fn the_owners_packages_are_used_where_the_page_says() {
    let root = root();
    let drawn = drawn_packages(&architecture());
    let mut wrong = Vec::new();
    let sources: Vec<(String, String)> = members()
        .iter()
        // Tests, benches and the test kit may use what they like.
        .filter(|member| member.name != "testkit" && member.name != "benches")
        .flat_map(|member| rust_files(&member.folder.join("src")))
        .map(|path| (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), code(&path)))
        .collect();
    for package in OWNED_PACKAGES {
        let Some(named) = drawn.get(package).filter(|named| !named.is_empty()) else {
            wrong.push(format!("{package}: the page names no file"));
            continue;
        };
        // A path that ends in `/` stands for all files in that folder.
        let covers = |named: &str, file: &str| named == file || named.ends_with('/') && file.starts_with(named);
        let users: Vec<&str> =
            sources.iter().filter(|(_, code)| uses(code, package)).map(|(file, _)| file.as_str()).collect();
        for file in users.iter().filter(|file| !named.iter().any(|named| covers(named, file))) {
            wrong.push(format!("{package}: {file} uses it, the page does not name it"));
        }
        for named in named.iter().filter(|named| !users.iter().any(|file| covers(named, file))) {
            wrong.push(format!("{package}: the page names {named}, which does not use it"));
        }
    }
    assert!(wrong.is_empty(), "ARCHITECTURE.md, the owner's packages:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_allowed_in_two_files() {
    let root = root();
    let needles = ["allow", "expect", "warn"].map(|level| format!("{level}(unsafe_code"));
    let allowing: Vec<String> = rust_files(&root)
        .iter()
        .filter(|path| {
            let code = read(path);
            needles.iter().any(|needle| code.contains(needle))
        })
        .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(allowing, UNSAFE_FILES);
}

#[test]
fn every_member_has_the_lints_of_the_workspace() {
    let workspace = read(&root().join("Cargo.toml"));
    let rust = table(&workspace, "[workspace.lints.rust]");
    let clippy = table(&workspace, "[workspace.lints.clippy]");
    assert!(rust.contains("unsafe_code=\"forbid\"") && clippy.contains("undocumented_unsafe_blocks=\"deny\""));
    for Member { name, folder, .. } in members() {
        let manifest = read(&folder.join("Cargo.toml"));
        if name == "storage" || name == "capture" {
            // Its own copy, in which unsafe code is denied, so that the one file can allow it.
            let denied: BTreeSet<String> = rust.iter().map(|line| line.replace("\"forbid\"", "\"deny\"")).collect();
            assert_eq!(table(&manifest, "[lints.rust]"), denied, "{name}/Cargo.toml");
            assert_eq!(table(&manifest, "[lints.clippy]"), clippy, "{name}/Cargo.toml");
        } else {
            assert_eq!(table(&manifest, "[lints]"), BTreeSet::from(["workspace=true".to_owned()]), "{name}");
        }
    }
}
