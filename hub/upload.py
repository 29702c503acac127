"""Uploads a folder to the Hub by one commit or none. An error is one line without the token."""

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, NamedTuple

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers

from modeling_fbclip.common.hub import is_hub_id
from modeling_fbclip.common.provenance import RECORDS

from .evaluation_report import EVALUATION

RepoType = Literal["model", "space"]
# Stale files of an earlier push. A pattern without a folder is for the top level only.
STALE: dict[RepoType, tuple[str, ...]] = {
    "model": (
        "*.safetensors",
        "*.safetensors.index.json",
        "pytorch_model*.bin",
        "pytorch_model*.bin.index.json",
        "*_fbclip.py",
        "handler.py",
        "results.jpg",
        EVALUATION,
        *RECORDS,
        ".eval_results/*",
    ),
    "space": ("modeling_fbclip/*",),
}


class HubError(ValueError):
    """Publishing failed. The message is one line for the user and holds no secret."""


class Pushed(NamedTuple):
    """A repository after a push: its page, its newest commit, and whether the push has changed it."""

    repo_type: RepoType
    repo_id: str
    url: str
    commit: str
    changed: bool


class Repository:
    r"""
    A repository to write to. It is made if it is missing.

    Args:
        repo_id (`str`): `owner/name`, checked by `require_repo_id`.
        repo_type (`str`): `"model"` or `"space"`.
        private (`bool`): Whether it is made private. An existing public one is then an error.
        revision (`str`, *optional*): Branch to write to, made if it is missing. Defaults to the main one.
        token (`str`, *optional*): Defaults to the one of `hf auth login` or `HF_TOKEN`.

    Raises:
        `HubError`: There is no token, or the Hub cannot be reached or refuses.
    """

    def __init__(
        self, repo_id: str, repo_type: RepoType, private: bool, revision: str | None, token: str | None
    ) -> None:
        token = token or get_token()
        if token is None:
            raise HubError("there is no token: log in with `hf auth login`, or set HF_TOKEN to one that may write.")
        self.repo_id, self.repo_type, self.revision, self.token = repo_id, repo_type, revision, token
        self.api = HfApi(token=token, library_name="modeling-fbclip")
        sdk = "gradio" if repo_type == "space" else None
        with _one_line_errors(self):
            url = self.api.create_repo(
                repo_id, repo_type=repo_type, private=private or None, space_sdk=sdk, exist_ok=True
            )
            if revision is not None:
                self.api.create_branch(repo_id, repo_type=repo_type, branch=revision, exist_ok=True)
            info: Any = self.api.repo_info(repo_id, repo_type=repo_type, revision=revision)
        if private and not info.private:
            raise HubError(f"{repo_id} exists and is public; make it private in its settings on the Hub first.")
        self.url, self.parent = str(url), str(info.sha)
        self.files = [sibling.rfilename for sibling in info.siblings or []]

    def push(self, folder: Path) -> Pushed:
        r"""
        Uploads a folder and deletes stale files of an earlier push, by one commit. All other files stay. The commit
        is made only if nobody has changed the repository since it was opened.

        Raises:
            `HubError`: The Hub refused, the connection broke, or the repository has changed. It is as it was.
        """
        # `upload_folder` may make several commits, and the patterns of its files to delete match in every folder.
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        stale = [name for name in self.files if name not in files and _is_stale(name, self.repo_type)]
        added = [CommitOperationAdd(name, path) for name, path in files.items()]
        with _one_line_errors(self):
            commit = self.api.create_commit(
                self.repo_id,
                [*map(CommitOperationDelete, stale), *added],
                commit_message="Upload by modeling-fbclip",
                repo_type=self.repo_type,
                revision=self.revision,
                parent_commit=self.parent,
            )
        return Pushed(self.repo_type, self.repo_id, self.url, commit.oid, commit.oid != self.parent)


def _is_stale(name: str, repo_type: RepoType) -> bool:
    # `*` also matches slashes.
    return any(fnmatch(name, pattern) and ("/" in name) == ("/" in pattern) for pattern in STALE[repo_type])


def require_repo_id(repo_id: str) -> None:
    r"""
    Raises:
        `HubError`: The name is not of the form `owner/name`, or has characters that the Hub does not allow.
    """
    if not is_hub_id(repo_id):
        raise HubError(
            f"{repo_id}: not a valid Hub name; use the form owner/name, of letters, digits, '.', '_' and '-'."
        )


@contextmanager
def _one_line_errors(repository: Repository) -> Iterator[None]:
    try:
        yield
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        text = " ".join(_explain(error, repository).split()).replace(repository.token, "***")
        raise HubError(text) from None  # the libraries' errors hold the request with the token


def _explain(error: BaseException, repository: Repository) -> str:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HTTPError):
        cause = cause.__cause__
    if isinstance(cause, HfHubHTTPError):
        return _explain_answer(cause, repository.repo_id)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to publish."
    if cause is not None:
        reason = str(cause) or type(cause).__name__
        return f"no connection to {repository.api.endpoint} ({reason}); nothing was changed, try again."
    return f"{repository.repo_id} cannot be published: {error}"


def _explain_answer(error: HfHubHTTPError, name: str) -> str:
    status, headers = error.response.status_code, error.response.headers
    if status == 401:
        return "the Hub does not accept the token; log in again with `hf auth login`."
    if status == 403:
        return f"the token may not write to {name}; use one with write access, or another name."
    if status == 404:
        return f"{name}: there is no such repository or revision, or the token may not see it."
    if status in (409, 412):
        return f"{name} was changed by somebody else meanwhile; run it again."
    if status == 429:
        limit = parse_ratelimit_headers(headers)
        wait = limit.reset_in_seconds if limit else headers.get("retry-after", 300)
        return f"the Hub has had too many requests; try again in {wait} seconds."
    if status >= 500:
        return f"the Hub failed ({status}); nothing was changed, try again later."
    return f"{name}: the Hub refused it ({status}): {error.server_message or error}"
