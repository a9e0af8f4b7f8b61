//! What a confined process can no longer do. It is by thread, so each test confines one of its own.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use streamdb_testkit::TestFolder;

use super::*;

/// Becoming another user is of all threads of a process, and a confined one may not.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn confined<T: Send + 'static>(needs: Needs, act: impl FnOnce() -> T + Send + 'static) -> T {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let thread = thread::spawn(move || {
        confine_thread(&needs).unwrap();
        act()
    });
    thread.join().unwrap()
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn one_thread_of_several_gives_up_nothing() {
    // Tests run on threads of their own.
    let all = GivingUp { user: None, confine: true };
    let said = [lower(&all).unwrap_err(), confine(&all, &Needs::default()).unwrap_err()].map(|error| error.to_string());
    assert!(said.iter().all(|said| said.starts_with("a mistake in this program: it has ")), "{said:?}");
    let none = GivingUp { user: None, confine: false };
    lower(&none).unwrap();
    confine(&none, &Needs::default()).unwrap();
}

#[test]
fn files_are_those_of_the_work() {
    let folder = TestFolder::new("rights-files");
    let path = |name: &str| folder.path().join(name);
    for name in ["reads", "writes", "others"] {
        fs::create_dir(path(name)).unwrap();
        fs::write(path(name).join("file"), name).unwrap();
    }
    let needs = Needs { reads: vec![path("reads")], writes: vec![path("writes")], ..Needs::default() };
    let [reads, writes, others] = ["reads", "writes", "others"].map(path);
    confined(needs, move || {
        const DENIED: Option<ErrorKind> = Some(ErrorKind::PermissionDenied);
        assert_eq!(fs::read_to_string(reads.join("file")).unwrap(), "reads");
        assert_eq!(kind(fs::write(reads.join("file"), "x")), DENIED);
        assert_eq!(kind(fs::remove_file(reads.join("file"))), DENIED);
        assert_eq!(kind(File::create(reads.join("new"))), DENIED);
        assert_eq!(kind(fs::read(others.join("file"))), DENIED);
        assert_eq!(kind(fs::read_dir(&others)), DENIED);
        // What the work itself does with its files.
        fs::write(writes.join("new"), "x").unwrap();
        fs::rename(writes.join("new"), writes.join("file")).unwrap();
        fs::create_dir(writes.join("folder")).unwrap();
        let file = File::options().read(true).write(true).open(writes.join("file")).unwrap();
        file.set_len(1 << 20).unwrap();
        file.sync_all().unwrap();
        fs::remove_file(writes.join("file")).unwrap();
        assert!(fs::read_dir("/proc/self/fd").unwrap().count() > 0);
        fs::write("/dev/null", "x").unwrap();
        // A thread that begins later has no more rights.
        thread::spawn(move || assert_eq!(kind(fs::read(others.join("file"))), DENIED)).join().unwrap();
    });
}

#[test]
fn who_speaks_with_nobody_has_no_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tried = move || (TcpStream::connect(address).is_ok(), TcpListener::bind("127.0.0.1:0").is_ok());
    let udp = || UdpSocket::bind("127.0.0.1:0").is_ok();
    let of = |network| Needs { network, ..Needs::default() };
    assert_eq!(confined(of(Network::None), move || (tried(), udp())), ((false, false), false));
    assert_eq!(confined(of(Network::All), move || (tried(), udp())), ((true, true), true));
    confined(of(Network::None), || UnixStream::pair().unwrap());
}

#[test]
fn programs_are_not_run() {
    for network in [Network::None, Network::All] {
        let needs = Needs { network, ..Needs::default() };
        assert!(confined(needs, || Command::new("true").status()).is_err(), "{network:?}");
    }
    let operators = Needs { programs: true, ..Needs::default() };
    assert!(confined(operators, || Command::new("true").status()).unwrap().success());
}

#[test]
fn more_rights_and_other_sockets_are_not_to_be_had() {
    for network in [Network::None, Network::All] {
        let needs = Needs { network, ..Needs::default() };
        confined(needs, || {
            assert!(rustix::thread::no_new_privs().unwrap());
            let ends = rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534));
            assert_eq!(ends, Err(rustix::io::Errno::NOSYS));
            // Of a kind that is not allowed: as if the kernel had none, which libraries pass over.
            let bluetooth = rustix::net::AddressFamily::from_raw(31);
            let other = rustix::net::socket(bluetooth, rustix::net::SocketType::RAW, None);
            assert_eq!(other.err(), Some(rustix::io::Errno::AFNOSUPPORT));
            assert_eq!(streamdb_capture::link_state("lo"), Some(streamdb_capture::LinkState::Up));
            assert_eq!(streamdb_capture::link_state("nonesuch0"), Some(streamdb_capture::LinkState::Absent));
            let live = streamdb_capture::Live::open(&streamdb_capture::LiveSettings::new("lo"));
            assert!(live.is_err(), "a packet socket");
        });
    }
}

