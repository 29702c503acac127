"""The stand-in's repositories, kept as files: blobs by their git id, commits and branches as JSON."""

import hashlib
import json
import shutil
import threading
from pathlib import Path
from typing import Any

LARGE = (".safetensors", ".jpg", ".png")
Files = dict[str, dict[str, Any]]


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repository:
    """One repository. Its first commit has `.gitattributes`, as on the Hub."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.Lock()

    @property
    def private(self) -> bool:
        return (self.folder / "private").exists()

    @property
    def branches(self) -> dict[str, str]:
        return json.loads((self.folder / "branches.json").read_text())

    def branch(self, name: str, commit: str) -> None:
        (self.folder / "branches.json").write_text(json.dumps(self.branches | {name: commit}))

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, or a commit by its own id."""
        if revision in self.branches:
            return self.branches[revision]
        return revision if self._commit_file(revision).is_file() else None

    def files(self, commit: str) -> Files:
        return json.loads(self._commit_file(commit).read_text())["files"]

    def messages(self, branch: str = "main") -> list[str]:
        """The messages of all commits, newest first."""
        commit, found = self.branches[branch], []
        while commit:
            record = json.loads(self._commit_file(commit).read_text())
            found.append(record["message"])
            commit = record["parent"]
        return found

    def blob(self, oid: str) -> Path:
        return self.folder / "blobs" / oid

    def add(self, content: bytes) -> dict[str, Any]:
        oid = git_oid(content)
        self.blob(oid).write_bytes(content)
        return {"oid": oid, "size": len(content), "large": False, "sha256": hashlib.sha256(content).hexdigest()}

    def commit(self, branch: str, parent: str | None, files: Files, message: str) -> str:
        with self.lock:
            record = json.dumps({"parent": parent, "message": message, "files": dict(sorted(files.items()))})
            commit = hashlib.sha1(record.encode()).hexdigest()
            self._commit_file(commit).write_text(record)
            self.branch(branch, commit)
        return commit

    def _commit_file(self, commit: str) -> Path:
        return self.folder / "commits" / f"{commit}.json"


class Repositories:
    """All repositories, and the large files that they share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "large").mkdir(parents=True)

    def large_file(self, sha256: str) -> Path:
        return self.folder / "large" / sha256

    def get(self, kind: str, repo_id: str) -> Repository | None:
        folder = self.folder / kind / repo_id
        return Repository(folder) if folder.is_dir() else None

    def create(self, kind: str, repo_id: str, private: bool) -> Repository:
        folder = self.folder / kind / repo_id
        for inner in ("blobs", "commits"):
            (folder / inner).mkdir(parents=True)
        (folder / "branches.json").write_text("{}")
        if private:
            (folder / "private").touch()
        repository = Repository(folder)
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE)
        files = {".gitattributes": repository.add(attributes.encode())}
        repository.commit("main", None, files, "initial commit")
        return repository

    def delete(self, kind: str, repo_id: str) -> None:
        shutil.rmtree(self.folder / kind / repo_id)
