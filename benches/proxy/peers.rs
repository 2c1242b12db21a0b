//! nginx and HAProxy as the measured process: each with one worker, kept connections to the server, and no log.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tidegate_bench::cpu;

/// HAProxy wants two descriptors for each, below the limit.
const HAPROXY_CONNECTIONS: usize = 9_500;
/// Idle connections that each proxy may keep.
pub const IDLE_MAX: usize = 1_000;
const START_WAIT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Nginx,
    HaProxy,
}

pub struct PeerProcess {
    child: Child,
    folder: PathBuf,
    pub front: SocketAddr,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Peer::Nginx => "nginx",
            Peer::HaProxy => "haproxy",
        }
    }

    /// Those that are installed here.
    pub fn installed() -> impl Iterator<Item = Peer> {
        [Peer::Nginx, Peer::HaProxy]
            .into_iter()
            .filter(|peer| Command::new(peer.name()).arg("-v").output().is_ok_and(|output| output.status.success()))
    }

    pub fn start(self, server: SocketAddr) -> Result<PeerProcess, String> {
        let failed = |error: std::io::Error| format!("{} did not start: {error}", self.name());
        let folder = std::env::temp_dir().join(format!("tidegate-bench-{}-{}", self.name(), std::process::id()));
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let front = free.map_err(failed)?;
        let text = match self {
            Peer::Nginx => nginx(&folder, front, server),
            Peer::HaProxy => haproxy(front, server),
        };
        let file = folder.join("conf");
        fs::create_dir_all(&folder).and_then(|()| fs::write(&file, text)).map_err(failed)?;
        let words: &[&str] = match self {
            Peer::Nginx => &["-e", "stderr", "-c"],
            Peer::HaProxy => &["-db", "-q", "-f"],
        };
        // It is told to end when its parent does.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", self.name()]).args(words).arg(&file);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(failed)?;
        let process = PeerProcess { child, folder, front };
        let deadline = Instant::now() + START_WAIT;
        while TcpStream::connect(front).is_err() {
            if Instant::now() >= deadline {
                return Err(format!("{} does not listen", self.name()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }
}

impl PeerProcess {
    /// Of the process and its children: nginx works in those.
    pub fn cpu(&self) -> Result<Duration, String> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        std::iter::once(id.to_string())
            .chain(children.split_whitespace().map(str::to_owned))
            .map(|id| cpu::of(&id))
            .sum()
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        // SAFETY: kill takes two integers; the child has not been waited for, so its id is still its own.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        _ = self.child.wait();
        _ = fs::remove_dir_all(&self.folder);
    }
}

fn nginx(folder: &Path, front: SocketAddr, server: SocketAddr) -> String {
    format!(
        r#"user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid "{folder}/pid";
error_log stderr crit;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path "{folder}/body";
    proxy_temp_path "{folder}/proxy";
    fastcgi_temp_path "{folder}/fastcgi";
    uwsgi_temp_path "{folder}/uwsgi";
    scgi_temp_path "{folder}/scgi";
    keepalive_requests 1000000000;
    tcp_nodelay on;
    upstream app {{
        server {server};
        keepalive {IDLE_MAX};
        keepalive_requests 1000000000;
    }}
    server {{
        listen {front} backlog=4096;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"#,
        folder = folder.display()
    )
}

fn haproxy(front: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn {HAPROXY_CONNECTIONS}\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\n  http-reuse always\n  option forwardfor\nfrontend front\n  bind {front} backlog 4096\n  \
         http-request set-header X-Forwarded-Proto http\n  default_backend app\nbackend app\n  server one {server}\n"
    )
}
