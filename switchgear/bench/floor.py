"""The two nginx processes of every run: the mock provider, and the bare proxy that is the floor."""

import os
from pathlib import Path

from switchgear.bench import children, payloads
from switchgear.bench.children import Child
from switchgear.bench.gateway import Gateway
from switchgear.bench.machine import LOAD_CORE, Programs

_HERE = Path(__file__).parent

_SHARED = """\
daemon off;
worker_processes 1;
pid @DIR@/nginx.pid;
error_log stderr warn;
events { worker_connections 8192; }
"""

_HTTP = """\
  access_log off;
  client_body_temp_path @DIR@/body;
  proxy_temp_path @DIR@/proxy;
  fastcgi_temp_path @DIR@/fastcgi;
  uwsgi_temp_path @DIR@/uwsgi;
  scgi_temp_path @DIR@/scgi;
  client_body_buffer_size 64k;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  tcp_nodelay on;
"""

_MOCK = (
    "@MODULES@"
    + _SHARED
    + "http {\n"
    + _HTTP
    + """\
  init_by_lua_file @DIR@/mock.lua;
  server {
    listen 127.0.0.1:@PORT@ backlog=4096;
    location = /v1/chat/completions { content_by_lua_block { MOCK.chat() } }
    location = /v1/models { content_by_lua_block { MOCK.models() } }
    location / { default_type text/plain; return 200 "ok"; }
  }
}
"""
)

_FLOOR = (
    _SHARED
    + "http {\n"
    + _HTTP
    + """\
  upstream mock { server @UPSTREAM@; keepalive 1024; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:@PORT@ backlog=4096;
    location / {
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
"""
)


def start_mock(programs: Programs, folder: Path, port: int) -> Child:
    """Start the mock provider on the load core; `folder` must exist and be empty."""
    lua = (_HERE / "mock.lua").read_text()
    sizes = {
        "@ANSWER_BYTES@": str(payloads.ANSWER_BYTES),
        "@CHUNKS@": str(payloads.CHUNKS),
        "@PAUSE_S@": str(payloads.PAUSE_S),
    }
    for mark, value in sizes.items():
        lua = lua.replace(mark, value)
    (folder / "mock.lua").write_text(lua)
    modules = "".join(f"load_module {path};\n" for path in programs.lua_modules)
    config = _MOCK.replace("@MODULES@", modules).replace("@DIR@", str(folder)).replace("@PORT@", str(port))
    (folder / "nginx.conf").write_text(config)
    argv = [programs.nginx, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    return Child(argv, core=LOAD_CORE, log=folder / "log", env=dict(os.environ), cwd=folder)


def floor(programs: Programs, version: str) -> Gateway:
    """Return nginx as a plain proxy: what it costs to pass the bytes on, with no gateway at all."""
    return Gateway(
        name="nginx",
        version=version,
        language="C",
        command=(programs.nginx, "-p", "@DIR@", "-e", "stderr", "-c", "@DIR@/nginx.conf"),
        config={"nginx.conf": _FLOOR},
        model="mock-model",
        auth=False,
    )


def version(programs: Programs) -> str:
    """Return the version of the nginx that was found."""
    return parse_version(children.run(["/bin/sh", "-c", f"exec {programs.nginx} -v 2>&1"]))


def parse_version(text: str) -> str:
    """Return the number in what `nginx -v` prints."""
    return text.strip().rpartition("/")[2].split(" ")[0]
