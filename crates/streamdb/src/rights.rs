//! What a process gives up once it has opened what needs rights: the user it was started as, and all that its work does not
//! need. What was captured is hostile, and a mistake in how it is read is to stay in the one process that reads it.
//!
//! | given up | by | when |
//! |---|---|---|
//! | the user and its groups | setresuid(2), setgroups(2) | `--user` |
//! | capabilities | capset(2) | either; not those of root |
//! | more rights by running a program that has them | `PR_SET_NO_NEW_PRIVS` | `--confine` |
//! | files that it need not write, or read; TCP | Landlock | `--confine`, if the kernel has it |
//! | system calls that it need not make | seccomp(2) | `--confine`, if the kernel has it |

mod calls;
mod files;

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, getegid, geteuid, setegid, seteuid, setgroups, setresgid, setresuid};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::thread::{CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs};

use crate::cli::GivingUp;
use crate::commands::Error;
use crate::output::{complain, may_wait};

/// What a process still needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Folders and files that it reads, beside those of the system.
    pub(crate) reads: Vec<PathBuf>,
    /// Folders that it writes to.
    pub(crate) writes: Vec<PathBuf>,
    /// With whom it speaks.
    pub(crate) network: Network,
    /// Whether it runs programs of the operator's choice, which then may do what such programs do: files and system calls
    /// stay as they are.
    pub(crate) programs: bool,
}

/// With whom a process speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Network {
    /// With nobody but processes of this machine, by name; and with whomever comes to the sockets that are open already.
    #[default]
    None,
    /// With whomever it wants.
    All,
}

/// Becomes the user that the flags name: what needs other rights is open, and what is made from here on is the user's. To be
/// called while the process has one thread, as capabilities are by thread.
///
/// # Errors
/// When there is no such user, or this process may not become it.
pub(crate) fn lower(giving_up: &GivingUp) -> Result<(), Error> {
    if giving_up.any() {
        has_one_thread()?;
    }
    if let Some(name) = &giving_up.user {
        become_user(&user(name)?)?;
        // Who becomes another user is not told any more when its parent dies.
        crate::supervising::end_with_supervisor();
    }
    // Who was started as a user with a few capabilities needs them no more, either.
    if giving_up.any() && !geteuid().is_root() {
        drop_capabilities().map_err(refused("give up its capabilities"))?;
    }
    Ok(())
}

/// Gives up all but these, if the flags say so. To be called while the process has one thread: those that begin later have what
/// the one has that begins them. After it there may be others, whatever the flags say.
///
/// # Errors
/// When the kernel has it, and refuses it.
pub(crate) fn confine(giving_up: &GivingUp, needs: &Needs) -> Result<(), Error> {
    if giving_up.confine {
        has_one_thread()?;
        confine_thread(needs)?;
    }
    may_wait();
    Ok(())
}

/// What a thread gives up the others keep, so there may be no others.
fn has_one_thread() -> Result<(), Error> {
    let threads = fs::read_dir("/proc/self/task").map(Iterator::count);
    match threads.map_err(refused("count its threads"))? {
        1 => Ok(()),
        threads => Err(Error::Other(format!(
            "a mistake in this program: it has {threads} threads when it gives up rights, which one of them would give up"
        ))),
    }
}

fn confine_thread(needs: &Needs) -> Result<(), Error> {
    set_no_new_privs(true).map_err(refused("give up new rights"))?;
    if needs.programs {
        complain("a target runs a program, so this process keeps what programs may need: files and system calls");
        return Ok(());
    }
    if !files::confine(needs)? {
        complain(
            "this kernel has no Landlock, or not all of it: files and ports are confined by the user's rights alone",
        );
    }
    if !calls::confine(needs)? {
        complain("this kernel has no seccomp filters: all system calls stay open");
    }
    Ok(())
}

/// Somebody by name.
///
/// # Errors
/// When there is nobody of this name.
pub(crate) fn user(name: &str) -> Result<User, Error> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(Error::Other(format!("there is no user {name}; make one, as in: useradd --system {name}"))),
        Err(error) => Err(Error::Other(format!("could not look up the user {name}: {error}"))),
    }
}

/// Becomes this user for good, with its one group and no others.
fn become_user(user: &User) -> Result<(), Error> {
    if geteuid() == user.uid && getegid() == user.gid {
        return Ok(());
    }
    let become_it = || {
        setgroups(&[user.gid])?;
        setresgid(user.gid, user.gid, user.gid)?;
        setresuid(user.uid, user.uid, user.uid)
    };
    become_it().map_err(|error| {
        Error::Other(format!("could not become the user {}: {error}; only root can become another user", user.name))
    })
}

