//! Landlock: which files a process may touch, and whether it may open TCP connections (landlock(7)).

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, RulesetStatus, make_bitflags, path_beneath_rules,
};

use super::{Needs, Network, refused};
use crate::commands::Error;

/// What is asked for; a kernel that has less gives what it has.
const ABI: ABI = landlock::ABI::V5;

/// What every process reads: the C library with what it loads, zones, resolvers and certificates, what the kernel says.
const SYSTEM: [&str; 9] = ["/etc", "/usr", "/lib", "/lib64", "/bin", "/proc", "/sys", "/run", "/dev"];
/// Devices that hold nothing.
const DEVICES: [&str; 2] = ["/dev/null", "/dev/tty"];

/// Confines this thread and those that it begins; whether the kernel does all of it.
///
/// # Errors
/// When a kernel that has Landlock refuses.
pub(super) fn confine(needs: &Needs) -> Result<bool, Error> {
    let status = restrict(needs).map_err(refused("confine itself by Landlock"))?;
    Ok(status.ruleset == RulesetStatus::FullyEnforced)
}

fn restrict(needs: &Needs) -> Result<RestrictionStatus, RulesetError> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    // Devices are not made, and programs not run, anywhere.
    let write = AccessFs::from_all(ABI) & !make_bitflags!(AccessFs::{Execute | MakeBlock | MakeChar | IoctlDev});
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(ABI))?;
    if needs.network != Network::All {
        ruleset = ruleset.handle_access(AccessNet::from_all(ABI))?;
    }
    let system = SYSTEM.iter().map(PathBuf::from);
    let reads: Vec<PathBuf> = system.chain(needs.reads.iter().cloned()).collect();
    let devices = DEVICES.map(Path::new);
    let ruleset: RulesetCreated = ruleset.create()?;
    // What is not there is passed over.
    let ruleset = ruleset.add_rules(path_beneath_rules(&reads, read))?;
    let ruleset = ruleset.add_rules(path_beneath_rules(devices, make_bitflags!(AccessFs::{WriteFile})))?;
    ruleset.add_rules(path_beneath_rules(&needs.writes, write))?.restrict_self()
}
