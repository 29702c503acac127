"""Turns images, masks and prompts into tensors for FB-CLIP, and its patch maps into maps of the images' own sizes."""

import copy
import math
import os
from collections.abc import Iterable, Mapping
from inspect import signature
from operator import index
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, BatchFeature, CLIPImageProcessorPil, PreTrainedTokenizerBase, ProcessorMixin
from transformers.utils import cached_file

from .configuration_fbclip import FBCLIPConfig
from .files_fbclip import MAX_MEGAPIXELS, is_table
from .images_fbclip import ImageSource, load_rgb_image
from .masks_fbclip import read_mask, resize_mask
from .prompts_fbclip import encode_prompt
from .regions_fbclip import check_area
from .results_fbclip import SCORES, ResultsMixin
from .thresholds_fbclip import check_probability, check_thresholds
from .views_fbclip import Size, Tile, View, Viewing

DEFAULT_IMAGE_SIZE = 518
DEFAULT_PATCH_SIZE = 14
# Arguments of `from_pretrained` that apply to the image processor and the tokenizer.
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
# Arguments of `from_pretrained` that are no settings of the processor.
LOADING_ARGUMENTS = (*HUB_ARGUMENTS, "trust_remote_code", "code_revision", "return_unused_kwargs")
# Settings of the image processor that a call and `from_pretrained` may replace.
IMAGE_SETTINGS = (
    *("do_resize", "size", "resample"),
    *("do_rescale", "rescale_factor"),
    *("do_normalize", "image_mean", "image_std"),
)


