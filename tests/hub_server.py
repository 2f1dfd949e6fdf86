"""A stand-in for the Hugging Face hub on this machine: one commit of each model, in memory."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

SHA = "0" * 40


@contextmanager
def hub_server() -> Iterator[tuple[str, dict[str, dict[str, bytes]]]]:
    """Serve; yields the address, and the files by name of each model that was uploaded."""
    models: dict[str, dict[str, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def answer(self, content: bytes | dict | list, **headers: str) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(200)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[1] == "repos":
                asked = json.loads(body)
                name = f"{asked.get('organization') or 'me'}/{asked['name']}"
                models.setdefault(name, {})
                self.answer({"url": f"http://{self.headers['Host']}/{name}", "id": name})
                return
            if len(parts) < 5:  # whether the front matter of the card is valid
                self.answer({"errors": [], "warnings": []})
                return
            name = "/".join(parts[2:4])
            if parts[4] == "preupload":
                files = json.loads(body)["files"]
                self.answer(
                    {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
                )
                return
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    models[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(
                {
                    "commitUrl": f"http://{self.headers['Host']}/{name}/commit/{SHA}",
                    "commitOid": SHA,
                    "pullRequestUrl": None,
                }
            )

        def do_GET(self) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[0] == "api":
                name = "/".join(parts[2:4])
                if len(parts) < 4:  # who the user is, and the like
                    self.answer({"name": "me", "type": "user"})
                elif parts[4:5] == ["tree"]:
                    found = models[name].items()
                    self.answer([{"type": "file", "path": path, "size": len(x), "oid": SHA} for path, x in found])
                else:
                    files = [{"rfilename": path} for path in models[name]]
                    self.answer({"id": name, "sha": SHA, "siblings": files, "tags": [], "private": False})
                return
            content = models["/".join(parts[:2])]["/".join(parts[4:])]
            digest = hashlib.sha256(content).hexdigest()
            self.answer(content, ETag=f'"{digest}"', X_Repo_Commit=SHA)

        do_HEAD = do_GET  # noqa: N815 - the name that the library calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", models
    finally:
        server.shutdown()
        server.server_close()
