//! Web servers that the tests run: real ones, each on a free port with a configuration of its own. They end with the
//! test, even where that is killed: the kernel sees to it (`setpriv --pdeathsig`).
//!
//! A server that is not installed fails the test with a sentence that names its package.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::super::cli::rig::{PATIENCE, wait_until};

/// Asked for between the questions of a test: once it is in the log, so is all that was asked before.
const MARK: &str = "/larder-test-mark-";

/// Lists everything but names that begin with a dot, with sizes and times. An `index.html` is a file like any other.
pub(crate) const JSON: &str = "index no-such-index; autoindex on; autoindex_format json;";
/// Lists names; sizes and times are rounded.
pub(crate) const HTML: &str = "index no-such-index; autoindex on;";

/// One question that was put to a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// The path with its query: as it was sent, and from dufs decoded.
    pub(crate) path: String,
}

/// How many ports are tried for a server.
const TRIES: usize = 50;

/// A port of those that the kernel gives to nobody by itself, as it does the higher ones to every client: so a server that
/// was stopped finds its port free when it comes back.
fn likely_port() -> u16 {
    let random = RandomState::new().build_hasher().finish();
    10_000 + u16::try_from(random % 20_000).unwrap()
}

fn is_taken(said: &str) -> bool {
    said.to_lowercase().contains("address already in use") || said.contains("os error 98")
}

/// Whether it is this process that listens at the port.
fn listens(pid: u32, port: u16) -> bool {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    // The address with the port in hexadecimal digits, the state, and the inode of the socket in the tenth column.
    let end = format!(":{port:04X}");
    let sockets = table.lines().filter_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let is_listening = columns.get(3) == Some(&"0A") && columns.get(1)?.ends_with(&end);
        is_listening.then(|| format!("socket:[{}]", columns[9]))
    });
    let sockets: Vec<_> = sockets.collect();
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let links = open
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok());
    links
        .into_iter()
        .any(|link| sockets.iter().any(|socket| link.as_os_str() == &**socket))
}

enum Kind {
    Nginx { directives: String },
    Dufs,
    Python,
}

/// A web server that serves one directory.
pub(crate) struct Server {
    kind: Kind,
    root: PathBuf,
    port: u16,
    dir: TempDir,
    child: Option<Child>,
    marks: usize,
    /// Lines of the log that a test no longer cares for.
    forgotten: usize,
}

impl Server {
    /// nginx, with these directives for the server.
    pub(crate) fn nginx(root: &Path, directives: &str) -> Self {
        let directives = directives.to_owned();
        Self::new(Kind::Nginx { directives }, root)
    }

    pub(crate) fn dufs(root: &Path) -> Self {
        Self::new(Kind::Dufs, root)
    }

    /// `python3 -m http.server`, which knows no ranges.
    pub(crate) fn python(root: &Path) -> Self {
        Self::new(Kind::Python, root)
    }

    fn new(kind: Kind, root: &Path) -> Self {
        let mut server = Self {
            kind,
            root: root.to_owned(),
            port: 0,
            dir: TempDir::new().unwrap(),
            child: None,
            marks: 0,
            forgotten: 0,
        };
        // Another test may be quicker with a port.
        for _ in 0..TRIES {
            server.port = likely_port();
            match server.try_start() {
                Ok(()) => return server,
                Err(said) => assert!(is_taken(&said), "{said}"),
            }
        }
        panic!("none of {TRIES} ports is free");
    }

    /// The URL of the directory, with a slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Starts it again, at the same port and with the log that it had.
    pub(crate) fn start(&mut self) {
        self.try_start().unwrap_or_else(|said| panic!("{said}"));
    }

