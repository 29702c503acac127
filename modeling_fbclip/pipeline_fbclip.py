"""The pipeline "zero-shot-anomaly-detection": images in, scores and anomaly maps out."""

import os
from collections.abc import Iterable, Sized
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Pipeline

from .files_fbclip import is_table
from .images_fbclip import IMAGE_SUFFIXES, ImageSource
from .mutual_fbclip import make_mutual
from .processing_fbclip import FBCLIPProcessor
from .references_fbclip import FBCLIPReferences
from .results_fbclip import one_output
from .view_batches_fbclip import Outputs, ViewBatches
from .views_fbclip import VIEW_SETTINGS


class ZeroShotAnomalyDetectionPipeline(Pipeline):
    r"""
    Finds how likely an image shows a defect, and where. The model need not be trained on the object.

    Args:
        model ([`FBCLIPModel`]): The model.
        processor ([`FBCLIPProcessor`]): Its processor. It is loaded with a model given as a folder or Hub id.
        threshold, pixel_threshold (`float` in `[0, 1]`, *optional*), min_area (`int`, *optional*): Replace the
            processor's, for every call.
        prompts (`tuple[str, str]`, *optional*): Replace the model's, for every call: what a faultless and what a
            faulty image shows. They need a processor with a tokenizer.
        references ([`FBCLIPReferences`], path of a folder with saved ones, list of good images, or `"mutual"`,
            *optional*): What images are compared with, beside the texts, for every call. `"mutual"`: the images of a
            list, or of a folder, judge one another. Defaults to those beside the model, if there are any.
        tile, overlap, keep_aspect (*optional*): Replace the processor's, for every call: large images are seen in
            tiles, see [`FBCLIPProcessor`]. The tiles of all images of a batch fill batches of that size.
        kwargs: Those of every [`Pipeline`]: `device`, `batch_size`, `num_workers` …

    Raises:
        `ValueError`: There is no processor, or its prompts have another length than the model's.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import modeling_fbclip  # registers the task

    >>> detect = pipeline("zero-shot-anomaly-detection", model="path/to/model")
    >>> result = detect("photo.jpg")
    >>> result["score"], result["label"], result["anomaly_map"].shape
    ```"""

    model: Any  # the base class knows no more than PreTrainedModel
    processor: FBCLIPProcessor

    _load_processor: Any = True  # `Any`, because the base class declares these as None
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("processor") is None:
            raise ValueError(
                "The pipeline needs the model's processor: pass `processor=FBCLIPProcessor.from_pretrained(...)`, or "
                "the model as a folder or Hub id."
            )
        model = args[0] if args else kwargs["model"]
        kwargs["processor"].patch_size = model.config.patch_size  # older files do not have it
        super().__init__(*args, **kwargs)
        ours, models = self.processor.prompt_length, self.model.config.prompt_length
        if ours != models:
            raise ValueError(f"The processor's `prompt_length` is {ours}, the model's {models}; load them together.")
        if "references" not in self._forward_params and (own := FBCLIPReferences.beside(self.model)) is not None:
            self._forward_params["references"] = self._references(own, self._processor({}))
        self.tokenizer = None  # otherwise the base class needs its padding token to batch images

    def __call__(self, inputs: ImageSource | Iterable[ImageSource], **kwargs: Any) -> Any:  # type: ignore[override]
        r"""
        Detects anomalies in one image or in many.

        Args:
            inputs (path, `bytes`, open file, base64 text, `PIL.Image.Image`, `np.ndarray`, `torch.Tensor`, or a list,
                data set column or iterator of them): Images, as [`load_rgb_image`] reads them. URLs are not fetched.
            threshold (`float` in `[0, 1]`, *optional*): An image is anomalous from this score on.
            pixel_threshold (`float` in `[0, 1]`, *optional*): A pixel is anomalous from this value on.
            min_area (`int`, *optional*): Regions of fewer pixels are left out.
            prompts (`tuple[str, str]`, *optional*): What a faultless and what a faulty image shows.
            references (*optional*): As for the pipeline. With `"mutual"`, `inputs` are a list of at least eight
                images, or the path of a folder of images.
            tile, overlap, keep_aspect (*optional*): As for the pipeline.
            batch_size (`int`, *optional*, defaults to 1): Number of images that the model sees at once.

        Returns:
            `dict`, `list[dict]` or iterator: Results of [`~FBCLIPProcessor.post_process_anomaly_detection`], each at
            its image's own size: one for a single image, a list for a list or a column, and an iterator for an
            iterator or a [`KeyDataset`], whose images are read as they are needed.

        Raises:
            `ValueError`: An image cannot be read (the message names it), or `prompts` are given without a tokenizer.
        """
        if kwargs.get("references", self._forward_params.get("references")) == "mutual":
            inputs = _as_images(inputs)
            views = {name: kwargs[name] for name in VIEW_SETTINGS if name in kwargs}
            kwargs["references"] = make_mutual(self.model, self._processor(views), inputs)
        kwargs["views_at_once"] = kwargs.get("batch_size") or self._batch_size or 1
        is_list = isinstance(inputs, list) and len(inputs) > 0
        if is_list or not isinstance(inputs, Iterable) or isinstance(inputs, ImageSource) or is_table(inputs):
            return super().__call__(inputs, **kwargs)
        # The base class takes only lists and generators for many inputs, so others become a generator.
        results = super().__call__((image for image in inputs), **kwargs)
        return list(results) if isinstance(inputs, Sized) else results

    def _sanitize_parameters(  # type: ignore[override]
        self,
        threshold: float | None = None,
        pixel_threshold: float | None = None,
        min_area: int | None = None,
        prompts: tuple[str, str] | None = None,
        references: Any = None,
        views_at_once: int | None = None,
        **views: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        finishing = {"threshold": threshold, "pixel_threshold": pixel_threshold, "min_area": min_area}
        processor = self._processor(views)
        own = {"processor": processor} if views else {}
        forward: dict[str, Any] = dict(own)
        if references is not None:
            forward["references"] = self._references(references, processor)
        if views_at_once is not None:
            forward["views_at_once"] = views_at_once
        if prompts is not None:
            if isinstance(prompts, str) or len(prompts) != 2:
                raise ValueError(f"`prompts` must be two texts, (normal, anomalous), but is {prompts!r}.")
            forward["prompt_input_ids"] = self.processor.encode_prompts(*prompts)
        return own, forward, own | {name: value for name, value in finishing.items() if value is not None}

    def _processor(self, views: dict[str, Any]) -> FBCLIPProcessor:
        """The processor with other settings of its views; TypeError if there is no such setting."""
        if unknown := sorted(set(views) - set(VIEW_SETTINGS)):
            raise TypeError(f"{', '.join(unknown)}: no setting of the pipeline.")
        processor: FBCLIPProcessor = getattr(self, "_preprocess_params", {}).get("processor", self.processor)
        if views.get("overlap") is not None and views.get("tile", processor.tile) is None:
            raise ValueError("`overlap` is for tiles; pass `tile` too.")
        return processor.with_views(**views) if views else processor

    def _references(self, given: Any, processor: FBCLIPProcessor) -> Any:
        """References of any kind that the user may give, made with this model; `"mutual"` waits for the images."""
        if given == "mutual":
            return given
        if isinstance(given, str | os.PathLike):
            given = FBCLIPReferences.from_pretrained(given)
        if not isinstance(given, FBCLIPReferences):
            return FBCLIPReferences.from_images(self.model, processor, given)
        given.check(self.model, processor)
        return given

    def preprocess(self, image: ImageSource, processor: FBCLIPProcessor | None = None) -> dict[str, Any]:  # type: ignore[override]
        """Pixels of one image for the model, the image's own size, and the picture if it will be cut into tiles."""
        processor = processor or self.processor
        picture = processor.read_image(image)
        size = picture.height, picture.width
        whole, *tiles = processor.views(size)
        # Lists, because the base class takes tuples apart, and puts tensors together.
        return {
            "pixel_values": [processor.prepare_view(picture, whole).to(self.dtype)],
            "pictures": [picture if tiles else None],
            "target_sizes": [size],
        }

    def _forward(  # type: ignore[override]
        self,
        model_inputs: dict[str, Any],
        prompt_input_ids: Tensor | None = None,
        references: FBCLIPReferences | None = None,
        processor: FBCLIPProcessor | None = None,
        views_at_once: int = 1,
    ) -> dict[str, Any]:
        processor, sizes = processor or self.processor, model_inputs["target_sizes"]
        if prompt_input_ids is not None:
            prompt_input_ids = prompt_input_ids.to(self.device)
        if isinstance(sizes[0], tuple):  # a single image
            found = self._run(model_inputs, prompt_input_ids, references, processor, views_at_once)
            return {"views": found, "target_sizes": sizes}
        images = {name: list(chain.from_iterable(values)) for name, values in model_inputs.items()}
        found = self._run(images, prompt_input_ids, references, processor, views_at_once)
        return {"views": [[views] for views in found], "target_sizes": sizes}  # the base class takes a batch apart

    def _run(
        self,
        images: dict[str, list[Any]],
        prompt_input_ids: Tensor | None,
        references: FBCLIPReferences | None,
        processor: FBCLIPProcessor,
        views_at_once: int,
    ) -> list[list[Outputs]]:
        """The outputs for all views of each image."""
        plans = [processor.views(size) for size in images["target_sizes"]]
        if references is not None:
            for plan in plans:
                references.check_views(plan, self.model.config.patch_size)

        def run(batch: list[tuple[int, int]]) -> list[Outputs]:
            inputs = [
                processor.prepare_view(images["pictures"][image], plans[image][place]).to(self.device, self.dtype)
                if place
                else images["pixel_values"][image]
                for image, place in batch
            ]
            outputs = self.model(
                pixel_values=torch.stack(inputs),
                prompt_input_ids=prompt_input_ids,
                references=None if references is None else references.at([place for _, place in batch]),
            )
            return [one_output(outputs, index) for index in range(len(batch))]

        return list(ViewBatches(run, views_at_once)(enumerate(plans)))

    def postprocess(  # type: ignore[override]
        self, model_outputs: dict[str, Any], processor: FBCLIPProcessor | None = None, **finishing: Any
    ) -> dict[str, Any]:
        """The result of one image, at its own size."""
        (views,), (size,) = model_outputs["views"], model_outputs["target_sizes"]
        return (processor or self.processor).post_process_views(views, size, **finishing)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Saves model, processor and code, so that `pipeline(..., trust_remote_code=True)` loads the folder."""
        super().save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)


def _as_images(inputs: Any) -> list[Any]:
    """The images of a list, or of a folder by their suffixes."""
    if isinstance(inputs, str | os.PathLike) and Path(inputs).is_dir():
        return sorted(str(path) for path in Path(inputs).iterdir() if path.name.lower().endswith(IMAGE_SUFFIXES))
    if isinstance(inputs, ImageSource) or not isinstance(inputs, Sized):
        raise ValueError('`references="mutual"` needs a list of images, or a folder of them.')
    return list(inputs)  # type: ignore[call-overload]
