"""`fbclip convert`: the authors' checkpoint in, a transformers folder out."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_fbclip.cli.options import Force, require_free

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, metavar="CHECKPOINT", help="The authors' .pth.", show_default=False
        ),
    ],
    clip: Annotated[str, typer.Option(help="Folder or Hub id of the CLIP it was trained on.")],
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder to save the model to.")],
    feature_layers: Annotated[
        str | None, typer.Option(help="Vision blocks used.", show_default="1,6,12,18,24, the paper's")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=1, help="Pixels that images are resized to.", show_default="518, the paper's"),
    ] = None,
    prompt_input_ids: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="JSON file with the token ids of the two prompts, 2 rows of 77.",
            show_default="the checkpoint's",
        ),
    ] = None,
    include_clip: Annotated[
        bool | None,
        typer.Option(
            "--include-clip/--no-include-clip",
            help="Save CLIP's weights too, or fetch them by name when loading.",
            show_default="include them unless the CLIP has a Hub id",
        ),
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option(
            help="Short name of the data set it was trained on (fbclip datasets list), so that evaluate warns of it.",
            show_default="what the checkpoint or its name says",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """
    Turn a checkpoint of the authors' code into a transformers model.

    The authors publish two, both on openai/clip-vit-large-patch14-336, in the folder
    https://drive.google.com/drive/folders/1YnNLLfdoQFNlvFB8ez_3XZ9Ox5ZrGDCa that the README of
    https://github.com/Xi-Mu-Yu/FB-CLIP links to: mvtec_epoch_1_model.pth was trained on MVTec AD and is for all other
    data, visa_epoch_2_model.pth on VisA and is for MVTec AD. Their code is under the MIT licence; they state none for
    the weights.

    \b
    Example:
      fbclip convert x.pth --clip openai/clip-vit-large-patch14-336 --output out
    """
    require_free(output, force)
    overrides = {
        "feature_layers": _layers(feature_layers),
        "image_size": image_size,
        "prompt_input_ids": _prompts(prompt_input_ids),
    }
    given = {name: value for name, value in overrides.items() if value is not None}

    from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
    from modeling_fbclip.common.files import written_aside
    from modeling_fbclip.common.hub import asking_hub
    from modeling_fbclip.common.provenance import CONVERSION_RECORD
    from modeling_fbclip.conversion_fbclip import read_source_domain
    from modeling_fbclip.detection.loading import quieten_libraries, require_folder_or_hub_id
    from modeling_fbclip.digests_fbclip import file_sha256
    from modeling_fbclip.training.arguments import published_settings

    quieten_libraries()
    require_folder_or_hub_id(clip)
    with nullcontext() if Path(clip).is_dir() else asking_hub(clip):
        model = FBCLIPModel.from_official_checkpoint(checkpoint, clip=clip, **given)
        processor = FBCLIPProcessor.from_config(model.config, tokenizer=_tokenizer(clip))
    model.config.training = published_settings()
    record = {
        "file": checkpoint.name,
        "sha256": file_sha256(checkpoint),
        "trained_on": _training_set(trained_on, read_source_domain(checkpoint), checkpoint.name),
    }
    with written_aside(output) as aside:
        model.save_pretrained(aside, include_clip=include_clip)
        processor.save_pretrained(aside)
        (aside / CONVERSION_RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"saved to {output}; try it: fbclip detect --model {output} photo.jpg", err=True)


def _training_set(given: str | None, domain: str | None, file_name: str) -> str | None:
    """The short name that is given, or that the checkpoint or its file's name starts like; `None` if it is unknown."""
    from modeling_fbclip.data.registry import KNOWN_DATASETS

    if given is not None and given not in KNOWN_DATASETS:
        raise typer.BadParameter(f"{given!r} is none of {', '.join(KNOWN_DATASETS)}", param_hint="--trained-on")
    released = {"mvtec": "mvtec-ad", "visa": "visa"}
    told = [name for text in (domain, file_name) if text for start, name in released.items() if text.startswith(start)]
    return given or (told[0] if told else None)


def _layers(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(number) for number in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} must be numbers with commas between, as in 1,6,12,18,24", param_hint="--feature-layers"
        ) from None


def _prompts(path: Path | None) -> list[list[int]] | None:
    try:
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise typer.BadParameter(f"{path} is no JSON: {error}", param_hint="--prompt-input-ids") from None


def _tokenizer(clip: str) -> "PreTrainedTokenizerBase | None":
    """The CLIP's own, if it has one; without its files transformers would make up an empty one."""
    from transformers import AutoTokenizer
    from transformers.utils import has_file

    return AutoTokenizer.from_pretrained(clip) if has_file(clip, "tokenizer_config.json") else None
