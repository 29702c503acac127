"""`fbclip train`: a labelled data set in; a model fine-tuned on it out."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from modeling_fbclip.cli.errors import blamed_on

Schedule = Literal["constant", "constant_with_warmup", "linear", "cosine", "polynomial", "inverse_sqrt"]


def train(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Folder or Hub id of a data set.", show_default=False)],
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder for model, log and checkpoints.")],
    model: Annotated[
        str | None, typer.Option(help="Folder or Hub id of a model to start from.", show_default="the bundled one")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "test",
    layout: Annotated[
        str | None, typer.Option(help="Layout to read DATA by.", show_default="the one recognised")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="A category to train on; may be repeated.", show_default="all")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the images.")] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step, over all processes.")] = 4,
    learning_rate: Annotated[float, typer.Option(help="Adam's learning rate, at its peak.")] = 5e-5,
    adam_betas: Annotated[tuple[float, float], typer.Option(help="Adam's decay rates.")] = (0.5, 0.999),
    seed: Annotated[int, typer.Option(min=0, help="Of order, held-out share and synthetic anomalies.")] = 42,
    lr_scheduler: Annotated[
        Schedule, typer.Option(metavar="<name>", help=f"Course of the rate: {', '.join(get_args(Schedule))}.")
    ] = "constant",
    warmup_steps: Annotated[int, typer.Option(min=0, help="Steps over which it rises from 0.")] = 0,
    max_grad_norm: Annotated[
        float | None, typer.Option(help="Larger gradients are scaled down to it.", show_default="none are")
    ] = None,
    mixed_precision: Annotated[Literal["no", "bf16", "fp16"], typer.Option(help="Automatic mixed precision.")] = "no",
    gradient_accumulation_steps: Annotated[
        int, typer.Option(min=1, help="Parts a batch is computed in, to save memory.")
    ] = 1,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Compute activations twice, to save memory.")
    ] = False,
    validation_fraction: Annotated[
        float, typer.Option(help="Share of DATA held out to pick the best epoch by.")
    ] = 0.0,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Paint anomalies into DATA's good images; use no other.")
    ] = False,
    focal_gamma: Annotated[
        float | None, typer.Option(help="Exponent of the focal losses; 0: cross entropy.", show_default="the model's")
    ] = None,
    dice_weight: Annotated[
        float | None, typer.Option(help="Weight of the dice loss.", show_default="the model's")
    ] = None,
    consistency_weight: Annotated[
        float | None, typer.Option(help="Weight of the consistency loss.", show_default="the model's")
    ] = None,
    cache_features: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder to keep the frozen tower's tokens in.", show_default="none"),
    ] = None,
    cache_dtype: Annotated[
        Literal["bfloat16", "float32"], typer.Option(help="Number type of these tokens.")
    ] = "bfloat16",
    checkpoint_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps between checkpoints.", show_default="one at the end of each epoch"),
    ] = None,
    checkpoint_limit: Annotated[int, typer.Option(min=1, help="Checkpoints kept, beside the best.")] = 2,
    resume: Annotated[
        str | None,
        typer.Option(help="A checkpoint, or 'auto' for the newest in --output if any.", show_default="none"),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
    report_to: Annotated[
        list[str] | None,
        typer.Option(help="tensorboard, wandb, trackio …; may be repeated.", show_default="the log alone"),
    ] = None,
) -> None:
    """
    Fine-tune a model on a labelled data set, as published unless told otherwise.

    Images without masks train the image score alone. With --synthetic, DATA may also be a folder of good images.
    The thresholds stay the model's from before: set them anew with fbclip calibrate.
    DATA is read whole, never streamed: the steps are planned by its length.
    Kill it at any time: the same command with --resume auto goes on, to the same result. Several devices:
    accelerate launch -m modeling_fbclip.cli train …

    \b
    Example:
      fbclip train data/mvtec --output trained --validation-fraction 0.1
    """
    with blamed_on("DATA"):
        from modeling_fbclip.data import holds_good_images_only, load_anomaly_dataset

        if synthetic and layout is None and holds_good_images_only(data):
            layout = "good-only"
        dataset: Any = load_anomaly_dataset(data, split=split, layout=layout, category=category)

    from accelerate import PartialState

    from modeling_fbclip.detection.loading import load_detector
    from modeling_fbclip.training import FBCLIPTrainingArguments
    from modeling_fbclip.training import train as train_model

    loaded = load_detector(model, "cpu")
    args = FBCLIPTrainingArguments(
        output_dir=output,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        adam_betas=adam_betas,
        seed=seed,
        lr_scheduler=lr_scheduler,
        warmup_steps=warmup_steps,
        max_grad_norm=max_grad_norm,
        mixed_precision=mixed_precision,
        gradient_accumulation_steps=gradient_accumulation_steps,
        gradient_checkpointing=gradient_checkpointing,
        validation_fraction=validation_fraction,
        synthetic=synthetic,
        focal_gamma=focal_gamma,
        dice_weight=dice_weight,
        consistency_weight=consistency_weight,
        cache_features=cache_features,
        cache_dtype=cache_dtype,
        checkpoint_steps=checkpoint_steps,
        checkpoint_limit=checkpoint_limit,
        resume=resume,
        num_workers=workers,
        report_to=list(report_to or []),
    )
    train_model(loaded.model, loaded.processor, dataset, args, source=None if Path(data).exists() else data)
    if PartialState().is_main_process:
        typer.echo(
            f"saved to {output}, with the thresholds that the model had before; set its own by: "
            f"fbclip calibrate good_parts/ --model {output} --output {output}",
            err=True,
        )
