//! The origin: a real nginx of its own, with its log as the witness.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use larder::engine::{Clock, SystemClock};
use larder::testing::Rng;

pub(crate) struct Nginx {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Nginx {
    /// Starts nginx on a port of its own, with all that it writes in `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        fs::create_dir_all(dir.join("www")).expect("a directory");
        let shown = dir.display();
        let config = format!(
            "daemon off; worker_processes 2; pid {shown}/nginx.pid; error_log {shown}/error.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{ sendfile on; tcp_nodelay on; keepalive_requests 100000;\n\
             log_format sent '$body_bytes_sent'; access_log {shown}/access.log sent;\n\
             client_body_temp_path {shown}/t1; proxy_temp_path {shown}/t2; fastcgi_temp_path {shown}/t3;\n\
             uwsgi_temp_path {shown}/t4; scgi_temp_path {shown}/t5;\n\
             server {{ listen 127.0.0.1:{port}; root {shown}/www;\n\
             location / {{ autoindex on; autoindex_format html; }} }} }}\n"
        );
        let path = dir.join("nginx.conf");
        fs::write(&path, config).expect("space");
        // Workers that gave up root must still reach the files.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir, open).expect("our own directory");
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&path)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (apt-get install nginx-light)");
        let nginx = Self {
            child,
            port,
            dir: dir.into(),
        };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return nginx;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("nginx does not answer");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Makes a file of noise, old enough to be settled, and has it in memory.
    pub(crate) fn make(&self, name: &str, len: u64) {
        let path = self.dir.join("www").join(name);
        let mut file = File::create(&path).expect("space");
        let mut rng = Rng::new(len);
        let mut piece = vec![0; 1 << 20];
        for _ in 0..len >> 20 {
            rng.fill(&mut piece);
            file.write_all(&piece).expect("space");
        }
        let hour_ago =
            SystemTime::UNIX_EPOCH + SystemClock::default().wall() - Duration::from_secs(3600);
        file.set_modified(hour_ago).expect("our own file");
        drop(file);
        let mut again = File::open(&path).expect("it was made");
        while again.read(&mut piece).expect("the disk works") > 0 {}
    }

    /// The bytes of bodies that were sent so far. The log of an answer is written when it is over.
    pub(crate) fn sent(&self) -> u64 {
        std::thread::sleep(Duration::from_millis(200));
        let log = fs::read_to_string(self.dir.join("access.log")).unwrap_or_default();
        log.lines()
            .filter_map(|line| line.parse::<u64>().ok())
            .sum()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master stops its workers when it is asked, not when it is killed.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
