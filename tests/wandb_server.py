"""As much of wandb's server as a run needs to be online: it answers on 127.0.0.1, and remembers what it was told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Told:
    """What the server was told of one run, in order: `begun` once for each attempt, and `exit_codes`."""

    begun: list[dict[str, Any]] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)


class Server:
    """The runs by their ids."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.runs: dict[str, Told] = {}

    def query(self, text: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answer a query in GraphQL."""
        project = {"id": "1", "name": "aevb", "entity": {"id": "2", "name": "me"}}
        name = variables.get("name")
        if "RunResumeStatus" in text:
            return {"model": {**project, "bucket": self.stored(name) if name in self.runs else None}}
        if "upsertBucket" in text:
            if variables.get("displayName"):  # the later ones change the configuration
                self.runs.setdefault(name, Told()).begun.append(variables)
            bucket = {"id": "3", "name": name, "displayName": name, "config": "{}", "historyLineCount": 0}
            return {"upsertBucket": {"bucket": bucket | {"project": project}, "inserted": True}}
        if "createRunFiles" in text:
            files = [{"name": file, "uploadUrl": f"{self.address}/upload"} for file in variables["files"]]
            return {"createRunFiles": {"runID": "3", "uploadHeaders": [], "files": files}}
        return {}

    def stored(self, name: str) -> dict[str, Any]:
        """What a run that resumes is told of its beginning."""
        history = self.runs[name].history
        counts = {"logLineCount": 0, "historyLineCount": len(history), "eventsLineCount": 0}
        last = json.dumps([json.dumps({"_step": len(history) - 1, "_runtime": 1})])
        texts = {"summaryMetrics": "{}", "config": "{}", "wandbConfig": json.dumps({"t": 1}), "eventsTail": "[]"}
        return {"id": "3", "name": name, "displayName": name, "tags": [], "historyTail": last} | counts | texts

    def stream(self, name: str, data: dict[str, Any]) -> None:
        """Take what a run logs, and how it ended."""
        lines = data.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
        self.runs[name].history += [json.loads(line) for line in lines]
        if data.get("complete"):
            self.runs[name].exit_codes.append(data["exitcode"])


@contextmanager
def serve() -> Iterator[Server]:
    """A server that runs within."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer: dict[str, Any] = {}
            if self.path == "/graphql":
                asked = json.loads(body)
                answer = {"data": server.query(asked["query"], asked.get("variables") or {})}
            elif self.path.endswith("/file_stream"):
                server.stream(self.path.split("/")[-2], json.loads(body))
            text = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_PUT = do_POST  # noqa: N815

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{listener.server_port}")
    Thread(target=listener.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
