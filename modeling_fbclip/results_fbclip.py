"""What a processor makes of the model's outputs: score, decision, map and mask of each image."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .maps_fbclip import resize_maps, smooth_maps
from .regions_fbclip import check_area, find_regions
from .thresholds_fbclip import ThresholdsMixin, check_probability
from .tiles_fbclip import join_views
from .views_fbclip import Size, Viewing

TOP_SHARE = 0.01  # of the pixels; their mean is the score "map_top1"
SCORES = ("cls", "map_max", "map_top1")
OUTPUTS = ("image_scores", "anomaly_maps", "reference_scores", "reference_maps")


class ResultsMixin(ThresholdsMixin):
    """The post-processing of [`FBCLIPProcessor`]."""

    score: str
    smoothing_sigma: float
    min_area: int

    @property
    def viewing(self) -> Viewing:
        """How the model sees images of any size."""
        raise NotImplementedError

    def post_process_anomaly_detection(
        self,
        outputs: Mapping[str, Tensor],
        target_sizes: Iterable[Size] | Tensor | None = None,
        threshold: float | None = None,
        pixel_threshold: float | None = None,
        min_area: int | None = None,
    ) -> list[dict[str, Any]]:
        r"""
        Turns the model's outputs into one result an image. As in the paper's evaluation, the map is upsampled
        bilinearly to `image_size` and smoothed by a Gaussian. Then it is resized bilinearly to the image's own size.

        Args:
            outputs ([`FBCLIPOutput`] or mapping): Has `image_scores` of shape `(batch_size,)` and `anomaly_maps` of
                shape `(batch_size, grid_height, grid_width)`, of any floating-point type, on any device.
            target_sizes (`list[tuple[int, int]]` or `torch.Tensor` of shape `(batch_size, 2)`, *optional*): Height and
                width of each image in pixels. Defaults to `image_size` for all.
            threshold, pixel_threshold (`float` in `[0, 1]`, *optional*): Default to the processor's for the
                [`~FBCLIPProcessor.mode`] of an image that is not cut; to 0.5 if these were set with references and the
                outputs are without, or the reverse.
            min_area (`int`, *optional*): Connected areas of fewer pixels are left out of regions and mask; the score,
                the label and the map stay as they are. Defaults to the processor's.

        Returns:
            `list[dict]`: For each image `score` (`float` in `[0, 1]`), `label` (`"anomalous"` if the score is at least
            `threshold`, else `"normal"`), `anomaly_map` (float32 tensor of shape `(height, width)` in `[0, 1]`) and
            `mask` (boolean tensor of that shape, true from `pixel_threshold` on), on the CPU; and `regions`, the
            connected areas of the mask, as [`find_regions`] gives them.

        Raises:
            `ValueError`: There is not one size an image, a threshold or an area is out of range, or an output is not
                finite.
        """
        maps = outputs["anomaly_maps"]
        sizes = _target_sizes(target_sizes, len(maps), self._input_size(maps))
        return [
            self.post_process_views([one_output(outputs, index)], size, threshold, pixel_threshold, min_area)
            for index, size in enumerate(sizes)
        ]

    def post_process_views(
        self,
        outputs: Sequence[Mapping[str, Tensor]],
        size: Size,
        threshold: float | None = None,
        pixel_threshold: float | None = None,
        min_area: int | None = None,
    ) -> dict[str, Any]:
        r"""
        As [`~FBCLIPProcessor.post_process_anomaly_detection`], for the views of one image. The maps of its tiles are
        merged with weights that fall to 0.01 at their edges. The map of the image is the larger of this and of the
        whole image's map, smoothed once; its score is the largest of all views'.

        Args:
            outputs (`list` of [`FBCLIPOutput`] or mapping): Of each of the image's [`~FBCLIPProcessor.views`], of
                batch size 1; or of the whole image only.
            size (`tuple[int, int]`): Height and width of the image in pixels.
            threshold, pixel_threshold (`float` in `[0, 1]`, *optional*): Default to the processor's for the image's
                [`~FBCLIPProcessor.mode`].
            min_area (`int`, *optional*): As there.

        Returns:
            `dict`: The result of the image.
        """
        given = {"threshold": threshold, "pixel_threshold": pixel_threshold}
        chosen = {name: check_probability(name, value) for name, value in given.items() if value is not None}
        if len(chosen) < len(given):
            chosen = self.general_thresholds(_has_references(outputs[0]), self.mode_of(outputs, size)) | chosen
        min_area = self.min_area if min_area is None else check_area(min_area)
        score, anomaly_map = self.score_and_map(outputs, size)
        mask = anomaly_map >= chosen["pixel_threshold"]
        regions, large = find_regions(anomaly_map.numpy(), mask.numpy(), min_area)
        return {
            "score": score,
            "label": "anomalous" if score >= chosen["threshold"] else "normal",
            "anomaly_map": anomaly_map,
            "mask": torch.from_numpy(large),
            "regions": regions,
        }

    def mode_of(self, outputs: Sequence[Mapping[str, Tensor]], size: Size) -> str:
        """The [`~FBCLIPProcessor.mode`] that the outputs of an image's views come from."""
        return self.viewing.mode(size) if len(outputs) > 1 else self.viewing.whole_mode()

    def score_and_map(self, outputs: Sequence[Mapping[str, Tensor]], size: Size) -> tuple[float, Tensor]:
        """The score of one image and its map, `(height, width)`, from the outputs of its views."""
        if len(outputs) > 1:
            return self.score_of_views(outputs, size), self.map_of_views(outputs, size)
        smoothed = self._smoothed_maps(outputs[0], self.viewing.whole_size(size))  # once for both
        return self._scores(outputs[0], lambda: smoothed).item(), resize_maps(smoothed, size)[0].clamp_(0, 1)

    def map_of_views(self, outputs: Sequence[Mapping[str, Tensor]], size: Size) -> Tensor:
        """The map alone, as [`~FBCLIPProcessor.score_and_map`] gives it."""
        if len(outputs) == 1:
            return self.score_and_map(outputs, size)[1]
        tiling = self.viewing.tiling(size)
        whole, *tiles = [finite(output["anomaly_maps"])[0] for output in outputs]
        if tiling is None or len(tiles) != tiling.num_tiles:
            raise ValueError(f"Got the outputs of {len(outputs)} views, but an image of {size} has others.")
        return join_views(whole, tiles, tiling, size, self.smoothing_sigma * self.viewing.tiles.factor).clamp_(0, 1)

    def score_of_views(self, outputs: Sequence[Mapping[str, Tensor]], size: Size) -> float:
        """The score alone, the largest of the views'."""
        sizes = [self.viewing.whole_size(size)]
        if len(outputs) > 1:
            sizes = [view.size for view in self.viewing.views(size)]
        scores = [self._image_scores(output, seen) for output, seen in zip(outputs, sizes, strict=True)]
        return max(score.item() for score in scores)

    def image_scores(self, outputs: Mapping[str, Tensor]) -> Tensor:
        r"""
        The score of each image, of the kind `score`, with references the joint one: of shape `(batch_size,)`, in
        `[0, 1]`, on the CPU. `outputs` and errors are those of [`~FBCLIPProcessor.post_process_anomaly_detection`].
        """
        return self._image_scores(outputs, self._input_size(outputs["anomaly_maps"]))

    def _input_size(self, maps: Tensor) -> Size:
        """The size at which the model saw the images of maps."""
        height, width, patch = *maps.shape[1:], self.viewing.patch_size
        return (height * patch, width * patch) if self.viewing.keep_aspect else self.viewing.image_size

    def _smoothed_maps(self, outputs: Mapping[str, Tensor], size: Size) -> Tensor:
        maps = finite(outputs["anomaly_maps"])  # (B, grid_height, grid_width)
        return smooth_maps(resize_maps(maps, size), self.smoothing_sigma).clamp(0, 1)

    def _image_scores(self, outputs: Mapping[str, Tensor], size: Size) -> Tensor:
        return self._scores(outputs, lambda: self._smoothed_maps(outputs, size))

    def _scores(self, outputs: Mapping[str, Tensor], smoothed_maps: Callable[[], Tensor]) -> Tensor:
        """Scores of outputs, from their smoothed maps if the kind of score needs them."""
        if self.score == "cls" or _has_references(outputs):
            return finite(outputs["image_scores"])
        pixels = smoothed_maps().flatten(1)
        if self.score == "map_max":
            return pixels.amax(dim=1)
        return pixels.topk(math.ceil(TOP_SHARE * pixels.shape[1])).values.mean(dim=1)


