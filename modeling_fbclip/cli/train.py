"""`fbclip train`: a labelled data set in; a model fine-tuned on it out."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from modeling_fbclip.cli.errors import blamed_on, option_of
from modeling_fbclip.cli.options import (
    Category,
    ChosenSplit,
    Columns,
    Layout,
    MaxMegapixels,
    Model,
    WhiteLevel,
    parse_columns,
    processor_settings,
    tell_leftovers,
)
from modeling_fbclip.training.arguments import MODEL_ARGUMENTS, FBCLIPTrainingArguments

# Types on the command line, where they differ from the field's.
TYPES = {"output_dir": Path, "cache_features": Path | None, "resume": str | None, "report_to": list[str]}


def with_training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Puts an option for each field of `FBCLIPTrainingArguments` in place of `**arguments`; required ones first."""
    own = [parameter for parameter in inspect.signature(command).parameters.values() if parameter.name != "arguments"]
    parameters = [*own, *map(_option, fields(FBCLIPTrainingArguments))]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    parameters.sort(key=lambda parameter: parameter.default is not parameter.empty)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _option(argument: Field[Any]) -> inspect.Parameter:
    name, kind = argument.name, TYPES.get(argument.name, argument.type)
    allowed = argument.metadata.get("allowed")
    default = inspect.Parameter.empty if argument.default is MISSING else argument.default
    unset = argument.metadata.get("unset") or True
    option = typer.Option(
        "--augment/--no-augment" if name == "augment" else option_of(name),
        help=argument.metadata["help"],
        min=allowed.low if allowed is not None and kind in (int, int | None) else None,
        file_okay=False,
        show_default=f"the model's, else {argument.default}" if name in MODEL_ARGUMENTS else unset,
        metavar="<name>" if name == "lr_scheduler" else None,  # the help text has the names
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=[] if name == "report_to" else default,
        annotation=Annotated[kind, option],  # type: ignore[valid-type]
    )


@with_training_options
def train(
    context: typer.Context,
    data: Annotated[str, typer.Argument(metavar="DATA", help="Folder or Hub id of a data set.", show_default=False)],
    model: Model = None,
    split: ChosenSplit = None,
    layout: Layout = None,
    columns: Columns = None,
    category: Category = None,
    white_level: WhiteLevel = None,
    max_megapixels: MaxMegapixels = None,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Train as the paper does, whatever the model's config.json has.")
    ] = False,
    **arguments: Any,
) -> None:
    """
    Fine-tune a model on a labelled data set, by the settings that its own config.json has for that.

    Of 20 images or more (8 of each label) a fifth is held out. On it the model before training and that of each
    epoch are compared, and the best is saved; with 5 good ones among them its thresholds are set. Fewer images train
    the model without that; good images as references suit them better (fbclip remember), and need no training.
    Images without masks train the score of the CLS token alone, so the kind of score may change to it.
    With --synthetic, DATA may also be a folder of good images; good images for training are used if there are any.
    DATA is read whole, never streamed: the number of steps depends on its length.
    Kill it at any time: the same command with --resume auto continues, to the same result; with more --epochs
    it goes on from there. Several devices: accelerate launch -m modeling_fbclip.cli train …

    \b
    Example:
      fbclip train data/mvtec --output trained
    """
    given = {name: value for name, value in arguments.items() if _is_given(context, name)}
    FBCLIPTrainingArguments.check_each(given)  # a mistake is told before anything is read
    with blamed_on("DATA"):
        from modeling_fbclip.data import load_fitting_split

        named = parse_columns(columns)
        chosen = load_fitting_split(data, (0,) if given.get("synthetic") else (0, 1), split, layout, category, named)

    from accelerate import PartialState

    from modeling_fbclip import training
    from modeling_fbclip.detection.loading import load_detector
    from modeling_fbclip.detection.processes import is_launched_as_main
    from modeling_fbclip.detection.white_level import images_of

    images = images_of(chosen.dataset)
    own = processor_settings(images, white_level, max_megapixels, is_main=is_launched_as_main())
    loaded = load_detector(model, "cpu", own=own)
    args = FBCLIPTrainingArguments.for_model(loaded.model, as_published=as_published, **given)
    try:
        training.train(
            loaded.model, loaded.processor, chosen.dataset, args, source=chosen.hub_id, references=loaded.references
        )
    except KeyboardInterrupt:
        if is_launched_as_main():
            typer.echo("stopped; the same command with --resume auto continues", err=True)
        raise
    if PartialState().is_main_process:
        tell_leftovers(data, chosen.layout, named)
        _tell_result(args, chosen.split)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _tell_result(args: FBCLIPTrainingArguments, split: str) -> None:
    """The epochs that were compared, what is saved, and what to do next."""
    from modeling_fbclip.common.json_files import read_record
    from modeling_fbclip.common.provenance import TRAINING_RECORD
    from modeling_fbclip.training.report import epochs_table

    output = args.output_dir
    record = read_record(Path(output) / TRAINING_RECORD)
    result, epochs = record["result"], record["epochs"]
    said = f"saved to {output}; trained on the split {split!r}"
    if epochs:
        typer.echo(epochs_table(epochs))
    if epochs and not result["epoch"]:
        said += "; no epoch is better on the held-out images than the model before training, so that one is saved"
    elif epochs:
        said += f"; epoch {result['epoch']} is the best on {record['data']['held_out']} held-out images"
    if "thresholds" in result:
        about = result["thresholds"]
        said += f"; its thresholds are from {about['images']} held-out good images"
        said += f", for {about['target_fpr']:.1%} false alarms"
    else:
        said += (
            "; its thresholds are not from this training, set its own by: "
            f"fbclip calibrate good_parts/ --model {output} --output {output}"
        )
    typer.echo(said, err=True)
