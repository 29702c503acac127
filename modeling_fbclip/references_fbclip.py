"""Reference images: a few good ones of a product, or the other images of a folder, that new images are compared with.

Formulas: WinCLIP+ (arXiv 2303.14814) and MuSc (2401.16753) for the distances; `comparison_fbclip` joins them with the
answer of the texts.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from weakref import WeakKeyDictionary

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.utils import cached_file

from .comparison_fbclip import Judgement
from .digests_fbclip import preprocessing_of, settings_digest, values_digest
from .images_fbclip import ImageSource
from .reference_bank_fbclip import Bank, features_of
from .reference_view_fbclip import ViewReferences
from .views_fbclip import View

if TYPE_CHECKING:
    from .modeling_fbclip import FBCLIPModel
    from .processing_fbclip import FBCLIPProcessor

logger = logging.getLogger(__name__)
_digests: "WeakKeyDictionary[FBCLIPModel, tuple[list[tuple[int, int]], str]]" = WeakKeyDictionary()

WEIGHTS_NAME = "references.safetensors"
SETTINGS_NAME = "references.json"
NEAR = 1 / 8  # of the image's sides: where the same place of the product may lie
MIN_MUTUAL = 8  # images: of fewer, a single defective one is a large share
# `cached_file` gives None instead of an error.
QUIETLY = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors", "gated_repo")}
PREFIX = "tiles.{}."  # of the tensors of a tile, from 1 on


class FBCLIPReferences:
    r"""
    Images that [`FBCLIPModel`] compares others with. Make them with [`~FBCLIPReferences.from_images`], and pass them
    as `references` to the model or to the pipeline.

    Args:
        views (`list[ViewReferences]`): What is kept of each view of the images: of the whole, then of each tile.
        names (`list[str]`): The images' names, each once.
        made_with (`dict[str, str]`): Digests of the model's weights and of the processor's settings.
        mutual (`bool`): Whether the images judge one another, and some may be defective.
        reach (`float` in `(0, 1]`): How far away a patch is searched for, as a share of the image's sides.
    """

    def __init__(
        self,
        views: Sequence[ViewReferences],
        names: Sequence[str],
        made_with: Mapping[str, str],
        mutual: bool,
        reach: float,
    ) -> None:
        self.views = list(views)
        self.names = list(names)
        self.made_with = dict(made_with)
        self.mutual = mutual
        self.reach = reach
        self._maker: tuple[FBCLIPModel, FBCLIPProcessor] | None = None

    @classmethod
    def from_images(
        cls,
        model: "FBCLIPModel",
        processor: "FBCLIPProcessor",
        images: Iterable[ImageSource],
        names: Sequence[str] | None = None,
        mutual: bool = False,
        reach: float = NEAR,
        max_patches: int | None = None,
        on_image: Callable[[], object] | None = None,
    ) -> Self:
        r"""
        Makes references from images.

        Args:
            model ([`FBCLIPModel`]): On the device to use, in evaluation mode.
            processor ([`FBCLIPProcessor`]): Its processor.
            images (iterable of path, `PIL.Image.Image`, `np.ndarray` or `torch.Tensor`): Good images of one product;
                one is enough, more are better. With `mutual`, at least eight images, of which up to a third may be
                defective. With tiles or `keep_aspect`, they have one shape.
            names (`list[str]`, *optional*): Their names for [`~FBCLIPReferences.remove`]. Defaults to the paths, else
                to `image 0`, `image 1` …
            mutual (`bool`, defaults to `False`): Whether the images judge one another.
            reach (`float` in `(0, 1]`, defaults to 1/8): A patch is compared with those of the references that lie at
                most this share of the sides away, of a tile those of the tile. 1 for products that lie in any place
                and direction; without tiles, as each has its own references.
            max_patches (`int`, *optional*): How many patches to keep of all images, for banks that would not fit in
                memory. Images cannot be added or removed then.
            on_image (callable, *optional*): Called after each image.

        Raises:
            `ValueError`: There is no image, or fewer than eight with `mutual`, two have one name, or one cannot be
                read.
        """
        if not 0 < reach <= 1:
            raise ValueError(f"`reach` is {reach}, but must be above 0 and at most 1.")
        given = list(images)
        known = _names(given, names, [])
        if not given or (mutual and len(given) < MIN_MUTUAL):
            needed = f"{MIN_MUTUAL} images to judge one another" if mutual else "1 reference image"
            raise ValueError(f"Got {len(given)} images, but need at least {needed}; pass more.")
        if len(given) == 1:
            tell_of_one()
        features = features_of(model, processor, given, known, on_image)
        most = None if max_patches is None else max_patches // len(features)
        views = [ViewReferences.of(*view, mutual, reach, most) for view in features]
        references = cls(views, known, made_with(model, processor), mutual, reach)
        references._maker = model, processor
        return references

    def add(
        self,
        images: Iterable[ImageSource],
        names: Sequence[str] | None = None,
        model: "FBCLIPModel | None" = None,
        processor: "FBCLIPProcessor | None" = None,
        on_image: Callable[[], object] | None = None,
    ) -> None:
        r"""
        Adds images at the end. The others are not computed again.

        Args:
            images, names, on_image: As for [`~FBCLIPReferences.from_images`].
            model, processor (*optional*): Those that the references were made with. Needed for references that were
                loaded from a folder.

        Raises:
            `ValueError`: Model or processor are missing or others, a name is taken, or an image cannot be read. The
                references are then unchanged.
        """
        if model is None or processor is None:
            if self._maker is None:
                raise ValueError("These references were loaded from a folder; pass `model` and `processor` too.")
            model, processor = self._maker
        self.check(model, processor)
        self._require_whole()
        given = list(images)
        new_names = _names(given, names, self.names)
        features = features_of(model, processor, given, new_names, on_image, [view.grid for view in self.views])
        self.views = [view.grown(*more) for view, more in zip(self.views, features, strict=True)]
        self.names += new_names

    def remove(self, names: str | Iterable[str]) -> None:
        r"""
        Removes images by their names.

        Raises:
            `ValueError`: There is no image of a name, or too few would be left. The references are then unchanged.
        """
        self._require_whole()
        leaving = {names} if isinstance(names, str) else set(names)
        if missing := sorted(leaving - set(self.names)):
            raise ValueError(f"There is no reference {missing[0]!r}; there are {', '.join(self.names)}.")
        kept = [index for index, name in enumerate(self.names) if name not in leaving]
        least = MIN_MUTUAL if self.mutual else 1
        if len(kept) < least:
            raise ValueError(f"{len(kept)} references would be left, but at least {least} are needed.")
        self.views = [view.thinned(kept) for view in self.views]
        self.names = [self.names[index] for index in kept]

    def __len__(self) -> int:
        return len(self.names)

    def digest(self) -> str:
        """Names the references by their content, for records of results."""
        about = {"names": self.names, "mutual": self.mutual, "reach": self.reach, "scale": self._scales()}
        return settings_digest(self.made_with | about)

    def check(self, model: "FBCLIPModel", processor: "FBCLIPProcessor | None" = None) -> None:
        r"""
        Raises:
            `ValueError`: The references were made with another model, number type or processor; or the model is
                exported and cannot compare with them.
        """
        if getattr(model.config, "runtime", None) is not None:
            self.require_good()
            if not model.has_references:
                raise ValueError("The model was exported without references; export it with them.")
        if model_digest(model) != self.made_with["model"]:
            raise ValueError(
                "The references were made with another model, or with weights that were rounded otherwise; make them "
                "again with this one."
            )
        if processor is not None and settings_digest(preprocessing_of(processor)) != self.made_with["processor"]:
            raise ValueError("The references were made with another processor; make them again with this one.")

    def require_good(self) -> None:
        r"""
        Raises:
            `ValueError`: The references judge one another, which an exported model does not compute.
        """
        if self.mutual:
            raise ValueError("Images that judge one another need PyTorch; compare with good images.")

    def check_views(self, views: Sequence[View], patch_size: int) -> None:
        r"""
        Raises:
            `ValueError`: An image has other views than the references.
        """
        grids, known = [view.grid(patch_size) for view in views], [view.grid for view in self.views]
        if grids != known:
            raise ValueError(
                f"The image is seen in {len(grids)} views, the first of {grids[0]} patches, but the references in "
                f"{len(known)}, the first of {known[0]}; compare images of one shape with the same settings of tiles."
            )

    def at(self, places: Sequence[int]) -> "PlacedReferences":
        r"""
        The references of a batch of views, for the model.

        Args:
            places (`list[int]`): The place of each in its image's [`~FBCLIPProcessor.views`].
        """
        return PlacedReferences(self, [self.views[place] for place in places])

    def judge(self, layer_tokens: Sequence[Tensor], logits: Tensor, grid: tuple[int, int]) -> Judgement:
        r"""
        Compares whole images with the references.

        Args:
            layer_tokens (`list[torch.Tensor]` of shape `(batch_size, 1 + num_patches, hidden_size)`): Of each feature
                layer.
            logits (`torch.Tensor` of shape `(batch_size, 1 + num_patches)`): Of the texts, CLS first.
            grid (`tuple[int, int]`): Height and width in patches.

        Raises:
            `ValueError`: The references have another grid.
        """
        return self.views[0].judge(layer_tokens, logits, grid)

    def save_pretrained(self, save_directory: str | PathLike[str]) -> None:
        """Saves `references.safetensors` and `references.json` in a folder, which may be that of the model."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{PREFIX.format(place) if place else ''}{name}": tensor.contiguous()
            for place, view in enumerate(self.views)
            for name, tensor in view.bank._asdict().items()
        }
        save_file(tensors, folder / WEIGHTS_NAME)
        settings = {
            "names": self.names,
            "num_images": len(self),
            "num_tiles": len(self.views) - 1,
            "made_with": self.made_with,
            "mutual": self.mutual,
            "reach": self.reach,
            "scale": self._scales(),
        }
        (folder / SETTINGS_NAME).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, directory: str | PathLike[str], **hub_arguments: Any) -> Self:
        r"""
        Loads references from a folder or a Hub repository.

        Args:
            directory (`str` or `PathLike`): Its path or Hub id.
            hub_arguments: `revision`, `token`, `cache_dir` … as for [`FBCLIPProcessor`].

        Raises:
            `OSError`: It has none.
            `ValueError`: A file is damaged.
        """
        files: Any = [cached_file(directory, name, **hub_arguments) for name in (SETTINGS_NAME, WEIGHTS_NAME)]
        try:
            settings = json.loads(Path(files[0]).read_text(encoding="utf-8"))
            tensors, mutual, reach = load_file(files[1]), settings["mutual"], settings["reach"]
            prefixes = ["", *map(PREFIX.format, range(1, settings.get("num_tiles", 0) + 1))]
            banks = [Bank(*(tensors[prefix + name] for name in Bank._fields)) for prefix in prefixes]
            views = [ViewReferences(bank, mutual, reach) for bank in banks]
            return cls(views, settings["names"], settings["made_with"], mutual, reach)
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise ValueError(f"{directory}: its references are damaged ({error}); make them again.") from error

    @classmethod
    def beside(cls, model: "FBCLIPModel") -> Self | None:
        r"""
        The references in the folder or the Hub repository that a model was loaded from; `None` if there are none
        there, or if a Hub that does not answer leaves it open.

        Raises:
            `ValueError`: A file is damaged.
        """
        place = dict(getattr(model, "loaded_from", None) or {})  # older code on the Hub does not have it
        name = place.pop("name", None)
        files = (SETTINGS_NAME, WEIGHTS_NAME)
        if name is None or any(cached_file(name, file, **place, **QUIETLY) is None for file in files):
            return None
        return cls.from_pretrained(name, **place)

    def _scales(self) -> list[dict[str, float]]:
        return [view.scale._asdict() for view in self.views]

    def _require_whole(self) -> None:
        if len(self.views[0].bank.tokens) < len(self):
            raise ValueError("Some patches of these references were left out by `max_patches`; make them again.")