def one_output(outputs: Mapping[str, Any], index: int) -> dict[str, Tensor]:
    """The outputs for one image, or one view, of a batch; a batch of it alone."""
    return {name: outputs[name][index : index + 1] for name in OUTPUTS if outputs.get(name) is not None}


def _has_references(outputs: Mapping[str, Tensor]) -> bool:
    return outputs.get("reference_scores") is not None


def finite(output: Tensor) -> Tensor:
    """An output of the model in float32 on the CPU; ValueError if it is not finite."""
    values = output.detach().float().cpu()
    if not values.isfinite().all():
        raise ValueError("The model's outputs are not finite; try a wider dtype, such as float32.")
    return values


def _target_sizes(target_sizes: Iterable[Size] | Tensor | None, count: int, default: Size) -> list[Size]:
    if target_sizes is None:
        return [default] * count
    sizes = target_sizes.tolist() if isinstance(target_sizes, Tensor) else list(target_sizes)
    if len(sizes) != count:
        raise ValueError(f"`target_sizes` has {len(sizes)} entries, but there are {count} images.")
    if wrong := [size for size in sizes if len(size) != 2 or min(size) < 1]:
        raise ValueError(f"`target_sizes` has {wrong[0]}, but each must be (height, width) in pixels.")
    return [(int(height), int(width)) for height, width in sizes]
