"""Preparation of a run: the accelerator, the model, the rows and their loaders."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, GradientAccumulationPlugin, InitProcessGroupKwargs, set_seed
from datasets import Dataset, Value
from torch.utils.data import DataLoader

from modeling_fbclip.common.files import is_empty, require_writable
from modeling_fbclip.common.messages import ArgumentError
from modeling_fbclip.data.decoding import undecoded
from modeling_fbclip.detection.processes import PATIENCE
from modeling_fbclip.modeling_fbclip import FBCLIPModel
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.training.arguments import LOSS_ARGUMENTS, FBCLIPTrainingArguments
from modeling_fbclip.training.augmentation import Augmentation
from modeling_fbclip.training.caching import fill_cache, open_cache
from modeling_fbclip.training.feature_cache import FeatureCache
from modeling_fbclip.training.images import TrainingImages, collate
from modeling_fbclip.training.inventory import check_learnable, tell_inventory
from modeling_fbclip.training.record import RowDigest, digest_rows
from modeling_fbclip.training.schedule import DrawSchedule
from modeling_fbclip.training.selection import default_share, split_rows, trainable_rows
from modeling_fbclip.training.synthetic import SyntheticAnomalies

MOST_HELD_OUT = 200  # images, unless a share is given: their maps are kept to be compared
PROBED = 16  # images of the training that are judged where none is held out


@dataclass
class TrainingData:
    """
    The rows with their digests, the indices of those `held_out`, whether masks are used, the schedule, the loaders of
    this process's share, and the cache of features if there is one. `judged` has the held-out images; if there are
    none, a few of those trained on, so that a training that goes wrong is noticed.
    """

    rows: Dataset
    digests: list[RowDigest]
    held_out: list[int]
    use_masks: bool
    schedule: DrawSchedule
    training: DataLoader
    judged: DataLoader
    cache: FeatureCache | None


def start_accelerator(args: FBCLIPTrainingArguments) -> Accelerator:
    """Joins the processes and makes the output folder. ValueError if it, the batch size or the precision is wrong."""
    output = Path(args.output_dir)
    if args.resume is None and not is_empty(output):
        raise ArgumentError(
            "output_dir", f"{output}: is not empty; choose another folder, or continue its run with `resume` auto."
        )
    require_writable(output)
    set_seed(args.seed)
    accelerator = Accelerator(
        mixed_precision=args.mixed_precision,
        log_with=args.report_to or None,  # type: ignore[arg-type]
        project_dir=output,
        step_scheduler_with_optimizer=False,  # otherwise the schedule would run faster with more processes
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # training_step accumulates, exactly
        dataloader_config=DataLoaderConfiguration(even_batches=False),  # DrawSchedule makes them even
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if args.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ArgumentError(
            "mixed_precision", "`mixed_precision` is fp16, which a CPU does not compute in; choose bf16 or no."
        )
    num_parts = accelerator.num_processes * args.gradient_accumulation_steps
    if args.batch_size < num_parts:
        raise ArgumentError(
            "batch_size",
            f"`batch_size` is {args.batch_size}, but {accelerator.num_processes} processes with "
            f"{args.gradient_accumulation_steps} accumulation steps need at least {num_parts} images a step.",
        )
    accelerator.wait_for_everyone()  # all have checked the folder before one writes to it
    if accelerator.is_main_process:
        output.mkdir(parents=True, exist_ok=True)
    return accelerator


def prepare_model(model: FBCLIPModel, args: FBCLIPTrainingArguments) -> None:
    """Sets modes and loss weights for training. ValueError for an export, or if weights would lose small steps."""
    if model.config.runtime is not None:
        raise ArgumentError("model", "is an export, which cannot be trained; take the model that it was made of")
    dtypes = {weight.dtype for weight in model.parameters() if weight.requires_grad}
    if not dtypes <= {torch.float32, torch.float64}:
        raise ValueError(f"The model's weights are {dtypes.pop()}; load it with dtype=torch.float32 to train it.")
    model.train()
    model.clip.eval()
    for name in LOSS_ARGUMENTS:
        if getattr(args, name) is not None:
            setattr(model.config, name, getattr(args, name))
    if args.gradient_checkpointing:
        # The first is the name since transformers 5.23, the second is the earlier name.
        enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
        enable({"use_reentrant": False})


def prepare_data(
    dataset: Dataset,
    model: FBCLIPModel,
    processor: FBCLIPProcessor,
    args: FBCLIPTrainingArguments,
    accelerator: Accelerator,
) -> TrainingData:
    """Reads every image once, fills the cache if there is one, and builds the loaders."""
    rows = undecoded(trainable_rows(dataset, args.synthetic))
    digests, labels = digest_rows(rows, processor, accelerator), list(rows["label"])
    check_learnable(labels, digests, args.synthetic)
    rows = rows.add_column("digest", [digest.image for digest in digests], feature=Value("string"))
    # If no anomalous image has a mask, the empty masks of normal images would teach that all maps are empty.
    use_masks = args.synthetic or any(digest.has_mask for digest, label in zip(digests, labels, strict=True) if label)
    trained, held_out = _split(rows, args)
    if accelerator.is_main_process:
        tell_inventory(labels, digests, held_out)
    probe = held_out or _probe(trained, labels)

    def images(indices: list[int], augmentation: Augmentation | None, in_turn: bool) -> TrainingImages:
        chosen = rows.select(indices)
        synthetic = SyntheticAnomalies(chosen, processor, args.seed, in_turn) if args.synthetic else None
        return TrainingImages(chosen, processor, use_masks, synthetic, augmentation)

    def loader(images: TrainingImages, schedule: DrawSchedule) -> DataLoader:
        built = DataLoader(images, batch_sampler=schedule, collate_fn=collate, num_workers=args.num_workers)
        return accelerator.prepare_data_loader(built)

    training = images(trained, Augmentation(args.seed) if args.augment else None, in_turn=False)
    judged = images(probe, None, in_turn=True)
    num_parts = accelerator.num_processes * args.gradient_accumulation_steps
    schedule = DrawSchedule(len(trained), args.batch_size, num_parts, args.epochs, args.seed)
    cache = open_cache(args, model, processor, len(trained), len(held_out))
    if cache is not None:
        model.to(accelerator.device)  # type: ignore[arg-type]
        fill_cache(cache, (training, judged), args, model, accelerator)
    return TrainingData(
        rows,
        digests,
        held_out,
        use_masks,
        schedule,
        loader(training, schedule),
        loader(judged, DrawSchedule(len(probe), args.batch_size, accelerator.num_processes)),
        cache,
    )


def _probe(trained: list[int], labels: list[int]) -> list[int]:
    """A few of the images that are trained on, of each label."""
    of_label = [[index for index in trained if labels[index] == label] for label in (0, 1)]
    return [index for some in of_label if some for index in some[:: math.ceil(2 * len(some) / PROBED)]]


def _split(rows: Dataset, args: FBCLIPTrainingArguments) -> tuple[list[int], list[int]]:
    """The rows to train on and the held-out ones; none of these if nobody asked for them and they cannot be split."""
    if args.validation_fraction is not None:
        return split_rows(rows, args.validation_fraction, args.seed)
    share = min(default_share(rows["label"]), MOST_HELD_OUT / len(rows))
    try:
        return split_rows(rows, share, args.seed)
    except ArgumentError:
        return split_rows(rows, 0.0, args.seed)