/// Does something as this user, and is the one from before again. Only root can.
///
/// # Errors
/// When it cannot become the user, or whatever that returns.
pub(crate) fn as_user<T>(user: &User, act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    if !geteuid().is_root() || user.uid.is_root() {
        return act();
    }
    let failed = |error: nix::Error| Error::Other(format!("could not act as the user {}: {error}", user.name));
    setegid(user.gid).map_err(failed)?;
    seteuid(user.uid).map_err(failed)?;
    let result = act();
    seteuid(Uid::from_raw(0)).map_err(failed)?;
    setegid(Gid::from_raw(0)).map_err(failed)?;
    result
}

/// Whether this is root, and a folder is not there yet, or root's.
pub(crate) fn is_root_s(folder: &Path) -> bool {
    geteuid().is_root() && fs::metadata(folder).map_or(true, |about| about.uid() == 0)
}

/// Gives a folder of this user to another one, with all of this user's that is in it, unless it is theirs; `may_be` looks before whether
/// it may be given away, by a name that is of what is given away whatever stands in its place by then. No link is followed. Who may
/// rename the folders above it chooses which folder it is, so that a data folder of root's belongs below folders of root's.
///
/// # Errors
/// When that is refused, or it is somebody else's: they could put anything there, other names of other files among it.
pub(crate) fn hand_over(
    folder: &Path,
    user: &User,
    may_be: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let shown = folder.display();
    let failed = |e: rustix::io::Errno| match e {
        rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => Error::Other(format!(
            "{shown}: this is no folder but a link, which is not given to the user {}; name the folder itself",
            user.name
        )),
        e => Error::Other(format!("{shown}: could not give it to the user {}: {e}", user.name)),
    };
    // Where there is nothing to give, a link may lead there.
    if fs::metadata(folder).is_ok_and(|about| about.uid() == user.uid.as_raw()) {
        return Ok(());
    }
    let opened = rustix::fs::open(folder, FOLDER, Mode::empty()).map_err(failed)?;
    let owner = rustix::fs::fstat(&opened).map_err(failed)?.st_uid;
    if owner != geteuid().as_raw() {
        return Err(Error::Other(format!(
            "{shown}: the data folder belongs to the user {}; give it to {1} first, if that is who is to have it: chown -R {1} {shown}",
            name_of(owner),
            user.name
        )));
    }
    may_be(&PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd())))?;
    give(&opened, owner, user).map_err(failed)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Gives a folder of this owner to a user, with all of that owner's that is in it, but for files that have other names, too: those may be
/// elsewhere. The folder comes last, so that what was broken off is done again.
fn give(folder: &OwnedFd, owner: u32, user: &User) -> rustix::io::Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid.as_raw()), rustix::fs::Gid::from_raw(user.gid.as_raw()));
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        let entry = rustix::fs::openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let about = rustix::fs::fstat(&entry)?;
        if about.st_uid != owner {
            // What is theirs was given to them before.
            continue;
        }
        if rustix::fs::FileType::from_raw_mode(about.st_mode).is_dir() {
            give(&rustix::fs::openat(&entry, c".", FOLDER, Mode::empty())?, owner, user)?;
        } else if about.st_nlink == 1 {
            rustix::fs::chownat(&entry, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        }
    }
    rustix::fs::fchown(folder, Some(uid), Some(gid))
}

/// Refuses to write as root to a data folder of somebody else, who then could not go on with what is left there.
///
/// # Errors
/// When the folder is another user's, and this is root.
pub(crate) fn not_as_root(folder: &Path) -> Result<(), Error> {
    let Ok(there) = fs::metadata(folder) else { return Ok(()) };
    if !geteuid().is_root() || there.uid() == 0 {
        return Ok(());
    }
    let owner = name_of(there.uid());
    Err(Error::Other(format!(
        "{}: the data folder belongs to the user {owner}, who could not use what root leaves there; do this as that user: sudo -u {owner} \
         streamdb ...",
        folder.display()
    )))
}

/// How a user is called, or their number.
fn name_of(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| format!("#{uid}"), |user| user.name)
}

fn drop_capabilities() -> rustix::io::Result<()> {
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

fn refused<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Error {
    move |error| Error::Other(format!("the process could not {what}: {error}"))
}

#[cfg(test)]
mod tests;
