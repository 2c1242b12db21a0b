//! nginx and HAProxy as proxies in front of one server: kept connections to it, WebSockets passed on, no log. What is below
//! `/streamed/` is passed on as it comes: HAProxy does so everywhere.

use std::fs;
use std::path::Path;

use crate::foreign::{Places, nginx_http};
use crate::process::Setup;

/// Two descriptors for each, below the usual limit.
const HAPROXY_CONNECTIONS: usize = 9_500;
const NGINX_CONNECTIONS: usize = 19_000;
/// Idle connections to the server that a proxy may keep.
pub const IDLE_MAX: usize = 1_000;

pub(crate) fn nginx(folder: &Path, setup: &Setup<'_>, places: &Places) -> String {
    let (workers, front, server) = (setup.shards, places.plain, setup.rules);
    let tls = setup.certificate.zip(places.tls).map_or_else(String::new, |(certificate, address)| {
        let key = certificate.folder().display();
        format!(
            "listen {address} ssl backlog=4096;\nssl_certificate \"{key}/cert.pem\";\n\
             ssl_certificate_key \"{key}/key.pem\";\nssl_protocols TLSv1.3;\n"
        )
    });
    format!(
        r#"user root;
daemon off;
worker_processes {workers};
worker_rlimit_nofile 20000;
pid "{folder}/pid";
error_log stderr crit;
events {{ worker_connections {NGINX_CONNECTIONS}; }}
http {{
{common}
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    upstream app {{
        server {server};
        keepalive {IDLE_MAX};
        keepalive_requests 1000000000;
    }}
    server {{
        listen {front} backlog=4096;
        {tls}
        client_max_body_size 0;
        proxy_http_version 1.1;
        proxy_read_timeout 1h;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        location / {{
            proxy_pass http://app;
        }}
        location /streamed/ {{
            proxy_pass http://app;
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"#,
        folder = folder.display(),
        common = nginx_http(folder),
    )
}

pub(crate) fn haproxy(folder: &Path, setup: &Setup<'_>, places: &Places) -> Result<String, String> {
    let (threads, front, server) = (setup.shards, places.plain, setup.rules);
    let mut tls = String::new();
    if let Some((certificate, address)) = setup.certificate.zip(places.tls) {
        // It wants both in one file.
        let read = |name: &str| fs::read_to_string(certificate.folder().join(name));
        let file = folder.join("both.pem");
        let written = read("cert.pem")
            .and_then(|chain| Ok(chain + &read("key.pem")?))
            .and_then(|both| fs::create_dir_all(folder).and_then(|()| fs::write(&file, both)));
        written.map_err(|error| format!("{}: {error}", file.display()))?;
        tls = format!("  bind {address} backlog 4096 ssl crt {} ssl-min-ver TLSv1.3\n", file.display());
    }
    Ok(format!(
        "global\n  nbthread {threads}\n  maxconn {HAPROXY_CONNECTIONS}\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\n  timeout tunnel 1h\n  http-reuse always\n  option forwardfor\nfrontend front\n  bind {front} backlog 4096\n{tls}  \
         http-request set-header X-Forwarded-Proto http\n  default_backend app\nbackend app\n  server one {server}\n"
    ))
}
