"""The log of a run: one JSON line for each step, a progress bar, and accelerate's trackers."""

import json
import math
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

from accelerate import Accelerator

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.common.progress import print_beside_bar, progress_bar
from modeling_fbclip.training.checkpoints import Progress
from modeling_fbclip.training.disk import writing
from modeling_fbclip.training.judging import METRICS, Candidate
from modeling_fbclip.training.schedule import DrawSchedule

LOG_FILE = "log.jsonl"
FIRST_STEPS = 4  # tell how long the others take


class TrainingLog:
    """The log of a run that has come as far as `progress` in a schedule. Lines of later steps are removed."""

    def __init__(self, folder: Path, accelerator: Accelerator, schedule: DrawSchedule, progress: Progress) -> None:
        self.file = folder / LOG_FILE
        self.accelerator = accelerator
        self.schedule = schedule
        visible = accelerator.is_local_main_process
        self.bar = progress_bar(schedule.num_steps, "train", done=progress.step, visible=visible, keep=True)
        self.time = time.perf_counter()
        self.step_seconds: list[float] = []
        self.judging_seconds = 0.0
        if accelerator.is_main_process:
            before = read_log(folder) if progress.candidates else []
            kept = [line for line in before if line["step"] <= progress.step]
            with writing(self.file), written_aside(self.file) as aside:
                aside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def step(self, step: int, losses: dict[str, float], images: int, **values: float) -> None:
        """Writes one step's losses and the images per second since the last step."""
        self.step_seconds.append(self._since_last())
        rate = images / self.step_seconds[-1]
        self.write({"step": step, **losses, **values, "images_per_second": round(rate, 3)})
        self.bar.set_postfix({name: f"{value:.4f}" for name, value in losses.items()} | {"img/s": f"{rate:.1f}"})
        self.bar.update()
        if len(self.step_seconds) == FIRST_STEPS and step < self.schedule.num_steps:
            self._tell_duration(step)

    def judged(self, found: Candidate, is_held_out: bool) -> None:
        """Writes what held-out images say of an epoch."""
        self.judging_seconds = self._since_last()
        if not is_held_out:
            return
        self.write(
            {
                "step": found.step,
                "epoch": float(found.epoch),
                "validation_loss": found.loss,
                **{name: value for name in METRICS if (value := getattr(found, name)) is not None},
            }
        )

    def write(self, values: dict[str, Any]) -> None:
        """Writes one line. OSError if it cannot be written; the checkpoints are intact."""
        self.accelerator.log({name: value for name, value in values.items() if name != "step"}, step=values["step"])
        if self.accelerator.is_main_process:
            with writing(self.file), self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")

    def _since_last(self) -> float:
        """Seconds since the last call."""
        before, self.time = self.time, time.perf_counter()
        return self.time - before

    def _tell_duration(self, step: int) -> None:
        """Says how long the rest takes. The first step is slower than the others."""
        left = self.schedule.num_steps - step
        epochs = math.ceil(left / self.schedule.steps_per_epoch)
        seconds = left * mean(self.step_seconds[1:]) + epochs * self.judging_seconds
        said = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        if self.accelerator.is_main_process:
            print_beside_bar(f"the rest takes about {said}: {left} steps", sys.stderr)

    def close(self) -> None:
        """Ends the bar and the trackers."""
        self.bar.close()
        for tracker in self.accelerator.trackers:
            tracker.finish()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, without one that was cut off when the run was killed."""
    file = folder / LOG_FILE
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
