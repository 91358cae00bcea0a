//! https: a server whose certificate is signed by an authority of its own, spoken to in HTTP/2.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use super::super::cli::rig::{Rig, larder, refused, run, stderr};
use super::super::mounted::content;
use super::files::{age_all, mount, same_trees};
use super::servers::{JSON, Server};

fn openssl(dir: &Path, args: &str) {
    let mut command = Command::new("openssl");
    let output = run(command.args(args.split(' ')).current_dir(dir));
    assert!(
        output.status.success(),
        "openssl (apt-get install openssl) {args}: {}",
        stderr(&output)
    );
}

/// `ca.pem`, and `server.pem` with `server.key` for this machine.
fn certificates(dir: &Path) {
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(
        dir,
        &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=larder-test"),
    );
    openssl(
        dir,
        &format!(
            "req {KEY} -keyout server.key -out server.csr -subj /CN=localhost \
             -addext subjectAltName=IP:127.0.0.1"
        ),
    );
    openssl(
        dir,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 \
         -copy_extensions copy",
    );
}

#[test]
fn a_server_of_an_authority_of_its_own_is_read_in_http_2() {
    let rig = Rig::new();
    for n in 0..50 {
        fs::write(rig.remote().join(format!("small-{n}")), content(n, 10_000)).unwrap();
    }
    fs::write(rig.remote().join("large"), content(99, 20 << 20)).unwrap();
    age_all(&rig.remote());
    let keys = rig.path("keys");
    fs::create_dir(&keys).unwrap();
    certificates(&keys);
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let shown = keys.display();
    // Whoever speaks TLS has to speak HTTP/2.
    let directives = format!(
        "listen 127.0.0.1:{port} ssl http2; ssl_certificate {shown}/server.pem; \
         ssl_certificate_key {shown}/server.key; \
         set $spoken $scheme$server_protocol; if ($spoken = httpsHTTP/1.1) {{ return 426; }} {JSON}"
    );
    let _server = Server::nginx(&rig.remote(), &directives);
    let url = format!("https://127.0.0.1:{port}/");

    let mut untrusting = larder();
    untrusting.args(["mount", &url]).arg(rig.mnt());
    untrusting.arg("--cache-dir").arg(rig.cache());
    refused(&mut untrusting, 6, &["certificate"]);

    let ca = keys.join("ca.pem");
    let trusting = ["--ca-file", ca.to_str().unwrap()];
    mount(&rig, &url, &trusting);
    let all = same_trees(&rig.remote(), &rig.mnt());
    assert_eq!(rig.stats(&rig.mnt())["remote_bytes"], all.bytes);
    rig.umount();
    mount(&rig, &url, &trusting);
    same_trees(&rig.remote(), &rig.mnt());
    assert_eq!(rig.stats(&rig.mnt())["remote_bytes"], 0);
    rig.umount();
}