#[test]
fn others_of_the_same_user_are_let_be() {
    const REFUSED: rustix::io::Errno = rustix::io::Errno::PERM;
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let it = rustix::process::Pid::from_child(&other);
    confined(Needs::default(), move || {
        let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
        let resource = rustix::process::Resource::Nofile;
        assert_eq!(rustix::process::prlimit(Some(it), resource, limit).err(), Some(REFUSED));
        assert_eq!(rustix::process::setpriority_process(Some(it), 19).err(), Some(REFUSED));
        assert_eq!(
            rustix::process::kill_process(it, rustix::process::Signal::TERM).err(),
            Some(rustix::io::Errno::NOSYS)
        );
        let processors = rustix::thread::sched_getaffinity(Some(it)).unwrap();
        assert_eq!(rustix::thread::sched_setaffinity(Some(it), &processors).err(), Some(REFUSED));
        rustix::thread::sched_setaffinity(None, &processors).unwrap();
        rustix::process::setpriority_process(None, 19).unwrap();
        let mine = rustix::process::getrlimit(resource);
        rustix::process::prlimit(Some(rustix::process::getpid()), resource, mine).unwrap();
    });
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn users_are_found_by_name() {
    assert!(user("root").unwrap().uid.is_root());
    let said = user("nobody at all").unwrap_err().to_string();
    assert_eq!(said, "there is no user nobody at all; make one, as in: useradd --system nobody at all");
}

fn anything(_: &Path) -> Result<(), Error> {
    Ok(())
}

#[test]
fn what_is_given_away_is_what_was_looked_at_and_no_one_else_s() {
    if !geteuid().is_root() {
        return;
    }
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (folder, nobody) = (TestFolder::new("rights-given"), user("nobody").unwrap());
    let (data, elsewhere) = (folder.path().join("data"), folder.path().join("elsewhere"));
    for path in [&data, &elsewhere] {
        fs::create_dir_all(path.join("inside")).unwrap();
        fs::write(path.join("inside/file"), "x").unwrap();
    }
    fs::write(data.join("another's"), "x").unwrap();
    std::os::unix::fs::chown(data.join("another's"), Some(1), None).unwrap();
    fs::hard_link(elsewhere.join("inside/file"), data.join("linked")).unwrap();
    let owner = |path: PathBuf| fs::symlink_metadata(path).unwrap().uid();
    // What is refused stays as it is.
    let said = hand_over(&data, &nobody, |_| Err(Error::Other("no".into()))).unwrap_err().to_string();
    assert_eq!((said.as_str(), owner(data.clone()), owner(data.join("inside/file"))), ("no", 0, 0));
    // Another folder that comes in its place while it is looked at is not given away.
    let beside = folder.path().join("beside");
    hand_over(&data, &nobody, |opened| {
        fs::rename(&data, &beside).unwrap();
        fs::rename(&elsewhere, &data).unwrap();
        assert!(opened.join("another's").exists());
        Ok(())
    })
    .unwrap();
    let theirs = nobody.uid.as_raw();
    assert_eq!([owner(data.clone()), owner(data.join("inside")), owner(data.join("inside/file"))], [0, 0, 0]);
    assert_eq!([owner(beside.clone()), owner(beside.join("inside/file"))], [theirs, theirs]);
    assert_eq!([owner(beside.join("another's")), owner(beside.join("linked"))], [1, 0]);
}

#[test]
fn root_leaves_nothing_in_the_folder_of_another() {
    let folder = TestFolder::new("rights-owner");
    not_as_root(&folder.path().join("none")).unwrap();
    not_as_root(folder.path()).unwrap();
    if !geteuid().is_root() {
        return;
    }
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let nobody = user("nobody").unwrap();
    fs::create_dir(folder.path().join("inside")).unwrap();
    hand_over(folder.path(), &nobody, anything).unwrap();
    for path in [folder.path(), &folder.path().join("inside")] {
        assert_eq!(fs::metadata(path).unwrap().uid(), nobody.uid.as_raw());
    }
    // What a link leads to is let be, and what somebody else has.
    let other = TestFolder::new("rights-other");
    fs::create_dir(other.path().join("data")).unwrap();
    fs::write(other.path().join("data/file"), "x").unwrap();
    std::os::unix::fs::symlink(other.path().join("data"), other.path().join("link")).unwrap();
    let said = hand_over(&other.path().join("link"), &nobody, anything).unwrap_err().to_string();
    assert!(said.contains("this is no folder but a link"), "{said}");
    std::os::unix::fs::symlink(other.path().join("data"), folder.path().join("link")).unwrap();
    std::os::unix::fs::lchown(folder.path(), Some(0), None).unwrap();
    hand_over(folder.path(), &nobody, anything).unwrap();
    assert_eq!(fs::symlink_metadata(folder.path().join("link")).unwrap().uid(), nobody.uid.as_raw());
    assert_eq!(["data", "data/file"].map(|name| fs::metadata(other.path().join(name)).unwrap().uid()), [0, 0]);
    std::os::unix::fs::lchown(other.path().join("data"), Some(1), None).unwrap();
    let said = hand_over(&other.path().join("data"), &nobody, anything).unwrap_err().to_string();
    assert!(said.contains("belongs to the user ") && said.contains("chown -R nobody "), "{said}");
    std::os::unix::fs::symlink(folder.path(), other.path().join("theirs")).unwrap();
    hand_over(&other.path().join("theirs"), &nobody, anything).unwrap();
    let said = not_as_root(folder.path()).unwrap_err().to_string();
    assert!(said.contains("belongs to the user nobody") && said.contains("sudo -u nobody streamdb"), "{said}");
    as_user(&nobody, || {
        fs::write(folder.path().join("inside/made"), "x").unwrap();
        not_as_root(folder.path())
    })
    .unwrap();
    assert_eq!(fs::metadata(folder.path().join("inside/made")).unwrap().uid(), nobody.uid.as_raw());
    assert!(geteuid().is_root(), "it is root again");
}
