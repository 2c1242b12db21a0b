//! nginx with nchan as the measured process: its own configuration, in a folder of its own, on its own ports.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::Setup;

/// Where distributions put it.
const MODULES: [&str; 2] =
    ["/usr/lib/nginx/modules/ngx_nchan_module.so", "/usr/lib64/nginx/modules/ngx_nchan_module.so"];
const START_WAIT: Duration = Duration::from_secs(10);
/// Of the descriptor limit, what a worker process keeps for itself.
const WORKER_CONNECTIONS: usize = 19_000;

pub(crate) struct Nchan {
    folder: PathBuf,
    addresses: Vec<(String, SocketAddr)>,
}

pub(crate) fn is_installed() -> bool {
    module().is_some() && Command::new("nginx").arg("-v").output().is_ok_and(|output| output.status.success())
}

fn module() -> Option<&'static str> {
    MODULES.into_iter().find(|path| Path::new(path).exists())
}

impl Nchan {
    pub(crate) fn new(setup: &Setup<'_>) -> Result<Nchan, String> {
        let folder = std::env::temp_dir().join(format!("tidegate-bench-nchan-{}", std::process::id()));
        let front = free_port()?;
        let mut addresses = vec![("front".to_owned(), front), ("publish".to_owned(), front)];
        let mut tls = String::new();
        if let Some(certificate) = setup.certificate {
            let address = free_port()?;
            addresses.push(("tls".to_owned(), address));
            let key = certificate.folder().display();
            tls = format!(
                "listen {address} ssl reuseport backlog=4096;\nssl_certificate \"{key}/cert.pem\";\n\
                 ssl_certificate_key \"{key}/key.pem\";\nssl_protocols TLSv1.3;\n"
            );
        }
        let module = module().ok_or("nchan is not installed")?;
        let text = configuration(&folder, module, setup.shards, front, &tls);
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("nginx.conf"), text));
        written.map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Nchan { folder, addresses })
    }

    /// It is told to end when its parent does.
    pub(crate) fn command(&self) -> Vec<String> {
        let file = self.folder.join("nginx.conf").to_string_lossy().into_owned();
        let folder = self.folder.to_string_lossy().into_owned();
        ["setpriv", "--pdeathsig", "TERM", "nginx", "-e", "stderr", "-p", &folder, "-c", &file]
            .map(str::to_owned)
            .into()
    }

    pub(crate) fn await_listening(&self) -> Result<Vec<(String, SocketAddr)>, String> {
        let deadline = Instant::now() + START_WAIT;
        for (_, address) in &self.addresses {
            while TcpStream::connect(address).is_err() {
                if Instant::now() >= deadline {
                    return Err("nginx does not listen".to_owned());
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(self.addresses.clone())
    }

    /// The master ends its workers; killed, it would leave them.
    pub(crate) fn stop(&self, master: u32) {
        // SAFETY: kill takes two integers; the child has not been waited for, so its id is still its own.
        unsafe { libc::kill(master as libc::pid_t, libc::SIGTERM) };
    }
}

impl Drop for Nchan {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.folder);
    }
}

/// One that was free a moment ago; nginx does not say which one it took.
fn free_port() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}

/// One message is kept for a channel and only for a moment: nobody comes back for it.
fn configuration(folder: &Path, module: &str, workers: usize, front: SocketAddr, tls: &str) -> String {
    let folder = folder.display();
    format!(
        r#"load_module {module};
user root;
daemon off;
worker_processes {workers};
worker_rlimit_nofile {files};
pid "{folder}/nginx.pid";
error_log stderr crit;
events {{ worker_connections {WORKER_CONNECTIONS}; }}
http {{
    access_log off;
    client_body_temp_path "{folder}/body";
    proxy_temp_path "{folder}/proxy";
    fastcgi_temp_path "{folder}/fastcgi";
    uwsgi_temp_path "{folder}/uwsgi";
    scgi_temp_path "{folder}/scgi";
    keepalive_requests 1000000000;
    tcp_nodelay on;
    server {{
        listen {front} reuseport backlog=4096;
        {tls}
        location ~ ^/(?:ws|sse)/(.+)$ {{
            nchan_subscriber websocket eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location ~ ^/room/(.+)$ {{
            nchan_subscriber websocket;
            nchan_channel_id room-$1;
        }}
        location ~ ^/publish/(.+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
            nchan_message_buffer_length 1;
            nchan_message_timeout 10s;
        }}
    }}
}}
"#,
        files = WORKER_CONNECTIONS + 1_000,
    )
}
