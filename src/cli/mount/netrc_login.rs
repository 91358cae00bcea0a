//! The password that ~/.netrc has for a web server.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::error::{Exit, Failure};
use crate::cli::given::variable;
use crate::cli::netrc;
use crate::remote::Credentials;
use crate::units::shown;

/// The credentials for a host: those that are `given`, whose empty password is looked for, or those of the netrc file.
/// `notes` gets what the user should know of that file.
pub(super) fn credentials(
    given: Option<Credentials>,
    host: &str,
    notes: &mut Vec<String>,
) -> Result<Option<Credentials>, Failure> {
    match given {
        Some(given) if !given.password.is_empty() => Ok(Some(given)),
        Some(Credentials { user, .. }) => {
            let login = netrc_login(host, Some(&user), notes)?;
            let password = login.map(|login| login.password).unwrap_or_default();
            Ok(Some(Credentials { user, password }))
        }
        None => {
            let login = netrc_login(host, None, notes)?;
            Ok(login.map(|login| Credentials {
                user: login.user,
                password: login.password,
            }))
        }
    }
}

/// What the netrc file says of a host: that of $NETRC, or ~/.netrc.
fn netrc_login(
    host: &str,
    user: Option<&[u8]>,
    notes: &mut Vec<String>,
) -> Result<Option<netrc::Login>, Failure> {
    let home = || variable("HOME").map(|home| Path::new(&home).join(".netrc"));
    let named = variable("NETRC").map(PathBuf::from);
    let is_named = named.is_some();
    let Some(path) = named.or_else(home) else {
        return Ok(None);
    };
    let shown = shown(&path);
    let file = match std::fs::read(&path) {
        Ok(file) => file,
        Err(e) if !is_named && e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            notes.push(format!(
                "note: {shown} cannot be read ({e}): no password is taken from it"
            ));
            return Ok(None);
        }
    };
    let login = netrc::find(&file, host, user).map_err(|e| {
        let sentence = format!(
            "cannot take a password from {shown}: {e} (a quote within quotes is written \\\")"
        );
        Failure::new(Exit::Remote, sentence)
    })?;
    if login.is_some() && readable_by_others(&path) {
        notes.push(format!(
            "note: other users can read the passwords in {shown}: `chmod 600 {shown}`"
        ));
    }
    Ok(login)
}

/// Whether others than the owner can read a file.
pub(super) fn readable_by_others(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.mode() & 0o044 != 0)
}