    /// The error is a sentence with what the server said.
    fn try_start(&mut self) -> Result<(), String> {
        let (program, args, package) = match &self.kind {
            Kind::Nginx { directives } => (
                "nginx",
                self.nginx_args(directives),
                "apt-get install nginx-light",
            ),
            Kind::Dufs => (
                "dufs",
                self.dufs_args(),
                "cargo install dufs --locked --version 0.47.0",
            ),
            Kind::Python => ("python3", self.python_args(), "apt-get install python3"),
        };
        let said = self.dir.path().join("said");
        let output = File::options().create(true).append(true).open(&said);
        let output = output.unwrap();
        let before = output.metadata().unwrap().len();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", program])
            .args(args)
            // Servers are in a folder that ordinary users need not have in their PATH.
            .env(
                "PATH",
                format!("{}:/usr/sbin", std::env::var("PATH").unwrap()),
            )
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let mut child = command
            .spawn()
            .expect("setpriv (package util-linux) starts servers");
        let mut ended = None;
        wait_until("the server listens", || {
            ended = child.try_wait().unwrap();
            ended.is_some() || listens(child.id(), self.port)
        });
        if let Some(status) = ended {
            let said = fs::read(&said)
                .unwrap()
                .split_off(usize::try_from(before).unwrap());
            let said = String::from_utf8_lossy(&said);
            return Err(format!(
                "{program} does not run ({status}; `{package}` installs it): {said}"
            ));
        }
        self.child = Some(child);
        self.mark();
        Ok(())
    }

    /// Ends it; a question is answered by a refused connection from now on.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn log(&self) -> PathBuf {
        let name = match self.kind {
            Kind::Python => "said",
            _ => "log",
        };
        self.dir.path().join(name)
    }

    fn nginx_args(&self, directives: &str) -> Vec<String> {
        let dir = self.dir.path().to_str().unwrap();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|what| format!("{what}_temp_path {dir}/temporary;\n"))
            .collect();
        let (root, port) = (self.root.to_str().unwrap(), self.port);
        let text = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log stderr crit;\n\
             events {{}}\n\
             http {{\n{temporary}sendfile on; keepalive_requests 100000;\n\
             log_format plain '$request_method $request_uri';\n\
             access_log {dir}/log plain;\n\
             server {{ listen 127.0.0.1:{port}; root \"{root}\"; {directives} }}\n}}\n"
        );
        fs::write(self.dir.path().join("conf"), text).unwrap();
        ["-e", "stderr", "-p", dir, "-c", "conf"]
            .map(str::to_owned)
            .to_vec()
    }

    fn dufs_args(&self) -> Vec<String> {
        let log = self.log();
        [
            "--bind",
            "127.0.0.1",
            "--port",
            &self.port.to_string(),
            "--log-format",
            "$request",
            "--log-file",
            log.to_str().unwrap(),
            self.root.to_str().unwrap(),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn python_args(&self) -> Vec<String> {
        [
            "-u",
            "-m",
            "http.server",
            "--bind",
            "127.0.0.1",
            "--directory",
            self.root.to_str().unwrap(),
            &self.port.to_string(),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Every line of the log up to now.
    fn mark(&mut self) -> Vec<String> {
        self.marks += 1;
        let path = format!("{MARK}{}", self.marks);
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let question = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let log =
            || String::from_utf8_lossy(&fs::read(self.log()).unwrap_or_default()).into_owned();
        wait_until("the log has the mark", || log().contains(&path));
        log().lines().map(str::to_owned).collect()
    }

    /// Lets the next [`Server::asked`] begin here.
    pub(crate) fn forget(&mut self) {
        self.forgotten = self.mark().len();
    }

    /// What was asked since the server began, or was told to forget.
    pub(crate) fn asked(&mut self) -> Vec<Asked> {
        let lines = self.mark().split_off(self.forgotten);
        lines
            .iter()
            .filter(|line| !line.contains(MARK))
            .filter_map(|line| {
                let question = match self.kind {
                    // In quotes, behind who asked and when.
                    Kind::Python => line.split('"').nth(1)?,
                    _ => line,
                };
                let (method, path) = question.split_once(' ')?;
                let path = path.strip_suffix(" HTTP/1.1").unwrap_or(path);
                ["GET", "HEAD"].contains(&method).then(|| Asked {
                    method: method.to_owned(),
                    path: path.to_owned(),
                })
            })
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
