//! nginx with nchan: its configuration.

use std::path::Path;

use crate::foreign::{self, Places};
use crate::process::Setup;

/// Where distributions put it.
const MODULES: [&str; 2] =
    ["/usr/lib/nginx/modules/ngx_nchan_module.so", "/usr/lib64/nginx/modules/ngx_nchan_module.so"];
/// Of the descriptor limit, what a worker process keeps for itself.
const WORKER_CONNECTIONS: usize = 19_000;

pub(crate) fn is_installed() -> bool {
    module().is_some() && foreign::is_installed("nginx")
}

fn module() -> Option<&'static str> {
    MODULES.into_iter().find(|path| Path::new(path).exists())
}

/// One message is kept for a channel and only for a moment: nobody comes back for it.
pub(crate) fn configuration(folder: &Path, setup: &Setup<'_>, places: &Places) -> Result<String, String> {
    let (workers, front) = (setup.shards, places.plain);
    let module = module().ok_or("nchan is not installed")?;
    let tls = setup.certificate.zip(places.tls).map_or_else(String::new, |(certificate, address)| {
        let key = certificate.folder().display();
        format!(
            "listen {address} ssl reuseport backlog=4096;\nssl_certificate \"{key}/cert.pem\";\n\
             ssl_certificate_key \"{key}/key.pem\";\nssl_protocols TLSv1.3;\n"
        )
    });
    Ok(format!(
        r#"load_module {module};
user root;
daemon off;
worker_processes {workers};
worker_rlimit_nofile {files};
pid "{pid}";
error_log stderr crit;
events {{ worker_connections {WORKER_CONNECTIONS}; }}
http {{
{common}
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
        common = foreign::nginx_http(folder),
        pid = folder.join("pid").display(),
    ))
}