class FBCLIPProcessor(ProcessorMixin, ResultsMixin):
    r"""
    Prepares images, masks and prompts for [`FBCLIPModel`] and turns its outputs into anomaly maps of the images' own
    sizes.

    Args:
        image_processor (`CLIPImageProcessorPil`, *optional*): Resizes and normalises. Defaults to FB-CLIP's
            preprocessing: bicubic to `image_size`, aspect ratio not kept, no crop, CLIP's mean and standard deviation.
        tokenizer (`PreTrainedTokenizerBase`, *optional*): CLIP's; only [`~FBCLIPProcessor.encode_prompts`] needs it.
        image_size (`int` or `tuple[int, int]`, *optional*): Height and width in pixels that images are resized to.
            Defaults to the size of `image_processor`, or to 518.
        keep_aspect (`bool`, defaults to `False`): Whether images keep their shape: the longer side becomes that of
            `image_size`, and both become multiples of `patch_size`.
        tile (`int` or `"auto"`, *optional*): Side in pixels of tiles, which the model sees beside the whole image.
            `"auto"`: tiles of `image_size` if a side of the image is more than 1.5 times as long. Small defects in
            large images need tiles; each costs as much as an image. See [`~FBCLIPProcessor.views`].
        overlap (`int`, *optional*): How far a tile's margin reaches into the next tile's, in pixels of the image. At
            least a patch, and less than half a tile. Defaults to an eighth of a tile.
        patch_size (`int`, defaults to 14): Side of the model's patches in pixels.
        smoothing_sigma (`float`, defaults to 4.0): Standard deviation of the Gaussian that smooths the maps, in pixels
            at `image_size`. 0 smooths nothing.
        score (`str`, defaults to `"cls"`): The score of an image: `"cls"` is that of the CLS token, as in the paper;
            `"map_max"` the largest value of the smoothed map; `"map_top1"` the mean of its largest 1 %.
        threshold (`float` in `[0, 1]`, defaults to 0.5): An image is anomalous from this score on.
        pixel_threshold (`float` in `[0, 1]`, defaults to 0.5): A pixel is anomalous from this value of the map on.
        category_thresholds (`dict[str, dict[str, float]]`, *optional*): `threshold` and `pixel_threshold` of single
            categories, as `fbclip calibrate --per-category` finds them.
        thresholds_mode (`str`, *optional*): The [`~FBCLIPProcessor.mode`] that all these thresholds were set in.
        other_thresholds (`dict[str, dict[str, float]]`, *optional*): `threshold` and `pixel_threshold` of other modes.
        thresholds_with_references (`bool`, defaults to `False`): Whether these thresholds were set with references.
            Results of the other kind take 0.5, which with references is the border that these set themselves.
        min_area (`int`, defaults to 1): Regions and masks leave out connected areas of fewer pixels of the image.
        prompt_length (`int`, defaults to 12): Number of learnable vectors at the start of a prompt.
        context_length (`int`, defaults to 77): Number of positions of CLIP's text context.
        white_level (`float`, *optional*): The value of white in images of more than 8 bits, such as 4095 for a camera
            of 12 bits, where the file does not declare it. Defaults to that of the number type.
        max_megapixels (`float`, defaults to 200): Images with more pixels are refused before they are decoded.

    Raises:
        `ValueError`: A number is out of its range, or `image_processor` crops or keeps the aspect ratio.
    """

    _auto_class: Any = "AutoProcessor"

    def __init__(
        self,
        image_processor: CLIPImageProcessorPil | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        image_size: int | Size | None = None,
        keep_aspect: bool = False,
        tile: Tile = None,
        overlap: int | None = None,
        patch_size: int = DEFAULT_PATCH_SIZE,
        smoothing_sigma: float = 4.0,
        score: str = "cls",
        threshold: float = 0.5,
        pixel_threshold: float = 0.5,
        category_thresholds: dict[str, dict[str, float]] | None = None,
        prompt_length: int = 12,
        context_length: int = 77,
        white_level: float | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        thresholds_with_references: bool = False,
        thresholds_mode: str | None = None,
        other_thresholds: dict[str, dict[str, float]] | None = None,
        min_area: int = 1,
    ) -> None:
        if image_processor is None or image_size is not None:
            image_processor = _resized(image_processor, DEFAULT_IMAGE_SIZE if image_size is None else image_size)
        size = dict(image_processor.size)
        if not (size.get("height") and size.get("width")) or image_processor.do_center_crop:
            raise ValueError(
                f"`image_processor` must resize to one height and width without a crop, but has the size {size} and "
                f"do_center_crop={image_processor.do_center_crop}; pass `image_size` to correct both."
            )
        if not 0 <= smoothing_sigma < math.inf:
            raise ValueError(f"`smoothing_sigma` is {smoothing_sigma}, but must be finite and at least 0.")
        if score not in SCORES:
            raise ValueError(f"`score` is {score!r}, but must be one of {', '.join(map(repr, SCORES))}.")
        if not 1 <= prompt_length <= context_length - 2:
            raise ValueError(f"`prompt_length` is {prompt_length}, but must be from 1 to {context_length - 2}.")
        super().__init__(image_processor)
        self.tokenizer = tokenizer
        self.smoothing_sigma = float(smoothing_sigma)
        self.score = score
        self.threshold = check_probability("threshold", threshold)
        self.pixel_threshold = check_probability("pixel_threshold", pixel_threshold)
        self.category_thresholds = check_thresholds("category_thresholds", category_thresholds)
        self.thresholds_mode = thresholds_mode
        self.other_thresholds = check_thresholds("other_thresholds", other_thresholds)
        self.keep_aspect, self.tile, self.overlap, self.patch_size = keep_aspect, tile, overlap, patch_size
        self.check_tiles()
        self.prompt_length = prompt_length
        self.context_length = context_length
        if white_level is not None and not 0 < white_level < math.inf:
            raise ValueError(f"`white_level` is {white_level}, but must be above 0 and finite.")
        self.white_level = white_level
        if not max_megapixels > 0:
            raise ValueError(f"`max_megapixels` is {max_megapixels}, but must be above 0.")
        self.max_megapixels = float(max_megapixels)
        self.thresholds_with_references = thresholds_with_references
        self.min_area = check_area(min_area)

    @classmethod
    def from_config(cls, config: FBCLIPConfig, tokenizer: PreTrainedTokenizerBase | None = None) -> "FBCLIPProcessor":
        r"""
        The processor that fits a model, with uncalibrated thresholds.

        Args:
            config ([`FBCLIPConfig`]): Has the image size, the smoothing, the prompt length and the text context.
            tokenizer (`PreTrainedTokenizerBase`, *optional*): CLIP's tokenizer.
        """
        return cls(
            tokenizer=tokenizer,
            image_size=config.image_size,
            patch_size=config.patch_size,
            smoothing_sigma=config.smoothing_sigma,
            prompt_length=config.prompt_length,
            context_length=config.clip_text.max_position_embeddings,
        )

    @property
    def image_size(self) -> Size:
        """Height and width in pixels that images are resized to."""
        return self.image_processor.size["height"], self.image_processor.size["width"]

    def check_tiles(self) -> None:
        r"""
        Raises:
            `ValueError`: `tile`, `overlap` and `patch_size` do not fit one another, or images are not resized.
        """
        _ = self.viewing.tiles
        if (self.tile is not None or self.keep_aspect) and not self.image_processor.do_resize:
            raise ValueError("`tile` and `keep_aspect` resize images, but `do_resize` is False.")

    def with_views(self, **settings: Any) -> "FBCLIPProcessor":
        r"""
        The same processor with another `tile`, `overlap`, `keep_aspect` or `patch_size`. A `tile` comes with the
        default overlap, unless it is given.

        Raises:
            `ValueError`: They do not fit one another.
        """
        other = copy.copy(self)
        settings = ({"overlap": None} if "tile" in settings else {}) | settings
        for name, value in settings.items():
            setattr(other, name, value)
        other.check_tiles()
        return other

    @property
    def viewing(self) -> Viewing:
        """How the model sees images of any size."""
        return Viewing(self.image_size, self.patch_size, self.keep_aspect, self.tile, self.overlap)

    def views(self, size: Size) -> list[View]:
        r"""
        What the model sees of an image: the whole of it and, if `tile` says so, its tiles. They lie evenly, the last
        ones at the image's edge, and none is padded. Beside tiles the whole image keeps its aspect.

        Args:
            size (`tuple[int, int]`): Height and width of the image in pixels.

        Returns:
            `list[View]`: The whole image first; each with its `box` (left, top, right, bottom) in the image and the
            `size` at which the model sees it. [`~FBCLIPProcessor.prepare_view`] makes the model's input of one.
        """
        return self.viewing.views(size)

    def mode(self, size: Size) -> str:
        """How the model sees an image of a height and width, in words; thresholds hold for one such mode."""
        return self.viewing.mode(size)

    def prepare_view(self, picture: Image.Image, view: View) -> Tensor:
        """The model's input for a view of an 8-bit RGB picture, `(channels, height, width)`."""
        left, top, right, bottom = view.box
        part = picture if picture.size == (right - left, bottom - top) else picture.crop(view.box)
        if not self.image_processor.do_resize:
            return torch.from_numpy(self._pixel_values(part, {}))
        return torch.from_numpy(self._pixel_values(self._resize(part, view.size), {}))

    def _resize(self, picture: Image.Image, size: Size, resample: int | None = None) -> Image.Image:
        """Here, because the image processor would first copy a large photograph several times."""
        if picture.size == size[::-1]:
            return picture
        return picture.resize(size[::-1], self.image_processor.resample if resample is None else resample)

    def __call__(  # type: ignore[override]
        self,
        images: ImageSource | Iterable[ImageSource] | None = None,
        masks: ImageSource | Iterable[ImageSource | None] | None = None,
        return_tensors: str | None = "pt",
        images_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        r"""
        Prepares images, masks or both. Of an image that is cut into tiles, it prepares the whole only; the pipeline
        takes the tiles too, and so do [`~FBCLIPProcessor.views`] and [`~FBCLIPProcessor.prepare_view`].

        Args:
            images (path, `bytes`, open file, base64 text, `PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or a list of
                them, *optional*): Images of any sizes, as [`load_rgb_image`] reads them. An array of four dimensions
                is a batch.
            masks (as `images`, *optional*): Ground truth, anomalous above 0, unknown where NaN or -100; `None` in the
                list for a normal image. See [`load_mask`]. They turn as the EXIF data of their images say. An array of
                three dimensions is a batch, unless the last one is a single channel.
            return_tensors (`str`, *optional*, defaults to `"pt"`): `"pt"` for PyTorch, `"np"` for NumPy, `None` for
                a list of arrays.
            images_kwargs (`dict`, *optional*), kwargs: Settings of the image processor, for this call: `do_resize`,
                `size` (one number or `{"height": …, "width": …}`), `resample`, `do_rescale`, `rescale_factor`,
                `do_normalize`, `image_mean`, `image_std`.

        Returns:
            [`BatchFeature`]: `pixel_values` of shape `(batch_size, 3, height, width)`, normalised, and `mask_labels`
            of shape `(batch_size, height, width)`, each 0, 1 or -100 if unknown. Both are float32, and present if
            their input is.

        Raises:
            `ValueError`: The numbers of images and masks differ or are 0, one of them cannot be read, or images that
                are not resized differ in size.
            `TypeError`: There is no such setting.
        """
        settings = _image_settings(kwargs | dict(images_kwargs or {}))
        own = _height_width("size", settings.pop("size")) if "size" in settings else None
        do_resize = settings.pop("do_resize", self.image_processor.do_resize)
        resample = settings.pop("resample", self.image_processor.resample)
        image_list = [] if images is None else _as_list(images, batch_dims=4)
        mask_list = [] if masks is None else _as_list(masks, batch_dims=3)
        if not image_list and not mask_list:
            raise ValueError("Nothing to prepare: pass one or more `images`, `masks` or both.")
        if images is not None and masks is not None and len(image_list) != len(mask_list):
            raise ValueError(
                f"Got {len(image_list)} images, but {len(mask_list)} masks; pass None as the mask of a normal image."
            )
        data: dict[str, Any] = {}
        wanted = own or (None if self.keep_aspect else self.image_size)
        sizes: list[Size | None] = [wanted if do_resize else None] * len(mask_list)
        if image_list:
            pictures = [self.read_image(image, f"images[{index}]") for index, image in enumerate(image_list)]
            if do_resize:
                pictures = [
                    self._resize(picture, own or self.viewing.whole_size((picture.height, picture.width)), resample)
                    for picture in pictures
                ]
            data["pixel_values"] = [self._pixel_values(picture, settings) for picture in pictures]
            sizes = [(picture.height, picture.width) for picture in pictures]
        if mask_list:
            masks_of_images = zip(mask_list, image_list or [None] * len(mask_list), sizes, strict=True)
            data["mask_labels"] = [
                self._mask_labels(f"masks[{index}]", *mask, do_resize) for index, mask in enumerate(masks_of_images)
            ]
        if return_tensors is not None:
            data = {name: _stacked(name, arrays) for name, arrays in data.items()}
        return BatchFeature(data, tensor_type=return_tensors)

    def read_image(self, image: ImageSource, name: str = "image") -> Image.Image:
        r"""
        Reads an image as [`load_rgb_image`] does, with the processor's `white_level` and `max_megapixels`.

        Raises:
            `ValueError`: It cannot be read; the message names it.
        """
        return load_rgb_image(image, name, self.white_level, self.max_megapixels)

    def _pixel_values(self, picture: Image.Image, settings: dict[str, Any]) -> np.ndarray:
        arguments = {"do_resize": False, "return_tensors": "np"} | settings
        pixels = self.image_processor(images=picture, **arguments)["pixel_values"][0]
        return pixels.astype(np.float32, copy=False)

    def _mask_labels(
        self, name: str, mask: ImageSource | None, photograph: ImageSource | None, size: Size | None, do_resize: bool
    ) -> np.ndarray:
        """The labels, of the size of the prepared image, if that is known."""
        if mask is None:
            if size is None:
                raise ValueError(f"{name} is None, which has no size of its own; pass its image or zeros.")
            return np.zeros(size, dtype=np.float32)
        pixels = read_mask(mask, name, photograph, self.max_megapixels).pixels
        if size is None and do_resize:
            size = self.viewing.whole_size((pixels.shape[0], pixels.shape[1]))
        if size is None or size == pixels.shape:
            return pixels.astype(np.float32)
        if not do_resize:
            raise ValueError(f"{name} has the size {pixels.shape}, but its image {size}, and `do_resize` is False.")
        return resize_mask(pixels, size)[0]

    def encode_prompts(self, normal: str, anomalous: str) -> Tensor:
        r"""
        Token ids of two prompts: start, placeholders for the learnable vectors, words, end, zeros.

        Args:
            normal (`str`): Describes a faultless image, such as `"object without defect."`.
            anomalous (`str`): Describes a faulty image, such as `"object with defect."`.

        Returns:
            `torch.LongTensor` of shape `(2, context_length)`: The model's `prompt_input_ids`.

        Raises:
            `ValueError`: There is no tokenizer, or a prompt is empty or longer than the context.
        """
        if self.tokenizer is None:
            raise ValueError(
                "This processor has no tokenizer, which prompts need; set `processor.tokenizer` to that of its CLIP, "
                "such as AutoTokenizer.from_pretrained('openai/clip-vit-large-patch14-336')."
            )
        prompts = (normal, anomalous)
        return torch.tensor(
            [encode_prompt(prompt, self.tokenizer, self.prompt_length, self.context_length) for prompt in prompts]
        )

    # The mixin takes all its sub-processors as mandatory. The tokenizer is optional, so it is saved and loaded here.

    @classmethod
    def get_attributes(cls) -> list[str]:
        """The mandatory sub-processors."""
        return ["image_processor"]

    def to_dict(self) -> dict[str, Any]:
        """All settings except the tokenizer's, which has its own files."""
        without_tokenizer = copy.copy(self)
        del without_tokenizer.tokenizer
        return ProcessorMixin.to_dict(without_tokenizer)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """As [`ProcessorMixin.save_pretrained`], and the tokenizer if there is one."""
        files = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        vars(self).pop("auto_map", None)  # belongs to the folder
        if self.tokenizer is not None:
            files += self.tokenizer.save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        return files

    @classmethod
    def _get_arguments_from_pretrained(  # type: ignore[override]
        cls, source: str | os.PathLike[str], *_: Any, **kwargs: Any
    ) -> list[Any]:
        hub = {name: kwargs[name] for name in HUB_ARGUMENTS if kwargs.get(name) is not None}
        # By name: the automatic choice is torchvision's, if it is installed, whose pixels differ.
        settings = _image_settings(cls._settings_of_loading(kwargs))
        if "size" in settings:
            if kwargs.get("image_size") is not None:
                raise ValueError("`size` and `image_size` are the same setting; pass one of them.")
            settings["size"] = dict(zip(("height", "width"), _height_width("size", settings["size"]), strict=True))
        image_processor = CLIPImageProcessorPil.from_pretrained(source, **hub, **settings)
        if cached_file(source, "tokenizer_config.json", _raise_exceptions_for_missing_entries=False, **hub) is None:
            return [image_processor, None]
        trust = kwargs.get("trust_remote_code")
        return [image_processor, AutoTokenizer.from_pretrained(source, trust_remote_code=trust, **hub)]

    @classmethod
    def _settings_of_loading(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Of the arguments of `from_pretrained`, those that must be settings of the image processor."""
        if "_from_pipeline" in given or given.get("return_unused_kwargs"):  # the others are for a model, or go back
            return {name: given[name] for name in IMAGE_SETTINGS if name in given}
        others = {*LOADING_ARGUMENTS, *signature(cls).parameters}
        return {name: value for name, value in given.items() if name not in others and not name.startswith("_")}


def _image_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(given) - set(IMAGE_SETTINGS)):
        raise TypeError(
            f"{', '.join(unknown)}: no setting of the image processor; it has {', '.join(IMAGE_SETTINGS)}."
        )
    return {name: value for name, value in given.items() if value is not None}


def _height_width(name: str, size: int | Mapping[str, int] | Size) -> Size:
    """From one number, a pair or a mapping as image processors have it."""
    try:
        if isinstance(size, Mapping):
            height, width = index(size["height"]), index(size["width"])
        else:
            height, width = map(index, np.broadcast_to(size, 2).tolist())
    except (KeyError, TypeError, ValueError):
        height, width = 0, 0
    if min(height, width) < 1:
        raise ValueError(f"`{name}` is {size}, but must be a number of pixels, or a height and a width, from 1 on.")
    return height, width


def _stacked(name: str, arrays: list[np.ndarray]) -> np.ndarray:
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise ValueError(f"`{name}` of the shapes {shapes} make no batch; resize, or pass `return_tensors=None`.")
    return np.stack(arrays)


def _resized(image_processor: CLIPImageProcessorPil | None, size: int | Size) -> CLIPImageProcessorPil:
    height, width = _height_width("image_size", size)
    settings = {} if image_processor is None else image_processor.to_dict()
    settings |= {"size": {"height": height, "width": width}, "do_center_crop": False}
    return CLIPImageProcessorPil(**settings)


def _as_list(values: Any, batch_dims: int) -> list[Any]:
    if isinstance(values, np.ndarray | Tensor):
        is_mask = batch_dims == values.ndim == 3 and values.shape[2] == 1  # with a channel
        return list(values) if values.ndim >= batch_dims and not is_mask else [values]
    is_one = isinstance(values, ImageSource) or is_table(values) or not isinstance(values, Iterable)
    return [values] if is_one else list(values)
