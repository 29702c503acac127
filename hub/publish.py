"""From a model's folder to a model and a Space on the Hub: stage both, then upload both."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from .stage import require_publishable, stage_model, write_license
from .upload import HubError, Pushed, Repository, require_repo_id

SPACE_TITLE = "FB-CLIP anomaly detection"


class StagedFile(NamedTuple):
    """A file that is to be published: `"model"` or `"space"`, its path there, its bytes."""

    part: str
    path: str
    size: int


def stage_folders(
    model_dir: Path, repo_id: str, folder: Path, space_id: str | None = None, evaluation: Path | None = None
) -> list[StagedFile]:
    r"""
    Writes `folder/model` and, if wanted, `folder/space`, whose app loads the model from `repo_id`.

    Args:
        model_dir (`Path`): Folder of a model and its processor.
        repo_id (`str`): `owner/name` of the model on the Hub.
        folder (`Path`): Where to write; neither of the two may be there.
        space_id (`str`, *optional*): `owner/name` of the Space; none is staged without it.
        evaluation (`Path`, *optional*): Report of `fbclip evaluate`. Defaults to `evaluation.json` in `model_dir`.

    Returns:
        `list[StagedFile]`: What was written.

    Raises:
        `HubError`: The name is wrong.
        `OSError`, `ValueError`: The folder holds no model, or something that must not be published.
    """
    require_targets(repo_id, space_id)
    stage_model(model_dir, folder / "model", repo_id, evaluation)
    if space_id is not None:
        from modeling_fbclip.demo.space import stage_space  # only a Space needs the app

        (folder / "space").mkdir()
        stage_space(folder / "space", repo_id, SPACE_TITLE, space_id)
        write_license(folder / "space")
        require_publishable(folder / "space")
    return list(_files(folder))


def upload_folders(
    folder: Path,
    repo_id: str,
    space_id: str | None = None,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> list[Pushed]:
    r"""
    Uploads what [`stage_folders`] wrote, the model by one commit and the Space by another. Where nothing has changed,
    there is no commit. Both repositories are opened before either is written to.

    Args:
        folder (`Path`): Holds `model` and, for a Space, `space`.
        repo_id, space_id (`str`): `owner/name` of each; no Space without `space_id`.
        private (`bool`): Whether repositories that are made are private.
        revision (`str`, *optional*): Branch of the model's repository to write to, made if it is missing.
        token (`str`, *optional*): Defaults to the one of `hf auth login` or `HF_TOKEN`.

    Raises:
        `HubError`: One of them was not published; the message says whether the other was.
    """
    require_targets(repo_id, space_id, revision)
    model = Repository(repo_id, "model", private, revision, token)
    space = Repository(space_id, "space", private, None, token) if space_id else None
    pushed = [model.push(folder / "model")]
    if space is not None:
        try:
            pushed.append(space.push(folder / "space"))
        except HubError as error:
            raise HubError(f"the model is published, its Space is not: {error}") from None
    return pushed


def push_to_hub(
    model_dir: Path,
    repo_id: str,
    space_id: str | None = None,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    evaluation: Path | None = None,
) -> list[Pushed]:
    r"""
    What `fbclip push` does: [`stage_folders`] in a temporary folder, then [`upload_folders`].

    Raises:
        `HubError`: The Hub cannot be reached or refuses, or a name is wrong.
        `OSError`, `ValueError`: The folder holds no model, or something that must not be published.

    Example:

    ```python
    >>> from pathlib import Path
    >>> from modeling_fbclip.hub import push_to_hub

    >>> push_to_hub(Path("my-model"), "owner/name", space_id="owner/name-demo")  # doctest: +SKIP
    ```"""
    with TemporaryDirectory(prefix="fbclip-push-") as folder:
        stage_folders(model_dir, repo_id, Path(folder), space_id, evaluation)
        return upload_folders(Path(folder), repo_id, space_id, private, revision, token)


def require_targets(repo_id: str, space_id: str | None, revision: str | None = None) -> None:
    r"""
    Raises:
        `HubError`: A name is wrong, or there is to be a Space of a model on another branch than the main one.
    """
    for name in filter(None, (repo_id, space_id)):
        require_repo_id(name)
    if space_id is not None and revision is not None:
        raise HubError("a Space serves the main branch of a model; publish a revision without a Space.")


def _files(folder: Path) -> Iterator[StagedFile]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        part, *rest = path.relative_to(folder).parts
        yield StagedFile(part, "/".join(rest), path.stat().st_size)
