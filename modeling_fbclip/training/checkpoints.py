"""Checkpoints of a run. Each is written aside and renamed, so that it is complete or does not exist."""

import json
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.common.provenance import TRAINING_RECORD
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor

PROGRESS_FILE = "progress.json"
WEIGHTS_FILE = "model.safetensors"
# Errors of the libraries when a disk is full or a file is damaged.
WRITE_ERRORS = (OSError, RuntimeError, SafetensorError)
READ_ERRORS = (*WRITE_ERRORS, AttributeError, KeyError, TypeError, ValueError, pickle.UnpicklingError)


@dataclass
class Progress:
    """How far a run is. Its result depends on `settings`; `best` is the name of a checkpoint."""

    settings: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    best: str | None = None
    best_loss: float | None = None


class Checkpoints:
    r"""
    The checkpoints of a run, one folder each. accelerate's `save_state` writes the trained weights and the states of
    optimiser, schedule and random numbers.

    Args:
        folder (`Path`): Folder of all checkpoints.
        limit (`int`): Number of checkpoints that are kept, besides the best.
        accelerator (`Accelerator`): Has prepared the model, the optimiser and the schedule.
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

    @staticmethod
    def name(step: int) -> str:
        """A name. Names sort in the order of their steps."""
        return f"step-{step:09d}"

    def save(self, progress: Progress) -> None:
        r"""
        Writes the checkpoint of this step and removes old ones.

        Raises:
            `OSError`: It cannot be written. The earlier checkpoints are unchanged.
        """
        target = self.folder / self.name(progress.step)
        main = self.accelerator.is_main_process
        self.accelerator.wait_for_everyone()
        try:
            with written_aside(target, owner=main) as aside:
                if main:
                    aside.mkdir()
                self.accelerator.wait_for_everyone()
                self.accelerator.save_state(str(aside))
                if main:
                    (aside / PROGRESS_FILE).write_text(json.dumps(asdict(progress)), encoding="utf-8")
                self.accelerator.wait_for_everyone()
        except WRITE_ERRORS as error:
            last = self.newest()
            kept = "there is no earlier one" if last is None else f"the last good one is {last}"
            raise OSError(f"{target}: the checkpoint cannot be written ({_reason(error)}); {kept}.") from error
        if main:
            self._remove_old(progress)
        self.accelerator.wait_for_everyone()  # all processes can read it

    def load(self, checkpoint: Path, settings: dict[str, Any]) -> Progress:
        r"""
        Restores the state of the run, and removes the checkpoints of later steps.

        Raises:
            `ValueError`: It is damaged or not a checkpoint, its run had other settings, or the best checkpoint of its
                run is not in this folder.
        """
        with _reading(checkpoint):
            progress = Progress(**json.loads((checkpoint / PROGRESS_FILE).read_text(encoding="utf-8")))
        earlier = progress.settings
        changed = [
            f"{name} was {earlier.get(name)}, is {value}"
            for name, value in settings.items()
            if value != earlier.get(name)
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
        if self.accelerator.is_main_process:
            self._remove_old(progress)
        return progress

    def load_weights(self, name: str, model: nn.Module) -> None:
        """Loads only the trained weights, from the checkpoint of this name."""
        _load_trained(model, self.folder / name)

    def _remove_old(self, progress: Progress) -> None:
        """Removes checkpoints beyond the limit, and those of later steps: they belong to a run before this one."""
        names = sorted(checkpoint.name for checkpoint in self.folder.glob("step-*"))
        kept = [name for name in names if name <= self.name(progress.step)][-self.limit :]
        for name in names:
            if name not in (*kept, progress.best):
                shutil.rmtree(self.folder / name)

    def _keep_trained_weights(
        self, models: list[nn.Module], weights: list[dict[str, torch.Tensor]], _folder: str
    ) -> None:
        # The frozen CLIP, the largest part, never changes.
        model = self.accelerator.unwrap_model(models[0])
        weights[:] = [{name: w.detach() for name, w in model.named_parameters() if w.requires_grad}]

    def _load_trained_weights(self, models: list[nn.Module], folder: str) -> None:
        _load_trained(self.accelerator.unwrap_model(models.pop()), Path(folder))


@contextmanager
def _reading(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except READ_ERRORS as error:
        raise ValueError(f"{checkpoint}: cannot be resumed ({_reason(error)}); choose an earlier one.") from error


def _load_trained(model: nn.Module, folder: Path) -> None:
    weights = load_file(folder / WEIGHTS_FILE)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    if set(weights) != trained:
        raise ValueError(f"its weights differ from the model's in {', '.join(sorted(set(weights) ^ trained))}")
    model.load_state_dict(weights, strict=False)


def save_trained(folder: Path, model: FBCLIPModel, processor: FBCLIPProcessor, record: dict[str, Any]) -> None:
    r"""
    The trained model as a folder for `from_pretrained`, with the record of its training.

    Raises:
        `OSError`: It cannot be written. The checkpoints are intact.
    """
    try:
        with written_aside(folder) as aside:
            model.save_pretrained(aside)
            processor.save_pretrained(aside)
            (aside / TRAINING_RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except WRITE_ERRORS as error:
        raise OSError(
            f"{folder}: the model cannot be saved ({_reason(error)}); free some space and resume with 'auto'."
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # its own message advises to load the file in an unsafe way
        return "it holds something other than numbers"
    return (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())[:200]
