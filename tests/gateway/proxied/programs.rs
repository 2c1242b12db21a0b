//! Servers that are programs: each in a folder of its own, on a port that was free a moment ago, ended with the test.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::ports::free_address;
use crate::support::await_that;

/// What the folder of each has, beside what it needs itself.
pub const SMALL: &str = "a small file\n";
pub const BIG_BYTES: usize = 3 * 512 * 1024;

/// With which node signs the tokens of its customers.
pub const TOKEN_SECRET: &str = "a secret of the tests, and of nothing else";

pub struct Program {
    pub name: &'static str,
    pub address: SocketAddr,
    command: Command,
    process: Child,
    folder: PathBuf,
}

/// Of a file that has just been written, Apache says that it may change within the second.
fn write_old(path: &Path, bytes: &[u8]) {
    let file = fs::write(path, bytes).and_then(|()| fs::File::options().write(true).open(path)).expect("a file");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).expect("its time");
}

fn venv(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/bin").join(program)
}

/// One process, with these directives for all of HTTP and for its one server.
fn nginx(folder: &Path, http: &str, server: &str) -> Command {
    let text = format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr warn;\nevents {{ }}\nhttp {{\naccess_log off;\n{http}\
         client_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\nfastcgi_temp_path {folder}/fastcgi;\n\
         uwsgi_temp_path {folder}/uwsgi;\nscgi_temp_path {folder}/scgi;\nserver {{ {server} }}\n}}\n",
        folder = folder.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text).expect("a file");
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c"]).arg(file);
    command
}

fn spawn(command: &mut Command) -> Child {
    let process = command.spawn();
    process.unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/install.sh first"))
}

impl Program {
    /// `command`: of the folder and the address.
    fn start(name: &'static str, command: impl FnOnce(&Path, SocketAddr) -> Command) -> Program {
        let address = free_address();
        let folder = std::env::temp_dir().join(format!("tidegate-{name}-{}-{}", std::process::id(), address.port()));
        let files = folder.join("files");
        fs::create_dir_all(&files).expect("a folder");
        write_old(&files.join("small.txt"), SMALL.as_bytes());
        let big: Vec<u8> = (0..BIG_BYTES).map(|at| (at * 7 + at / 251) as u8).collect();
        write_old(&files.join("big.bin"), &big);
        let mut command = command(&folder, address);
        let log = fs::File::create(folder.join("log")).expect("a file");
        let errors = log.try_clone().expect("a file");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let process = spawn(&mut command);
        let mut program = Program { name, address, command, process, folder };
        program.await_listening();
        program
    }

    fn await_listening(&mut self) {
        await_that(&format!("{} listens", self.name), || {
            let ended = self.process.try_wait().expect("its state");
            let advice = "if a package is missing, run tests/install.sh first";
            assert!(ended.is_none(), "{} has ended ({advice}): {}", self.name, self.log());
            TcpStream::connect(self.address).is_ok()
        });
    }

