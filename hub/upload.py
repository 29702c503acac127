"""One commit to the Hub, or none, and one clear line when it cannot be."""

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, NamedTuple

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers, validate_repo_id

from modeling_fbclip.common.provenance import RECORDS

from .results import EVALUATION

MESSAGE = "Upload by modeling-fbclip"
RepoType = Literal["model", "space"]
# What an earlier push may have left that would be loaded, or believed, in place of, or beside, what is there now.
REPLACED: dict[RepoType, tuple[str, ...]] = {
    "model": (
        "*.safetensors",
        "*.safetensors.index.json",
        "pytorch_model*.bin",
        "pytorch_model*.bin.index.json",
        "*_fbclip.py",
        "handler.py",
        EVALUATION,
        *RECORDS,
        ".eval_results/*",
    ),
    "space": ("modeling_fbclip/*",),
}


class HubError(ValueError):
    """Nothing could be published, or not all; the message is one line for a user and holds no secret."""


class Pushed(NamedTuple):
    """
    A repository after a push.

    Args:
        repo_type: `"model"` or `"space"`.
        repo_id: `owner/name`.
        url: its page.
        commit: the newest commit, the push's own if there was anything to change.
        changed: whether there was.
    """

    repo_type: RepoType
    repo_id: str
    url: str
    commit: str
    changed: bool


class Repository:
    r"""
    A repository that is there to be written to: it is made if it is missing.

    Args:
        repo_id (`str`): `owner/name`.
        repo_type (`str`): `"model"` or `"space"`.
        private (`bool`): Whether it is made private. One that is there and public is an error.
        revision (`str`, *optional*): Branch to write to, made if it is missing. Defaults to the main one.
        token (`str`, *optional*): Defaults to the one of `hf auth login` or `HF_TOKEN`.

    Raises:
        `HubError`: There is no token, the name is wrong, or the Hub cannot be reached or refuses.
    """

    def __init__(
        self, repo_id: str, repo_type: RepoType, private: bool, revision: str | None, token: str | None
    ) -> None:
        require_repo_id(repo_id)
        token = token or get_token()
        if token is None:
            raise HubError("there is no token: log in with `hf auth login`, or set HF_TOKEN to one that may write.")
        self.repo_id, self.repo_type, self.revision, self.token = repo_id, repo_type, revision, token
        self.api = HfApi(token=token, library_name="modeling-fbclip")
        with _one_line_errors(self):
            self.url = str(
                self.api.create_repo(
                    repo_id,
                    repo_type=repo_type,
                    private=private or None,
                    space_sdk="gradio" if repo_type == "space" else None,
                    exist_ok=True,
                )
            )
            if revision is not None:
                self.api.create_branch(repo_id, repo_type=repo_type, branch=revision, exist_ok=True)
            info: Any = self.api.repo_info(repo_id, repo_type=repo_type, revision=revision)
        if private and not info.private:
            raise HubError(f"{repo_id} is there and public; make it private in its settings on the Hub first.")
        self.parent = str(info.sha)
        self.files = [sibling.rfilename for sibling in info.siblings or []]

    def push(self, folder: Path) -> Pushed:
        r"""
        Has the repository hold the folder's files, by one commit on top of what it held when it was opened. Files that
        the folder does not have stay, but for weights, code and records of an earlier push.

        Raises:
            `HubError`: It was refused or broken off, or somebody else wrote meanwhile. The repository is as it was.
        """
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in paths]
        stale = [name for name in self.files if name not in names and _is_replaced(name, self.repo_type)]
        with _one_line_errors(self):
            commit = self.api.create_commit(
                self.repo_id,
                [
                    *(CommitOperationDelete(name) for name in stale),
                    *(CommitOperationAdd(name, path) for name, path in zip(names, paths, strict=True)),
                ],
                commit_message=MESSAGE,
                repo_type=self.repo_type,
                revision=self.revision,
                parent_commit=self.parent,
            )
        return Pushed(self.repo_type, self.repo_id, self.url, commit.oid, commit.oid != self.parent)


def _is_replaced(name: str, repo_type: RepoType) -> bool:
    # A pattern without a folder is for the top level alone, though * stands for slashes too.
    return any(fnmatch(name, pattern) and ("/" in name) == ("/" in pattern) for pattern in REPLACED[repo_type])


def require_repo_id(repo_id: str) -> None:
    r"""
    Raises:
        `HubError`: The name is not of the form `owner/name`, or has characters that the Hub does not allow.
    """
    try:
        validate_repo_id(repo_id)
    except ValueError as error:
        raise HubError(f"{repo_id}: no name for the Hub: {error}") from None
    if repo_id.count("/") != 1:
        raise HubError(f"{repo_id}: no name for the Hub, which are of the form owner/name.")


def is_hub_id(name: str) -> bool:
    """Whether this may be the name of something on the Hub, and is no folder here."""
    try:
        require_repo_id(name)
    except HubError:
        return False
    return not Path(name).is_dir()


@contextmanager
def _one_line_errors(repository: Repository) -> Iterator[None]:
    try:
        yield
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        text = " ".join(_explain(error, repository).split()).replace(repository.token, "***")
        raise HubError(text) from None  # what the libraries raise holds the request, and with it the token


def _explain(error: BaseException, repository: Repository) -> str:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HTTPError):  # which may be wrapped
        cause = cause.__cause__
    name, endpoint = repository.repo_id, repository.api.endpoint
    if isinstance(cause, HfHubHTTPError):
        return _explain_answer(cause, name)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to publish."
    if isinstance(cause, HTTPError):
        return f"no connection to {endpoint} ({cause or type(cause).__name__}); nothing was changed, try again."
    return f"{name} cannot be published: {error}"


def _explain_answer(error: HfHubHTTPError, name: str) -> str:
    status, said = error.response.status_code, error.server_message or ""
    answers = {
        401: "the Hub does not accept the token; log in again with `hf auth login`.",
        403: f"the token may not write to {name}; take one with write access, or another name.",
        404: f"{name}: there is no such repository or revision, or the token may not see it.",
        409: f"{name} was changed by somebody else meanwhile; run it again.",
        412: f"{name} was changed by somebody else meanwhile; run it again.",
    }
    if status == 429:
        limit = parse_ratelimit_headers(error.response.headers)
        wait = limit.reset_in_seconds if limit else error.response.headers.get("retry-after")
        return f"the Hub has had too many requests; try again in {wait or 300} seconds."
    if status >= 500:
        return f"the Hub failed ({status}); nothing was changed, try again later."
    return answers.get(status) or f"{name}: the Hub refused it ({status}): {said or error}"
