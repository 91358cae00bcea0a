//! fusermount3, the program that mounts and unmounts for those who are not root.
//!
//! It opens and mounts /dev/fuse with root's rights and hands the descriptor over through a socket, whose number it reads
//! from its environment. The socket is its standard input here: so nothing has to be done between fork and exec.

use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};

const PROGRAM: &str = "fusermount3";
/// Where programs are if PATH does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// Where the helper is, if it is installed.
pub(super) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(DEFAULT_PATH));
    std::env::split_paths(&path)
        .map(|dir| dir.join(PROGRAM))
        .find(|program| program.is_file())
}

fn command() -> io::Result<Command> {
    let sentence = "fusermount3 is not installed (package fuse3)";
    let program = find().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, sentence))?;
    Ok(Command::new(program))
}

/// Mounts at `place` with these options and returns the open device. Errors with what the helper said.
pub(super) fn mount(place: &Path, options: &str) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let mut helper = command()?;
    helper
        .env("_FUSE_COMMFD", "0")
        .args(["-o", options, "--"])
        .arg(place)
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = helper.spawn()?;
    // The command keeps its end of the socket open, and the answer would never end.
    drop(helper);
    let received = receive(&ours);
    let said = ended(child);
    match (received?, said) {
        (Some(device), _) => Ok(device),
        (None, Err(said)) => Err(said),
        (None, Ok(())) => Err(io::Error::other("fusermount3 handed no device over")),
    }
}

/// Receives the device; `None` where the helper ended without sending one.
fn receive(socket: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0u8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [IoSliceMut::new(&mut byte)];
    rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok(fds.flatten().next())
}

/// Waits for the helper; an error is what it said.
fn ended(child: Child) -> io::Result<()> {
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let kind = if said.contains("busy") {
        io::ErrorKind::ResourceBusy
    } else {
        io::ErrorKind::Other
    };
    Err(io::Error::new(kind, said))
}

/// Unmounts.
pub(super) fn unmount(place: &Path, lazy: bool) -> io::Result<()> {
    let mut helper = command()?;
    helper
        .arg(if lazy { "-uz" } else { "-u" })
        .arg("--")
        .arg(place)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    ended(helper.spawn()?)
}

/// Whether /etc/fuse.conf lets those who are not root open their mounts to others. Where it cannot be read, the helper
/// has the word.
pub(super) fn lets_others_in() -> bool {
    match std::fs::read_to_string("/etc/fuse.conf") {
        Ok(text) => says_user_allow_other(&text),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn says_user_allow_other(text: &str) -> bool {
    text.lines().any(|line| line.trim() == "user_allow_other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuse_conf_has_the_word_on_a_line_of_its_own() {
        assert!(says_user_allow_other(
            "# a\nuser_allow_other \nmount_max = 9\n"
        ));
        assert!(!says_user_allow_other("#user_allow_other\n"));
        assert!(!says_user_allow_other(""));
    }
}
