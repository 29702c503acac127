"""The log of a run: one JSON line for each step, a progress bar, and accelerate's trackers."""

import json
import time
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from modeling_fbclip.common.files import written_aside
from modeling_fbclip.common.progress import progress_bar
from modeling_fbclip.training.disk import writing

LOG_FILE = "log.jsonl"


class TrainingLog:
    """The log of a run that has done `first_step` of `num_steps`. Lines of later steps are removed."""

    def __init__(self, folder: Path, accelerator: Accelerator, num_steps: int, first_step: int) -> None:
        self.file = folder / LOG_FILE
        self.accelerator = accelerator
        visible = accelerator.is_local_main_process
        self.bar = progress_bar(num_steps, "train", done=first_step, visible=visible, keep=True)
        self.time = time.perf_counter()
        if accelerator.is_main_process:
            kept = [line for line in read_log(folder) if line["step"] <= first_step]
            with writing(self.file), written_aside(self.file) as aside:
                aside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def step(self, step: int, losses: dict[str, float], images: int, **values: float) -> None:
        """Writes one step's losses and the images per second since the last step."""
        now = time.perf_counter()
        rate = images / (now - self.time)
        self.time = now
        self.write({"step": step, **losses, **values, "images_per_second": round(rate, 3)})
        self.bar.set_postfix({name: f"{value:.4f}" for name, value in losses.items()} | {"img/s": f"{rate:.1f}"})
        self.bar.update()

    def write(self, values: dict[str, Any]) -> None:
        """Writes one line. OSError if it cannot be written; the checkpoints are intact."""
        self.accelerator.log({name: value for name, value in values.items() if name != "step"}, step=values["step"])
        if self.accelerator.is_main_process:
            with writing(self.file), self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")

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
