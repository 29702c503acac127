"""Checkpoints of a run. Each is written aside and renamed, so that it is complete or does not exist."""

import json
import logging
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.training.arguments import ENDING_SCHEDULES
from modeling_fbclip.training.disk import DISK_ERRORS, reason, writing
from modeling_fbclip.training.judging import Candidate

logger = logging.getLogger(__name__)

PROGRESS_FILE = "progress.json"
WEIGHTS_FILE = "model.safetensors"
READ_ERRORS = (*DISK_ERRORS, AttributeError, KeyError, TypeError, ValueError, pickle.UnpicklingError)


@dataclass
class Progress:
    """
    How far a run is. Its result depends on `settings`. `candidates` are of each epoch so far, the first is the model
    before training; `best` is the name of the checkpoint of the best of them, if held-out images choose.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    best: str | None = None
    candidates: list[Candidate] = field(default_factory=list)


class Checkpoints:
    """
    The checkpoints of a run, one folder each. accelerate's `save_state` writes the trained weights and the states of
    all that `accelerator` has prepared. The newest `limit` checkpoints and the chosen one are kept.
    """

    def __init__(self, folder: Path, limit: int, accelerator: Accelerator) -> None:
        self.folder = folder
        self.limit = limit
        self.accelerator = accelerator
        accelerator.register_save_state_pre_hook(self._keep_trained_weights)
        accelerator.register_load_state_pre_hook(self._load_trained_weights)

    def newest(self) -> Path | None:
        """The newest checkpoint, if there is any."""
        return max(self.folder.glob("step-*"), default=None)

    def chosen(self, progress: Progress) -> Candidate | None:
        """The best candidate, else the last one whose checkpoint is there."""
        for each in reversed(progress.candidates):
            name = self.name(each.step)
            if name == progress.best or (progress.best is None and (self.folder / name).is_dir()):
                return each
        return None

    @staticmethod
    def name(step: int) -> str:
        """A name. Names sort in the order of their steps."""
        return f"step-{step:09d}"

    def save(self, progress: Progress) -> None:
        """Writes the checkpoint of this step and removes old ones. OSError if it cannot be written."""
        target = self.folder / self.name(progress.step)
        main, last = self.accelerator.is_main_process, self.newest()
        kept = "there is no earlier checkpoint" if last is None else f"the last good checkpoint is {last}"
        if main and target.exists():  # of a run before this one, which went on from an earlier step
            shutil.rmtree(target)
        self.accelerator.wait_for_everyone()
        with writing(target, kept), written_aside(target, owner=main) as aside:
            if main:
                aside.mkdir()
            self.accelerator.wait_for_everyone()
            self.accelerator.save_state(str(aside))
            if main:
                (aside / PROGRESS_FILE).write_text(json.dumps(asdict(progress)), encoding="utf-8")
            self.accelerator.wait_for_everyone()
        if main:
            self._remove_old(progress)
        self.accelerator.wait_for_everyone()  # all processes can read it

    def load(self, checkpoint: Path, settings: dict[str, Any]) -> Progress:
        """
        Restores the state of the run, whose number of epochs may have risen. ValueError if it is damaged, its run had
        other settings, or the best checkpoint of its run is not in this folder.
        """
        with _reading(checkpoint):
            progress = Progress(**json.loads((checkpoint / PROGRESS_FILE).read_text(encoding="utf-8")))
            progress.candidates = [Candidate(**each) for each in progress.candidates]  # type: ignore[arg-type]
        earlier = progress.settings
        goes_on = settings["epochs"] > earlier.get("epochs", settings["epochs"])
        changed = [
            f"{name} was {earlier.get(name)}, is {value}"
            for name, value in settings.items()
            if value != earlier.get(name) and not (name == "epochs" and goes_on)
        ]
        if changed:
            raise ValueError(
                f"{checkpoint}: is of another run ({', '.join(changed)}); use its settings or a new output folder."
            )
        if progress.best is not None and not (self.folder / progress.best).is_dir():
            raise ValueError(
                f"{checkpoint}: {progress.best}, the best so far, is not in {self.folder}; resume with the output "
                "folder that it belongs to."
            )
        with _reading(checkpoint):
            self.accelerator.load_state(str(checkpoint))
        if goes_on and settings["lr_scheduler"] in ENDING_SCHEDULES:
            logger.warning(
                "The %s schedule ends with the last epoch, and was made for %d epochs: the result is not that of %d "
                "epochs from the start.",
                settings["lr_scheduler"],
                earlier["epochs"],
                settings["epochs"],
            )
        progress.settings = settings
        return progress

    def _remove_old(self, progress: Progress) -> None:
        """
        Removes checkpoints beyond the limit, but not the one that a failed run would end with; and those of later
        steps, which belong to a run before this one.
        """
        chosen = self.chosen(progress)
        names = sorted(checkpoint.name for checkpoint in self.folder.glob("step-*"))
        kept = [name for name in names if name <= self.name(progress.step)][-self.limit :]
        for name in names:
            if name not in kept and (chosen is None or name != self.name(chosen.step)):
                shutil.rmtree(self.folder / name)

    def _keep_trained_weights(
        self, models: list[nn.Module], weights: list[dict[str, torch.Tensor]], _folder: str
    ) -> None:
        # The frozen CLIP, the largest part, never changes.
        model = self.accelerator.unwrap_model(models[0])
        weights[:] = [{name: w.detach() for name, w in model.named_parameters() if w.requires_grad}]

    def _load_trained_weights(self, models: list[nn.Module], folder: str) -> None:
        load_weights(self.accelerator.unwrap_model(models.pop()), Path(folder))


@contextmanager
def _reading(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except READ_ERRORS as error:
        raise ValueError(f"{checkpoint}: cannot be resumed ({reason(error)}); choose an earlier one.") from error


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Loads only the trained weights of a checkpoint."""
    model.load_state_dict(load_file(checkpoint / WEIGHTS_FILE), strict=False)
