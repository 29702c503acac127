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
from modeling_fbclip.training.arguments import FBCLIPTrainingArguments

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
    option = typer.Option(
        option_of(name),
        help=argument.metadata["help"],
        min=allowed.low if allowed is not None and kind in (int, int | None) else None,
        file_okay=False,
        show_default=argument.metadata.get("unset") or True,
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
    data: Annotated[str, typer.Argument(metavar="DATA", help="Folder or Hub id of a data set.", show_default=False)],
    model: Model = None,
    split: ChosenSplit = None,
    layout: Layout = None,
    columns: Columns = None,
    category: Category = None,
    white_level: WhiteLevel = None,
    max_megapixels: MaxMegapixels = None,
    **arguments: Any,
) -> None:
    """
    Fine-tune a model on a labelled data set. The defaults are the published recipe.

    Images without masks train the score of the CLS token alone, which then becomes the processor's, or the best
    of its kinds on the held-out share. With --synthetic, DATA may also be a folder of good images, and those for
    training are used if there are any. The model keeps its thresholds: set new ones with fbclip calibrate.
    DATA is read whole, never streamed: the number of steps depends on its length.
    Kill it at any time: the same command with --resume auto continues, to the same result; with more --epochs
    it goes on from there. Several devices: accelerate launch -m modeling_fbclip.cli train …

    \b
    Example:
      fbclip train data/mvtec --output trained --validation-fraction 0.1
    """
    args = FBCLIPTrainingArguments(**arguments)
    with blamed_on("DATA"):
        from modeling_fbclip.data import load_fitting_split

        named = parse_columns(columns)
        chosen = load_fitting_split(data, (0,) if args.synthetic else (0, 1), split, layout, category, named)

    from accelerate import PartialState

    from modeling_fbclip import training
    from modeling_fbclip.detection.loading import load_detector
    from modeling_fbclip.detection.processes import is_launched_as_main
    from modeling_fbclip.detection.white_level import images_of

    images = images_of(chosen.dataset)
    own = processor_settings(images, white_level, max_megapixels, is_main=is_launched_as_main())
    loaded = load_detector(model, "cpu", own=own)
    try:
        training.train(loaded.model, loaded.processor, chosen.dataset, args, source=chosen.hub_id)
    except KeyboardInterrupt:
        if is_launched_as_main():
            typer.echo("stopped; the same command with --resume auto continues", err=True)
        raise
    if PartialState().is_main_process:
        tell_leftovers(data, chosen.layout, named)
        output = args.output_dir
        typer.echo(
            f"saved to {output}; trained on the split {chosen.split!r}; its thresholds are not from this training, "
            f"set its own by: fbclip calibrate good_parts/ --model {output} --output {output}",
            err=True,
        )
