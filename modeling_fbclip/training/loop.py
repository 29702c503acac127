"""The training loop, from the first step to the saved model."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

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
from modeling_fbclip.references_fbclip import FBCLIPReferences
from modeling_fbclip.training.arguments import LOSS_ARGUMENTS, FBCLIPTrainingArguments
from modeling_fbclip.training.caching import remove_own_cache
from modeling_fbclip.training.checkpoints import Checkpoints, Progress, load_weights
from modeling_fbclip.training.ending import compare_references, describe, measure, save_result
from modeling_fbclip.training.inventory import tell_settings
from modeling_fbclip.training.judging import TRAINED_SCORE, judge
from modeling_fbclip.training.log import TrainingLog
from modeling_fbclip.training.record import fingerprint
from modeling_fbclip.training.setup import TrainingData, prepare_data, prepare_model, start_accelerator
from modeling_fbclip.training.steps import check_weights, training_step

# The numbers of the method: all of a configuration but CLIP's part and the settings of a training.
METHOD = [name for name in FBCLIPConfig.__annotations__ if "clip" not in name and name != "training"]


def train(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    dataset: Dataset,
    args: FBCLIPTrainingArguments,
    source: str | None = None,
    references: FBCLIPReferences | None = None,
) -> FBCLIPModel:
    r"""
    Fine-tunes the FB-CLIP parts of a model; its CLIP stays frozen. The defaults of `args` are the published recipe;
    `FBCLIPTrainingArguments.for_model` takes what suits the model.
    Under `accelerate launch` every process calls this with the same arguments.

    `args.output_dir` then holds the model and the processor for `from_pretrained`, `training_record.json` (arguments,
    data, epochs, result and environment), `training_report.html`, `log.jsonl` (the losses of each step) and
    `checkpoints/`.

    Where images are held out, the model before training and that of each epoch are compared on them, by the AUROC of
    the images' scores and the exact AUPRO in equal parts; the best one is saved, and its thresholds are set on the
    good ones among them. Else the last epoch is saved.

    Args:
        model ([`FBCLIPModel`]): In float32. It is trained in place.
        processor ([`FBCLIPProcessor`]): Prepares the images. Labels alone train the score of the CLS token. So without
            masks, that becomes its `score`, where the training brought something.
        dataset (`datasets.Dataset`): With the columns `image`, `label` (0 or 1) and, as far as known, `mask`,
            `category` and `path`, as `load_anomaly_dataset` returns it. A stream (`datasets.IterableDataset`) is
            refused, because the number of steps depends on the length.
        args ([`FBCLIPTrainingArguments`]): All other options.
        source (`str`, *optional*): The data set's Hub id, for the record.
        references ([`FBCLIPReferences`], *optional*): Of the model before training. The record says what they bring on
            the held-out images; they do not fit the trained weights.

    Returns:
        [`FBCLIPModel`]: `model`, trained, in evaluation mode.

    Raises:
        `ValueError`: Data, model, output folder or checkpoint do not allow the training; the message says what to do.
        `OSError`: A file cannot be written. The last good checkpoint is intact.
        `FloatingPointError`: A loss or a weight is not finite, or the model is far worse than before training. The
            message names the step, and the images of the loss. The output folder holds the last good state.

    Example:

    ```python
    >>> from modeling_fbclip import load_bundled
    >>> from modeling_fbclip.data import load_anomaly_dataset
    >>> from modeling_fbclip.training import FBCLIPTrainingArguments, train

    >>> model, processor = load_bundled()
    >>> args = FBCLIPTrainingArguments.for_model(model, "trained")
    >>> model = train(model, processor, load_anomaly_dataset("parts"), args)
    ```"""
    accelerator = start_accelerator(args)
    trained_before = recorded_images(model)
    own_losses = {name: getattr(model.config, name) for name in LOSS_ARGUMENTS}
    prepare_model(model, args)
    squashing = processor.with_views(tile=None, overlap=None, keep_aspect=False)  # a batch needs one size
    data = prepare_data(dataset, model, squashing, args, accelerator)
    compared = None if references is None else compare_references(model, squashing, data, references)
    run = _start(model, squashing, data, args, accelerator)
    failure = None
    try:
        _run_steps(run)
    except FloatingPointError as error:
        failure = error
    best = run.checkpoints.chosen(run.progress)
    if best is None:  # the model was of no use before
        raise failure or AssertionError("a run that ends has judged the model")

    model = accelerator.unwrap_model(run.model, keep_fp32_wrapper=False).eval()
    vars(model).pop("forward", None)  # accelerate leaves one without the class's decorators
    load_weights(model, run.checkpoints.folder / Checkpoints.name(best.step))
    if compared is not None and best.step:
        compared["trained, without"] = measure(model, squashing, data)
    if accelerator.is_main_process:
        record = describe(model, data, args, accelerator, run.progress, best, source, trained_before)
        record |= {} if compared is None else {"references": compared}
        record["result"] |= {} if failure is None else {"stopped": str(failure)}
        for name, weight in own_losses.items():
            setattr(model.config, name, weight)  # the next training takes the model's settings, not this one's
        save_result(model, processor, data, args, best, record, references)
        remove_own_cache(data.cache, args)
    accelerator.wait_for_everyone()
    model.name_or_path = str(args.output_dir)
    model.loaded_from = {"name": str(args.output_dir)}  # its record is there
    if failure is not None:
        raise FloatingPointError(
            f"{failure}; lower `learning_rate`, which is {args.learning_rate:g}; {args.output_dir} holds {best.title}."
        )
    return model


@dataclass(eq=False)
class Run:
    """What the steps of a run need. accelerate has prepared model, optimizer and scheduler."""

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    processor: FBCLIPProcessor
    data: TrainingData
    args: FBCLIPTrainingArguments
    accelerator: Accelerator
    checkpoints: Checkpoints
    progress: Progress


def _start(
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    data: TrainingData,
    args: FBCLIPTrainingArguments,
    accelerator: Accelerator,
) -> Run:
    """A run at its first step, or where the checkpoint to resume stopped."""
    settings = args.result_record() | {"data": fingerprint(data.digests)} | _fixed(model, processor)
    optimizer = Adam([w for w in model.parameters() if w.requires_grad], lr=args.learning_rate, betas=args.adam_betas)
    scheduler = get_scheduler(args.lr_scheduler, optimizer, args.warmup_steps, data.schedule.num_steps)
    wrapped, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
    checkpoints = Checkpoints(Path(args.output_dir) / "checkpoints", args.checkpoint_limit, accelerator)
    checkpoint = checkpoints.newest() if args.resume == "auto" else args.resume
    progress = Progress(settings) if checkpoint is None else checkpoints.load(Path(checkpoint), settings)
    if accelerator.is_main_process:
        tell_settings(args, model.config)
    accelerator.init_trackers("fbclip", config={name: str(value) for name, value in settings.items()})
    return Run(wrapped, optimizer, scheduler, processor, data, args, accelerator, checkpoints, progress)


def _run_steps(run: Run) -> None:
    """The steps from `progress` to the end of the run, with log, candidates and checkpoints."""
    args, schedule, progress = run.args, run.data.schedule, run.progress
    batches = iter(skip_first_batches(run.data.training, progress.step * args.gradient_accumulation_steps))
    with closing(TrainingLog(Path(args.output_dir), run.accelerator, schedule, progress)) as log:
        if run.checkpoints.chosen(progress) is None:  # at the start, or if only a later checkpoint is here
            _judge_epoch(run, log)
            run.checkpoints.save(progress)
        while progress.step < schedule.num_steps:
            step, learning_rate = progress.step + 1, float(run.scheduler.get_last_lr()[0])
            parts = [next(batches) for _ in range(args.gradient_accumulation_steps)]
            try:
                losses, images = training_step(
                    run.model, run.optimizer, run.scheduler, parts, run.accelerator, args.max_grad_norm
                )
                progress.step, epoch = step, step / schedule.steps_per_epoch
                log.step(step, losses, images, epoch=epoch, learning_rate=learning_rate)
                due = epoch.is_integer() or (args.checkpoint_steps and step % args.checkpoint_steps == 0)
                if due:
                    check_weights(run.model)
                if epoch.is_integer():
                    _judge_epoch(run, log)
                if due:
                    run.checkpoints.save(progress)
            except FloatingPointError as error:
                raise FloatingPointError(f"step {step}: {error}") from None


def _judge_epoch(run: Run, log: TrainingLog) -> None:
    """Adds a candidate. FloatingPointError if the model is far worse than before training."""
    data, progress = run.data, run.progress
    epoch = progress.step // data.schedule.steps_per_epoch
    kind = run.processor.score if data.use_masks or not epoch else TRAINED_SCORE
    found = judge(run.model, run.processor, data.judged, run.accelerator, kind, epoch, progress.step)
    log.judged(found, is_held_out=bool(data.held_out))
    if progress.candidates and (fault := found.fault(progress.candidates[0])):
        raise FloatingPointError(f"the model is far worse than before training: {fault}")
    progress.candidates.append(found)
    if data.held_out:
        progress.best = Checkpoints.name(max(progress.candidates, key=lambda candidate: candidate.value).step)


def _fixed(model: FBCLIPModel, processor: FBCLIPProcessor) -> dict[str, str]:
    """Digests of what training does not change: the frozen CLIP, the method's other numbers, the preprocessing."""
    numbers = {name: getattr(model.config, name) for name in METHOD}
    return {
        "clip": weights_digest(model.clip),
        "config": settings_digest(numbers),
        "preprocessing": settings_digest(preprocessing_of(processor)),
    }
