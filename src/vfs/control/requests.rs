//! The request getxattr: an attribute, or a command.

use std::sync::Arc;

use super::commands::Command;
use super::parts::Control;
use crate::vfs::answer::{Answer, Errno};

/// The longest answer to a command.
const ANSWER_MAX: u32 = 4096;

/// The answer to getxattr(2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Xattr {
    /// The length of the value, in bytes: the caller wanted no more.
    Length(u32),
    /// The value.
    Value(Vec<u8>),
}

impl Control {
    /// The value of the attribute `name`, for the user `uid` who has a buffer of `size` bytes; 0 asks for its length. Where
    /// the name is a command, it is carried out, and its result is the value. A program that asks for the length of that
    /// first, as getfattr(1) does, has nothing done yet.
    pub(in crate::vfs) fn getxattr(
        self: &Arc<Self>,
        (ino, uid): (u64, u32),
        name: &[u8],
        size: u32,
        done: impl FnOnce(Answer<Xattr>) + Send + 'static,
    ) {
        let command = Command::parse(name);
        if command.is_some() && size == 0 {
            return done(Ok(Xattr::Length(ANSWER_MAX)));
        }
        let done = move |answer: Answer<Vec<u8>>| done(answer.and_then(|value| sized(value, size)));
        match command {
            Some(command) => self.carry_out(command, ino, uid, done),
            None => self.attribute(ino, name, done),
        }
    }

    /// The names of all attributes, each ended by a zero byte, as [`Control::getxattr`] gives a value.
    pub(in crate::vfs) fn listxattr(&self, ino: u64, size: u32) -> Answer<Xattr> {
        self.attribute_names(ino)
            .and_then(|names| sized(names, size))
    }
}

/// A value as a caller with a buffer of `size` bytes wants it.
fn sized(value: Vec<u8>, size: u32) -> Answer<Xattr> {
    match u32::try_from(value.len()) {
        Ok(len) if size == 0 => Ok(Xattr::Length(len)),
        Ok(len) if len <= size => Ok(Xattr::Value(value)),
        _ => Err(Errno::RANGE),
    }
}
