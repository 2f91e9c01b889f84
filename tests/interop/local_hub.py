"""A hub on this machine: as much of the Hugging Face hub as its own library needs to download files and lay out its cache."""

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class LocalHub:
    """Repositories by name, each a folder; the answers follow the public interface.

    Attributes:
        folders: the folder of each repository.
        revisions: the commit of each revision of each repository.
        gated: repositories that need permission.
        downloaded: the files that were sent.
    """

    def __init__(self):
        self.folders: dict[str, Path] = {}
        self.revisions: dict[str, dict[str, str]] = {}
        self.gated: set[str] = set()
        self.downloaded: list[str] = []

    def add(self, repository: str, folder: Path, *, revision: str = "main") -> str:
        """Adds a repository, and returns its commit."""
        commit = hashlib.sha1(f"{repository} {revision}".encode()).hexdigest()
        self.folders[repository] = folder
        self.revisions.setdefault(repository, {})[revision] = commit
        return commit

    def commit(self, repository: str, revision: str) -> str | None:
        known = self.revisions.get(repository, {})
        return known.get(revision) or (revision if revision in known.values() else None)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """The answer to a request: status, headers and content."""
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/([^/]+))?", path):
            return self._about(found[1], found[2] or "main")
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(*found.groups())
        return 404, {}, b""

    def _about(self, repository: str, revision: str) -> tuple[int, dict[str, str], bytes]:
        refused = self._refused(repository, revision)
        if refused:
            return refused
        folder = self.folders[repository]
        names = sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())
        siblings = [{"rfilename": name} for name in names]
        about = {"id": repository, "sha": self.commit(repository, revision), "siblings": siblings}
        return 200, {"Content-Type": "application/json"}, json.dumps(about).encode()

    def _file(self, repository: str, revision: str, name: str) -> tuple[int, dict[str, str], bytes]:
        refused = self._refused(repository, revision)
        if refused:
            return refused
        file, commit = self.folders[repository] / name, self.commit(repository, revision)
        if not file.is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": str(commit)}, b""
        content = file.read_bytes()
        return 200, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": str(commit)}, content

    def _refused(self, repository: str, revision: str) -> tuple[int, dict[str, str], bytes] | None:
        if repository in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        if repository not in self.folders:
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        return None if self.commit(repository, revision) else (404, {"X-Error-Code": "RevisionNotFound"}, b"")

    @contextmanager
    def serving(self):
        """Serves; yields the address."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self, *, body: bool = True):
                status, headers, content = hub.answer(self.path.partition("?")[0])
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if body:
                    if "/resolve/" in self.path and status == 200:
                        hub.downloaded.append(self.path.split("/", 5)[5])
                    self.wfile.write(content)

            def do_HEAD(self):
                self.do_GET(body=False)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