class PlacedReferences(NamedTuple):
    """
    What each view of a batch is compared with.

    Args:
        references: all of them.
        views: those at each view's place.
    """

    references: FBCLIPReferences
    views: list[ViewReferences]

    def check(self, model: "FBCLIPModel") -> None:
        """As that of [`FBCLIPReferences`]."""
        self.references.check(model)

    def judge(self, layer_tokens: Sequence[Tensor], logits: Tensor, grid: tuple[int, int]) -> Judgement:
        """As that of [`FBCLIPReferences`], but each view with the references at its place."""
        found = [
            view.judge([tokens[index : index + 1] for tokens in layer_tokens], logits[index : index + 1], grid)
            for index, view in enumerate(self.views)
        ]
        return Judgement(*map(torch.cat, zip(*found, strict=True)))


def made_with(model: "FBCLIPModel", processor: "FBCLIPProcessor") -> dict[str, str]:
    """Digests of a model and a processor."""
    return {"model": model_digest(model), "processor": settings_digest(preprocessing_of(processor))}


def model_digest(model: "FBCLIPModel") -> str:
    """The digest of a model's values, of an export those of its model. Computed again after a change of weights."""
    if (exported_from := getattr(model.config, "exported_from", None)) is not None:  # older code does not have it
        return str(exported_from)
    state = [(weight.data_ptr(), 0 if weight.is_inference() else weight._version) for weight in model.parameters()]
    known_state, digest = _digests.get(model, (None, ""))
    if state != known_state:
        digest = values_digest(model)
        _digests[model] = state, digest
    return digest


@cache
def tell_of_one() -> None:
    """Warns once."""
    logger.warning("One reference image alone cannot tell how much good ones differ; pass more if you can.")


def _names(images: list[ImageSource], names: Sequence[str] | None, taken: list[str]) -> list[str]:
    """The names of new images, of which none is given twice."""
    if names is None:
        names = [
            str(image) if isinstance(image, str | PathLike) else f"image {len(taken) + index}"
            for index, image in enumerate(images)
        ]
    if len(names) != len(images):
        raise ValueError(f"Got {len(images)} images, but {len(names)} names.")
    every = taken + list(names)
    if twice := sorted({name for name in names if every.count(name) > 1}):
        raise ValueError(f"{twice[0]!r} is a reference twice; name each image once.")
    return list(names)
