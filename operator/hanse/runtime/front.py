"""Container `front`: nginx, the only door of the server pod. Run as `python3 -m hanse.runtime.front [--root DIR]`.

The SuperLink's control and runtime APIs are open to whoever reaches them, so only `/v1/fleet/` and `/health` get
through, and only with a client certificate of the job's own CA. A second, plain port answers the kubelet's probes.
"""

import os
import shutil
import tempfile
from pathlib import Path
from string import Template
from typing import Final

from hanse.api.exitcodes import ExitCode
from hanse.api.paths import Paths
from hanse.api.runconfig import RunConfig
from hanse.runtime.server.options import options

#: Arrays travel in objects of 5 MB; Flower itself refuses nothing below 16 MB.
_CONFIG: Final = Template("""\
daemon off;
worker_processes 1;
error_log stderr warn;
pid $scratch/nginx.pid;

events {
    worker_connections 4096;
}

http {
    access_log off;
    server_tokens off;
    client_body_temp_path $scratch/body;
    proxy_temp_path $scratch/proxy;
    fastcgi_temp_path $scratch/fastcgi;
    uwsgi_temp_path $scratch/uwsgi;
    scgi_temp_path $scratch/scgi;

    # A gate keeps its connection for the whole run.
    keepalive_timeout 75s;
    keepalive_requests 1000000;

    upstream superlink {
        server 127.0.0.1:$superlink_port;
        keepalive 64;
        keepalive_requests 1000000;
    }

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host localhost;
    proxy_ssl_trusted_certificate $tls/ca.crt;
    proxy_ssl_verify on;
    proxy_ssl_name localhost;
    proxy_ssl_session_reuse on;

    server {
        listen $front_port ssl;
        ssl_certificate $tls/tls.crt;
        ssl_certificate_key $tls/tls.key;
        ssl_client_certificate $tls/ca.crt;
        ssl_verify_client on;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:fleet:1m;

        # Objects are streamed both ways, nothing is spooled to disk.
        client_max_body_size 16m;
        client_body_buffer_size 64k;
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_read_timeout 75s;

        location /v1/fleet/ {
            limit_except POST { deny all; }
            proxy_pass https://superlink;
        }
        location = /health {
            proxy_pass https://superlink;
        }
        location / {
            return 403;
        }
    }

    server {
        listen $health_port;
        location = /health {
            proxy_pass https://superlink;
        }
        location / {
            return 404;
        }
    }
}
""")


def health_port(config: RunConfig) -> int:
    """The plain port for the kubelet's probes: next to the front's."""
    return config.server_port + 1


def render(paths: Paths, config: RunConfig, scratch: Path) -> str:
    """nginx.conf. Pure."""
    return _CONFIG.substitute(
        scratch=scratch,
        tls=paths.tls,
        front_port=config.server_port,
        health_port=health_port(config),
        superlink_port=config.superlink_port,
    )


def main() -> None:
    """Write the configuration and become nginx."""
    paths, config = options("The door of the server pod")
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if nginx is None:
        print("nginx is not installed", flush=True)
        raise SystemExit(int(ExitCode.INTERNAL_ERROR))
    scratch = Path(tempfile.mkdtemp(prefix="front-"))
    file = scratch / "nginx.conf"
    file.write_text(render(paths, config, scratch))
    os.execv(nginx, [nginx, "-e", "stderr", "-p", str(scratch), "-c", str(file)])  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    main()
