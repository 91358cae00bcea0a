//! `--uid` and `--gid`: numbers, or names as /etc/passwd and /etc/group have them.

use crate::cli::args::MountArgs;
use crate::cli::error::{Exit, Failure};
use crate::vfs::Owner;

/// Whom the command line makes the owner.
pub(super) fn resolve(args: &MountArgs) -> Result<Owner, Failure> {
    let one = |option: &str, name: &Option<String>, file: &str| match name {
        None => Ok(None),
        Some(name) => {
            let text = || std::fs::read_to_string(file).unwrap_or_default();
            number(name, text).map(Some).ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    format_args!("{option} '{name}': {file} has no such name: give the number (`id {name}` shows it)"),
                )
            })
        }
    };
    Ok(Owner {
        uid: one("--uid", &args.uid, "/etc/passwd")?,
        gid: one("--gid", &args.gid, "/etc/group")?,
    })
}

/// The number that is written, or that the table (name:password:number:...) has for the name. 4294967295 is no user's: it
/// stands for "no change" in system calls.
fn number(name: &str, table: impl FnOnce() -> String) -> Option<u32> {
    let number: Option<u32> = match name.parse() {
        Ok(number) => Some(number),
        Err(_) => table().lines().find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next()? == name;
            fields.nth(1).filter(|_| found)?.parse().ok()
        }),
    };
    number.filter(|number| *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_numbers_or_names() {
        let table = || "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:\n1000:x:7:7::/:\n".to_owned();
        assert_eq!(number("1000", table), Some(1000));
        assert_eq!(number("www-data", table), Some(33));
        assert_eq!(number("www", table), None);
        assert_eq!(number("", table), None);
        assert_eq!(number("4294967295", table), None);
        assert_eq!(number("-1", table), None);
    }
}
