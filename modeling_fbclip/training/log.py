"""What a run says: one JSON line a step, a progress bar, and accelerate's trackers."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import tqdm

from modeling_fbclip.common.files import written_aside

LOG_FILE = "log.jsonl"


class TrainingLog:
    r"""
    Args:
        folder (`Path`): Where the log is.
        accelerator (`Accelerator`): Knows the trackers, and which process writes.
        num_steps (`int`): Steps of the whole run.
        first_step (`int`): Steps done before. Lines of later ones, of a run that was killed, are dropped.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, num_steps: int, first_step: int) -> None:
        self.file = folder / LOG_FILE
        self.accelerator = accelerator
        self.bar = tqdm(
            total=num_steps, initial=first_step, desc="train", unit="step", disable=not sys.stderr.isatty()
        )
        self.time = time.perf_counter()
        if accelerator.is_main_process:
            kept = [line for line in read_log(folder) if line["step"] <= first_step]
            with self._naming_the_file(), written_aside(self.file) as aside:
                aside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def step(self, step: int, losses: dict[str, float], images: int, **values: float) -> None:
        """One step's losses, and the images that it took since the last."""
        now = time.perf_counter()
        rate = images / (now - self.time)
        self.time = now
        self.write({"step": step, **losses, **values, "images_per_second": round(rate, 3)})
        self.bar.set_postfix({name: f"{value:.4f}" for name, value in losses.items()} | {"img/s": f"{rate:.1f}"})
        self.bar.update()

    def write(self, values: dict[str, Any]) -> None:
        """
        One line.

        Raises:
            `OSError`: It cannot be written. The checkpoints are intact.
        """
        self.accelerator.log({name: value for name, value in values.items() if name != "step"}, step=values["step"])
        if self.accelerator.is_main_process:
            with self._naming_the_file(), self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")

    def close(self) -> None:
        """Ends the bar and the trackers."""
        self.bar.close()
        for tracker in self.accelerator.trackers:
            tracker.finish()

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # of a full disk it names no file
            raise OSError(
                f"{self.file}: cannot be written ({error.strerror}); free some space and resume with 'auto'."
            ) from error


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log. One that a kill cut off, or that is damaged, is left out."""
    file = folder / LOG_FILE
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if file.exists() else []
    values = (_values(line) for line in lines if line.endswith("\n"))
    return [line for line in values if line is not None]


def _values(line: str) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
        return values if isinstance(values["step"], int) else None
    except (KeyError, TypeError, ValueError):
        return None
