"""From a model's folder to a model and a Space on the Hub: stage both, then upload both."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from modeling_fbclip.common.files import is_empty, written_aside
from modeling_fbclip.common.licence import write_license

from .stage import require_publishable, stage_model
from .terms import Terms
from .upload import HubError, Pushed, Repository, require_repo_id


class StagedFile(NamedTuple):
    """A file to publish: `"model"` or `"space"`, its path in the repository, its size in bytes."""

    part: str
    path: str
    size: int


@contextmanager
def staging_folder(kept: Path | None = None) -> Iterator[Path]:
    r"""
    An empty folder to stage in.

    Args:
        kept (`Path`, *optional*): Where the folder stays if there was no error. By default it is temporary.

    Raises:
        `OSError`, `ValueError`: `kept` is not empty, or cannot be written.
    """
    if kept is None:
        with TemporaryDirectory(prefix="fbclip-push-") as folder:
            yield Path(folder)
        return
    if not is_empty(kept):
        raise ValueError(f"{kept} is not empty; choose another folder")
    with written_aside(kept.resolve()) as aside:
        aside.mkdir()
        yield aside


def stage_folders(
    model_dir: Path,
    repo_id: str,
    folder: Path,
    space_id: str | None = None,
    evaluation: Path | None = None,
    with_references: bool = False,
    terms: Terms = Terms(),  # noqa: B008 - it cannot change
) -> list[StagedFile]:
    r"""
    Writes `folder/model` and, with a `space_id`, `folder/space`, whose app loads the model from `repo_id`.

    Args:
        model_dir (`Path`): Folder of a model and its processor.
        repo_id (`str`): `owner/name` of the model on the Hub.
        folder (`Path`): Where to write; it has no `model` and no `space` yet.
        space_id (`str`, *optional*): `owner/name` of the Space. Defaults to no Space.
        evaluation (`Path`, *optional*): Report of `fbclip evaluate`. Defaults to `evaluation.json` in `model_dir`.
        with_references (`bool`, defaults to `False`): Whether what the model remembers of good images is published.
        terms ([`Terms`]): Licence, base model, whether the records of its images are published, the Space's hardware.

    Returns:
        `list[StagedFile]`: The files written.

    Raises:
        `HubError`: A name is wrong.
        `OSError`, `ValueError`: The folder holds no model, or something that must not be published.
    """
    require_targets(repo_id, space_id)
    stage_model(model_dir, folder / "model", repo_id, evaluation, with_references, terms)
    if space_id is not None:
        from modeling_fbclip.demo.space import stage_space  # needs the extra `demo`

        (folder / "space").mkdir()
        stage_space(folder / "space", repo_id, "FB-CLIP anomaly detection", space_id, terms.hardware)
        write_license(folder / "space")
        require_publishable(folder / "space")
    return [
        StagedFile(part, path.relative_to(folder / part).as_posix(), path.stat().st_size)
        for part in ("model", "space")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    ]


def upload_folders(
    folder: Path,
    repo_id: str,
    space_id: str | None = None,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> list[Pushed]:
    r"""
    Uploads the folders of [`stage_folders`], each by one commit, or none if nothing has changed. Both repositories
    are opened before the first is written to.

    Args:
        folder (`Path`): Holds `model` and, for a Space, `space`.
        repo_id, space_id (`str`): `owner/name` of each; no Space without `space_id`.
        private (`bool`): Whether new repositories are private.
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
    with_references: bool = False,
    terms: Terms = Terms(),  # noqa: B008 - it cannot change
) -> list[Pushed]:
    r"""
    Does the work of `fbclip push`: [`stage_folders`] in a temporary folder, then [`upload_folders`].

    Raises:
        `HubError`: The Hub cannot be reached or refuses, or a name is wrong.
        `OSError`, `ValueError`: The folder holds no model, or something that must not be published.

    Example:

    ```python
    >>> from pathlib import Path
    >>> from modeling_fbclip.hub import push_to_hub

    >>> push_to_hub(Path("my-model"), "owner/name", space_id="owner/name-demo")  # doctest: +SKIP
    ```"""
    with staging_folder() as folder:
        stage_folders(model_dir, repo_id, folder, space_id, evaluation, with_references, terms)
        return upload_folders(folder, repo_id, space_id, private, revision, token)


def require_targets(repo_id: str, space_id: str | None, revision: str | None = None) -> None:
    r"""
    Raises:
        `HubError`: A name is wrong, or a Space is asked for together with a revision.
    """
    for name in filter(None, (repo_id, space_id)):
        require_repo_id(name)
    if space_id is not None and revision is not None:
        raise HubError("a Space serves the main branch of a model; publish a revision without a Space.")
