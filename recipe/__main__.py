"""Runs the recipe: `python -m recipe --output DIR`."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from .calibrate import calibrate
from .clip_stage import train_clip
from .critic import train_critic
from .distill import distil
from .fbclip_stage import train_fbclip
from .product import write_product
from .settings import STAGES, Settings
from .training import checkpoint

DEFAULTS = Settings()
Steps = Annotated[int, typer.Option(min=0, help="Steps of the stage.")]
BUNDLED = Path(__file__).parents[1] / "modeling_fbclip" / "bundled"


def main(
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the product; replaced.", show_default="the package's; with --smoke a folder in --work"
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder of checkpoints and log; a run resumes from it.",
            show_default="outputs/tiny; with --smoke outputs/tiny-smoke",
        ),
    ] = None,
    smoke: Annotated[bool, typer.Option(help="Try the recipe with a narrow model and few steps and images.")] = False,
    device: Annotated[str, typer.Option(help="torch's name of a device.")] = DEFAULTS.device,
    seed: int = DEFAULTS.seed,
    distill_steps: Steps = DEFAULTS.distill_steps,
    critic_steps: Steps = DEFAULTS.critic_steps,
    clip_steps: Steps = DEFAULTS.clip_steps,
    widen_steps: Steps = DEFAULTS.widen_steps,
    fbclip_steps: Steps = DEFAULTS.fbclip_steps,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = DEFAULTS.batch_size,
    threads: Annotated[int, typer.Option(help="Threads of torch; 0: torch decides.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that render images; 0: this process.")] = 0,
) -> None:
    """Trains the bundled model: distillation, CLIP, FB-CLIP, calibration. A stopped run resumes."""
    work = work or Path("outputs/tiny-smoke" if smoke else "outputs/tiny")
    output = output or (work / "product" if smoke else BUNDLED)
    if threads:
        torch.set_num_threads(threads)
    try:
        log_to(work)
        check_device(device)
        settings = replace(
            DEFAULTS,
            seed=seed,
            device=device,
            batch_size=batch_size,
            distill_steps=distill_steps,
            critic_steps=critic_steps,
            clip_steps=clip_steps,
            widen_steps=widen_steps,
            fbclip_steps=fbclip_steps,
        )
        run(settings.smoke() if smoke else settings, output, work, workers)
    except (ImportError, OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"written to {output}")


def log_to(work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(work / "recipe.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger("modeling_fbclip.recipe").addHandler(handler)
    logging.getLogger("modeling_fbclip.recipe").setLevel(logging.INFO)


def check_device(device: str) -> None:
    """
    Raises:
        ValueError: If torch cannot use it.
    """
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"--device {device} cannot be used ({str(error).splitlines()[0]})") from error


def run(settings: Settings, output: Path, work: Path, workers: int = 0) -> None:
    """Runs all stages and writes the product. All checkpoints are checked before anything is trained."""
    for stage in STAGES:
        checkpoint(stage, settings, work)
    student, teacher, distilled = distil(settings, work, workers)
    critic, judging = train_critic(teacher, settings, work, workers)
    clip, aligned = train_clip(student, teacher, critic, settings, work, workers)
    model, detecting = train_fbclip(clip, settings, work, workers)
    processor, calibrated = calibrate(model, settings)
    stages = {"distill": distilled, "critic": judging, "clip": aligned, "fbclip": detecting, "calibration": calibrated}
    write_product(model, processor, settings, stages, output)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
