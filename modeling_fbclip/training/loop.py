"""The training loop, from the first step to the saved model."""

from contextlib import closing
from pathlib import Path
from typing import Any

from accelerate import Accelerator, skip_first_batches
from datasets import Dataset
from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from modeling_fbclip.common.provenance import recorded_images
from modeling_fbclip.configuration_fbclip import FBCLIPConfig
from modeling_fbclip.digests_fbclip import preprocessing_of, settings_digest, weights_digest
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.training.arguments import LOSS_ARGUMENTS, FBCLIPTrainingArguments
from modeling_fbclip.training.checkpoints import Checkpoints, Progress, load_weights, save_trained
from modeling_fbclip.training.log import TrainingLog
from modeling_fbclip.training.record import fingerprint, model_title, training_record
from modeling_fbclip.training.score import score_aurocs, take_score
from modeling_fbclip.training.setup import TrainingData, prepare_data, prepare_model, start_accelerator
from modeling_fbclip.training.steps import check_weights, training_step, validation_loss


def train(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    dataset: Dataset,
    args: FBCLIPTrainingArguments,
    source: str | None = None,
) -> FBCLIPModel:
    r"""
    Fine-tunes the FB-CLIP parts of a model; its CLIP stays frozen. The defaults of `args` are the published recipe.
    Under `accelerate launch` every process calls this with the same arguments.

    `args.output_dir` then holds the model and the processor for `from_pretrained`, `training_record.json` (arguments,
    data, result and environment), `log.jsonl` (the losses of each step) and `checkpoints/`.

    Args:
        model ([`FBCLIPModel`]): In float32. It is trained in place.
        processor ([`FBCLIPProcessor`]): Prepares the images. Labels alone train the score of the CLS token. So without
            masks, that becomes its `score`, or the kind with the best AUROC on the held-out images.
        dataset (`datasets.Dataset`): With the columns `image`, `label` (0 or 1) and, as far as known, `mask`,
            `category` and `path`, as `load_anomaly_dataset` returns it. A stream (`datasets.IterableDataset`) is
            refused, because the number of steps depends on the length.
        args ([`FBCLIPTrainingArguments`]): All other options.
        source (`str`, *optional*): The data set's Hub id, for the record.

    Returns:
        [`FBCLIPModel`]: `model`, trained, in evaluation mode.

    Raises:
        `ValueError`: Data, model, output folder or checkpoint do not allow the training; the message says what to do.
        `OSError`: A file cannot be written. The last good checkpoint is intact.
        `FloatingPointError`: A loss or a weight is not finite. The message names the step, and the images of the loss.

    Example:

    ```python
    >>> from modeling_fbclip import load_bundled
    >>> from modeling_fbclip.data import load_anomaly_dataset
    >>> from modeling_fbclip.training import FBCLIPTrainingArguments, train

    >>> model, processor = load_bundled()
    >>> model = train(model, processor, load_anomaly_dataset("parts"), FBCLIPTrainingArguments("trained"))
    ```"""
    accelerator = start_accelerator(args)
    trained_before = recorded_images(model)
    prepare_model(model, args)
    squashing = processor.with_views(tile=None, overlap=None, keep_aspect=False)  # a batch needs one size
    data = prepare_data(dataset, model, squashing, args, accelerator)
    settings = args.result_record() | {"data": fingerprint(data.digests)} | _fixed(model, processor)

    optimizer = Adam([w for w in model.parameters() if w.requires_grad], lr=args.learning_rate, betas=args.adam_betas)
    scheduler = get_scheduler(args.lr_scheduler, optimizer, args.warmup_steps, data.schedule.num_steps)
    wrapped, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
    checkpoints = Checkpoints(Path(args.output_dir) / "checkpoints", args.checkpoint_limit, accelerator)
    checkpoint = checkpoints.newest() if args.resume == "auto" else args.resume
    progress = Progress(settings) if checkpoint is None else checkpoints.load(Path(checkpoint), settings)
    accelerator.init_trackers("fbclip", config={name: str(value) for name, value in settings.items()})
    _run_steps(wrapped, optimizer, scheduler, data, args, accelerator, checkpoints, progress)

    model = accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False).eval()
    vars(model).pop("forward", None)  # accelerate leaves one without the class's decorators
    if progress.best is not None:
        load_weights(model, checkpoints.folder / progress.best)
    score = {}
    if not data.use_masks:
        aurocs = {} if data.validation is None else score_aurocs(model, processor, data.validation)
        take_score(processor, aurocs)
        score = {"score": processor.score, "score_aurocs": aurocs}
    if accelerator.is_main_process:
        result: dict[str, Any] = {
            "steps": progress.step,
            "checkpoint": progress.best,
            "validation_loss": progress.best_loss,
            "threshold": processor.threshold,  # so that it is known later whether they were set again
            "pixel_threshold": processor.pixel_threshold,
        }
        result |= score
        arguments = args.record() | {name: getattr(model.config, name) for name in LOSS_ARGUMENTS}
        arguments["model"] = model_title(model.name_or_path)
        record = training_record(data.rows, data.digests, arguments, result, accelerator, source, trained_before)
        save_trained(Path(args.output_dir), model, processor, record)
    accelerator.wait_for_everyone()
    model.name_or_path = str(args.output_dir)
    model.loaded_from = {"name": str(args.output_dir)}  # its record is there
    return model


def _run_steps(
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: LRScheduler,
    data: TrainingData,
    args: FBCLIPTrainingArguments,
    accelerator: Accelerator,
    checkpoints: Checkpoints,
    progress: Progress,
) -> None:
    """The steps from `progress` to the end of the run, with log, validation and checkpoints."""
    num_steps, steps_per_epoch = data.schedule.num_steps, data.schedule.steps_per_epoch
    batches = iter(skip_first_batches(data.training, progress.step * args.gradient_accumulation_steps))
    with closing(TrainingLog(Path(args.output_dir), accelerator, num_steps, progress.step)) as log:
        while progress.step < num_steps:
            step, learning_rate = progress.step + 1, float(scheduler.get_last_lr()[0])
            parts = [next(batches) for _ in range(args.gradient_accumulation_steps)]
            try:
                losses, images = training_step(model, optimizer, scheduler, parts, accelerator, args.max_grad_norm)
                progress.step, epoch = step, step / steps_per_epoch
                log.step(step, losses, images, epoch=epoch, learning_rate=learning_rate)
                due = epoch.is_integer() or (args.checkpoint_steps and step % args.checkpoint_steps == 0)
                if due:
                    check_weights(model)
                if epoch.is_integer() and data.validation is not None:
                    loss = validation_loss(model, data.validation, accelerator)
                    log.write({"step": step, "epoch": epoch, "validation_loss": loss})
                    if progress.best_loss is None or loss < progress.best_loss:
                        progress.best, progress.best_loss = checkpoints.name(step), loss
                if due:
                    checkpoints.save(progress)
            except FloatingPointError as error:
                raise FloatingPointError(f"step {step}: {error}.") from None


def _fixed(model: FBCLIPModel, processor: FBCLIPProcessor) -> dict[str, str]:
    """Digests of what training does not change: the frozen CLIP, the method's other numbers, the preprocessing."""
    numbers = {name: getattr(model.config, name) for name in FBCLIPConfig.__annotations__ if "clip" not in name}
    return {
        "clip": weights_digest(model.clip),
        "config": settings_digest(numbers),
        "preprocessing": settings_digest(preprocessing_of(processor)),
    }