    /// `TERM`, `KILL`, `STOP`, `CONT`, …
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "{} is there", self.name);
    }

    /// Ends it by this signal, and starts it again.
    pub fn start_again_after(&mut self, signal: &str) {
        self.signal(signal);
        self.process.wait().expect("it has ended");
        self.process = spawn(&mut self.command);
        self.await_listening();
    }

    /// A file that it has.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join("files").join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Closes its connections after a few requests.
    pub fn nginx() -> Program {
        Program::start("nginx", |folder, address| {
            let compressed = "gzip on;\ngzip_min_length 1;\ngzip_types application/octet-stream;\n";
            let server = format!("listen {address}; root {}/files;", folder.display());
            nginx(folder, &format!("keepalive_requests 3;\n{compressed}"), &server)
        })
    }

    /// With TLS of this version and this certificate.
    pub fn nginx_tls(version: &str, certificate: &str, key: &str) -> Program {
        Program::start("nginx-tls", |folder, address| {
            for (name, text) in [("cert.pem", certificate), ("key.pem", key)] {
                fs::write(folder.join(name), text).expect("a file");
            }
            let server = format!(
                "listen {address} ssl; root {folder}/files; ssl_certificate {folder}/cert.pem;\n\
                 ssl_certificate_key {folder}/key.pem; ssl_protocols {version};",
                folder = folder.display()
            );
            nginx(folder, "keepalive_requests 3;\n", &server)
        })
    }

    /// It answers every request itself, over TLS.
    pub fn haproxy_tls(certificate: &str, key: &str) -> Program {
        Program::start("haproxy-tls", |folder, address| {
            let text = format!(
                "defaults\nmode http\ntimeout client 10s\ntimeout server 10s\ntimeout connect 10s\nfrontend f\n\
                 bind {address} ssl crt {folder}/both.pem\n\
                 http-request return status 200 content-type text/plain lf-string \"%[ssl_fc_protocol] %[ssl_fc_sni]\"\n",
                folder = folder.display()
            );
            fs::write(folder.join("both.pem"), [certificate, key].concat()).expect("a file");
            let file = folder.join("haproxy.cfg");
            fs::write(&file, text).expect("a file");
            let mut command = Command::new("haproxy");
            command.arg("-db").arg("-f").arg(file);
            command
        })
    }

    /// It wants a certificate of its clients that this one has signed, and answers with a page about the session.
    pub fn openssl_that_asks(certificate: &str, key: &str, of_clients: &str) -> Program {
        Program::start("openssl", |folder, address| {
            for (name, text) in [("cert.pem", certificate), ("key.pem", key), ("clients.pem", of_clients)] {
                fs::write(folder.join(name), text).expect("a file");
            }
            let mut command = Command::new("openssl");
            command.args(["s_server", "-www", "-quiet", "-Verify", "1", "-verify_return_error"]);
            command.args(["-cert", "cert.pem", "-key", "key.pem", "-CAfile", "clients.pem"]);
            command.arg("-accept").arg(address.to_string()).current_dir(folder);
            command
        })
    }

    pub fn apache() -> Program {
        Program::start("apache", |folder, address| {
            let modules = ["mpm_event", "authz_core", "unixd", "filter", "deflate"].map(|module| {
                let file = format!("/usr/lib/apache2/modules/mod_{module}.so");
                // Some are part of the program.
                let load = format!("LoadModule {module}_module {file}\n");
                if Path::new(&file).exists() { load } else { String::new() }
            });
            let text = format!(
                "ServerName localhost\nServerRoot {folder}\nPidFile {folder}/pid\nDefaultRuntimeDir {folder}\nListen {address}\n{modules}\
                 ErrorLog /dev/stderr\nDocumentRoot {folder}/files\nKeepAlive On\nMaxKeepAliveRequests 5\nUser www-data\nGroup www-data\n\
                 <Directory {folder}/files>\nRequire all granted\nSetOutputFilter DEFLATE\n</Directory>\n",
                folder = folder.display(),
                modules = modules.concat()
            );
            let file = folder.join("apache.conf");
            fs::write(&file, text).expect("a file");
            let mut command = Command::new("apache2");
            command.args(["-D", "FOREGROUND", "-f"]).arg(file);
            command
        })
    }

    pub fn node() -> Program {
        Program::start("node", |folder, address| {
            let mut command = Command::new("node");
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/proxied/server.mjs"));
            command.arg(address.port().to_string()).current_dir(folder.join("files")).env("TOKEN_SECRET", TOKEN_SECRET);
            command
        })
    }

    /// With a whole file for its address; what it would write elsewhere goes to its folder.
    pub fn nginx_with(text: impl FnOnce(SocketAddr) -> String) -> Program {
        Program::start("nginx", |folder, address| {
            let own = format!(
                "http {{\naccess_log off;\nclient_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\n\
                 fastcgi_temp_path {folder}/fastcgi;\nuwsgi_temp_path {folder}/uwsgi;\nscgi_temp_path {folder}/scgi;\n",
                folder = folder.display()
            );
            let file = folder.join("nginx.conf");
            fs::write(&file, text(address).replace("http {\n", &own)).expect("a file");
            let mut command = Command::new("nginx");
            let global = format!("daemon off; master_process off; pid {}/pid;", folder.display());
            command.args(["-e", "stderr", "-g", &global, "-c"]).arg(file);
            command
        })
    }

    /// A proxy in front of another server.
    pub fn nginx_before(server: SocketAddr) -> Program {
        Program::start("nginx", |folder, address| {
            let server = format!(
                "listen {address}; location / {{ proxy_pass http://{server}; proxy_http_version 1.1;\n\
                 proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}"
            );
            nginx(folder, "", &server)
        })
    }

    pub fn haproxy_before(server: SocketAddr) -> Program {
        Program::haproxy("http", &server.to_string())
    }

    /// A load balancer that passes TCP on, and says first whose connection it is.
    pub fn balancer_before(server: SocketAddr) -> Program {
        Program::haproxy("tcp", &format!("{server} send-proxy-v2"))
    }

    fn haproxy(mode: &str, server: &str) -> Program {
        Program::start("haproxy", |folder, address| {
            let text = format!(
                "defaults\nmode {mode}\ntimeout connect 5s\ntimeout client 30s\ntimeout server 30s\n\
                 listen a\nbind {address}\nserver s {server}\n"
            );
            let file = folder.join("haproxy.cfg");
            fs::write(&file, text).expect("a file");
            let mut command = Command::new("haproxy");
            command.args(["-db", "-f"]).arg(file);
            command
        })
    }

    /// The application is server.py beside this file.
    fn python(name: &'static str, program: &str, words: &[&str], bind: impl Fn(SocketAddr) -> Vec<String>) -> Program {
        Program::start(name, |folder, address| {
            let mut command = Command::new(venv(program));
            command.args(words).args(bind(address)).current_dir(folder.join("files"));
            command.env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/proxied"));
            command
        })
    }

    pub fn gunicorn() -> Program {
        let words = ["--worker-class", "gthread", "--threads", "8", "--keep-alive", "2", "server:wsgi"];
        Program::python("gunicorn", "gunicorn", &words, |address| vec!["--bind".to_owned(), address.to_string()])
    }

    pub fn uvicorn() -> Program {
        let words = ["--log-level", "warning", "server:asgi"];
        Program::python("uvicorn", "uvicorn", &words, |address| {
            vec!["--host".to_owned(), address.ip().to_string(), "--port".to_owned(), address.port().to_string()]
        })
    }

    /// An application with Express, by its text.
    pub fn express(text: &str) -> Program {
        Program::start("express", |folder, address| {
            let file = folder.join("app.mjs");
            fs::write(&file, text).expect("a file");
            let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node_modules");
            symlink(packages, folder.join("node_modules")).expect("a link");
            let mut command = Command::new("node");
            command.arg(file).env("PORT", address.port().to_string()).env("TOKEN_SECRET", TOKEN_SECRET);
            command
        })
    }

    /// An application with FastAPI, by its text.
    pub fn fastapi(text: &str) -> Program {
        Program::start("fastapi", |folder, address| {
            fs::write(folder.join("app.py"), text).expect("a file");
            let mut command = Command::new(venv("uvicorn"));
            command.args(["--log-level", "warning", "app:app", "--port", &address.port().to_string()]);
            command.current_dir(folder).env("TOKEN_SECRET", TOKEN_SECRET);
            command
        })
    }

    /// HTTP/1.0, one request on each connection.
    pub fn http_server() -> Program {
        Program::python("http.server", "python", &["-m", "http.server", "--bind", "127.0.0.1"], |address| {
            vec![address.port().to_string()]
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // gunicorn and Apache end their workers when they are asked, and leave them when they are killed.
        let asked = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
