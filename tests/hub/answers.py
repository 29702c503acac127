"""The stand-in's answers to the requests of huggingface_hub for publishing a folder and for loading it."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import yaml

from .repositories import LARGE, Repositories, Repository, git_oid

TYPES = {"models": "model", "spaces": "space"}


class RefusalError(Exception):
    """An error, with the headers and the body of the Hub's answer."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **headers}


class Request(NamedTuple):
    """The parts of a request that the answers need."""

    path: str
    query: dict[str, list[str]]
    body: bytes
    user: str | None

    def json(self) -> Any:
        return json.loads(self.body)


class Answer(NamedTuple):
    content: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - never written to
    status: int = 200


class Answers:
    """
    The behaviour of the Hub, one method for each kind of request.

    Args:
        folder: where the files lie.
        tokens: token → user, who may write only to repositories under this name.
    """

    def __init__(self, folder: Path, tokens: dict[str, str]) -> None:
        self.repositories = Repositories(folder)
        self.tokens = tokens
        self.endpoint = ""  # known when the server has started

    def answer(self, method: str, request: Request) -> Answer:
        for wanted, pattern, respond in ROUTES:
            if wanted == method and (match := re.fullmatch(pattern, request.path)):
                return respond(self, request, *(unquote(part) for part in match.groups()))
        raise RefusalError(404, f"the stand-in has no {method} {request.path}")

    def whoami(self, request: Request) -> Answer:
        if request.user is None:
            raise RefusalError(401, "Invalid credentials in Authorization header")
        return _json({"type": "user", "name": request.user, "auth": {"accessToken": {"role": "write"}}})

    def create_repo(self, request: Request) -> Answer:
        asked = request.json()
        owner, kind = asked["organization"] or request.user, asked.get("type", "model")
        self.require_owner(request, owner)
        repo_id = f"{owner}/{asked['name']}"
        answer = {"url": self.url(kind, repo_id), "name": repo_id, "id": repo_id}
        if self.repositories.get(kind, repo_id) is not None:
            return Answer(json.dumps(answer).encode(), {}, 409)
        if kind == "space" and "sdk" not in asked:
            raise RefusalError(400, "A Space needs an sdk")
        self.repositories.create(kind, repo_id, private=asked.get("visibility") == "private")
        return _json(answer)

    def delete_repo(self, request: Request) -> Answer:
        asked = request.json()
        owner, kind = asked["organization"] or request.user, asked.get("type", "model")
        self.writable(request, kind, f"{owner}/{asked['name']}")
        self.repositories.delete(kind, f"{owner}/{asked['name']}")
        return Answer()

    def validate_yaml(self, request: Request) -> Answer:
        asked = request.json()
        front = re.match(r"---\n(.*?)\n---\n", asked["content"], re.DOTALL)
        try:
            data = yaml.safe_load(front[1]) if front else None
            wrong = [] if isinstance(data, dict) else ["empty or missing metadata"]
        except yaml.YAMLError as error:
            wrong = [str(error)]
        if not wrong and asked["repoType"] == "space":
            wrong = [f'"{name}" is required' for name in ("sdk", "title", "emoji") if name not in data]
        messages = [{"message": message} for message in wrong]
        return Answer(json.dumps({"errors": messages, "warnings": []}).encode(), {}, 400 if wrong else 200)

    def repo_info(self, request: Request, types: str, repo_id: str, revision: str = "main") -> Answer:
        repository = self.readable(request, TYPES[types], repo_id)
        commit = _commit(repository, revision)
        siblings = [{"rfilename": path, "size": file["size"]} for path, file in repository.files(commit).items()]
        return _json({"id": repo_id, "sha": commit, "private": repository.private, "siblings": siblings, "tags": []})

    def tree(self, request: Request, types: str, repo_id: str, revision: str, folder: str = "") -> Answer:
        repository = self.readable(request, TYPES[types], repo_id)
        files = repository.files(_commit(repository, revision))
        prefix = f"{folder}/" if folder else ""
        entries, folders = [], set()
        for path, file in files.items():
            inner = path.removeprefix(prefix)
            if not path.startswith(prefix):
                continue
            if "/" in inner and "recursive" not in request.query:
                folders.add(prefix + inner.partition("/")[0])
                continue
            entry = {"type": "file", "path": path, "size": file["size"], "oid": file["oid"]}
            if file["large"]:
                entry["lfs"] = {"oid": file["sha256"], "size": file["size"], "pointerSize": 134}
            entries.append(entry)
        if folder and not entries and not folders:
            raise RefusalError(404, "Entry not found", "EntryNotFound")
        return _json([*({"type": "directory", "path": path, "oid": "0" * 40} for path in sorted(folders)), *entries])

    def refs(self, request: Request, types: str, repo_id: str) -> Answer:
        repository = self.readable(request, TYPES[types], repo_id)
        branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": c} for n, c in repository.branches.items()]
        return _json({"branches": branches, "tags": [], "converts": []})

    def create_branch(self, request: Request, types: str, repo_id: str, branch: str) -> Answer:
        repository = self.writable(request, TYPES[types], repo_id)
        if branch in repository.branches:
            raise RefusalError(409, "Reference already exists")
        repository.branch(branch, repository.branches["main"])
        return _json({})

    def preupload(self, request: Request, types: str, repo_id: str, revision: str) -> Answer:
        repository = self.writable(request, TYPES[types], repo_id)
        files = repository.files(_commit(repository, revision))
        answers = []
        for asked in request.json()["files"]:
            large, there = asked["path"].endswith(LARGE), files.get(asked["path"])
            answer = {"path": asked["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            answers.append(answer | ({"oid": there["sha256" if large else "oid"]} if there else {}))
        return _json({"files": answers})

    def lfs_batch(self, request: Request, repo_id: str) -> Answer:
        self.writable(request, "space" if repo_id.startswith("spaces/") else "model", repo_id.removeprefix("spaces/"))
        objects = []
        for asked in request.json()["objects"]:
            upload = {"upload": {"href": f"{self.endpoint}/storage/{asked['oid']}"}}
            known = self.repositories.large_file(asked["oid"]).is_file()
            objects.append(asked | ({} if known else {"actions": upload}))
        return _json({"transfer": "basic", "objects": objects})

    def lfs_put(self, request: Request, sha256: str) -> Answer:
        if hashlib.sha256(request.body).hexdigest() != sha256:
            raise RefusalError(400, "the content is another")
        self.repositories.large_file(sha256).write_bytes(request.body)
        return Answer()

    def commit(self, request: Request, types: str, repo_id: str, revision: str) -> Answer:
        repository = self.writable(request, TYPES[types], repo_id)
        header, *lines = (json.loads(line) for line in request.body.splitlines())
        parent = _commit(repository, revision)
        if header["value"].get("parentCommit", parent) != parent:
            raise RefusalError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.files(parent))
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                content = base64.b64decode(value["content"])
                files[value["path"]] = repository.add(content)
            elif line["key"] == "lfsFile":
                stored = self.repositories.large_file(value["oid"])
                if not stored.is_file():
                    raise RefusalError(400, f"{value['path']} was never uploaded")
                pointer = git_oid(f"oid sha256:{value['oid']}".encode())
                files[value["path"]] = {"oid": pointer, "size": value["size"], "large": True, "sha256": value["oid"]}
            elif line["key"] == "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise RefusalError(404, "A file with this name doesn't exist", "EntryNotFound")
            else:
                raise RefusalError(400, f"the stand-in knows no {line['key']}")
        made = repository.commit(revision, parent, files, header["value"]["summary"])
        return _json({"commitUrl": f"{self.url(TYPES[types], repo_id)}/commit/{made}", "commitOid": made})

    def resolve(self, request: Request, repo_id: str, revision: str, path: str) -> Answer:
        kind, repo_id = ("space", repo_id[7:]) if repo_id.startswith("spaces/") else ("model", repo_id)
        repository = self.readable(request, kind, repo_id)
        made = _commit(repository, revision)
        file = repository.files(made).get(path)
        if file is None:
            raise RefusalError(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": made})
        where = self.repositories.large_file(file["sha256"]) if file["large"] else repository.blob(file["oid"])
        etag = file["sha256"] if file["large"] else file["oid"]
        return Answer(where.read_bytes(), {"X-Repo-Commit": made, "ETag": f'"{etag}"'})

    def readable(self, request: Request, kind: str, repo_id: str) -> Repository:
        found = self.repositories.get(kind, repo_id)
        if found is None or (found.private and request.user != repo_id.partition("/")[0]):
            status = 401 if request.user is None else 404
            raise RefusalError(status, "Repository not found", "RepoNotFound")
        return found

    def writable(self, request: Request, kind: str, repo_id: str) -> Repository:
        self.require_owner(request, repo_id.partition("/")[0])
        return self.readable(request, kind, repo_id)

    def require_owner(self, request: Request, owner: str) -> None:
        if request.user is None:
            raise RefusalError(401, "Invalid username or password.")
        if request.user != owner:
            raise RefusalError(403, f"You don't have the rights to write under the namespace {owner}")

    def url(self, kind: str, repo_id: str) -> str:
        return f"{self.endpoint}/{'spaces/' if kind == 'space' else ''}{repo_id}"


def _commit(repository: Repository, revision: str) -> str:
    found = repository.resolve(revision)
    if found is None:
        raise RefusalError(404, "Invalid rev id", "RevisionNotFound")
    return found


def _json(value: Any) -> Answer:
    return Answer(json.dumps(value).encode(), {"Content-Type": "application/json"})


API = r"/api/(models|spaces)/([^/]+/[^/]+)"
ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", r"/api/whoami-v2", Answers.whoami),
    ("POST", r"/api/repos/create", Answers.create_repo),
    ("DELETE", r"/api/repos/delete", Answers.delete_repo),
    ("POST", r"/api/validate-yaml", Answers.validate_yaml),
    ("GET", API, Answers.repo_info),
    ("GET", rf"{API}/revision/([^/]+)", Answers.repo_info),
    ("GET", rf"{API}/tree/([^/]+)", Answers.tree),
    ("GET", rf"{API}/tree/([^/]+)/(.+)", Answers.tree),
    ("GET", rf"{API}/refs", Answers.refs),
    ("POST", rf"{API}/branch/([^/]+)", Answers.create_branch),
    ("POST", rf"{API}/preupload/([^/]+)", Answers.preupload),
    ("POST", rf"{API}/commit/([^/]+)", Answers.commit),
    ("POST", r"/((?:spaces/)?[^/]+/[^/]+)\.git/info/lfs/objects/batch", Answers.lfs_batch),
    ("PUT", r"/storage/([0-9a-f]{64})", Answers.lfs_put),
    ("GET", r"/((?:spaces/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", Answers.resolve),
]
