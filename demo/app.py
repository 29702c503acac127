"""The page: its parts, and which event calls what."""

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from .handlers import EXAMPLES, Handlers
from .models import Models
from .photos import MAX_BYTES, MAX_FILES, MAX_PIXELS
from .uploads import ABANDONED_SECONDS, Uploads, fetch_no_links
from .views import View, colour_scale, show_many, show_one

INTRODUCTION = """# FB-CLIP: is something wrong in this image, and where?
Zero-shot anomaly detection: no defect has to be shown to it first. Images are not kept: a file goes when it has been
examined, what is shown when you close the page."""
BOUNDS = f"Up to {MAX_BYTES / 1e6:.0f} MB and {MAX_PIXELS / 1e6:.0f} megapixels"
FILE_TYPES = ["image", *(f".{name}" for name in ("tif", "tiff", "jp2", "avif"))]
# One at a time goes through a model, which takes all cores or the GPU as it is.
MODEL_EVENT: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}


def build_app(models: Models, uploads: Uploads) -> gr.Blocks:
    """
    The page on `models`; the default one is loaded.

    Raises:
        ValueError: if that cannot be loaded.
    """
    handlers = Handlers(models, uploads)
    with gr.Blocks(
        title="FB-CLIP", analytics_enabled=False, delete_cache=(10, ABANDONED_SECONDS), fill_width=False
    ) as app:
        gr.Markdown(INTRODUCTION)
        with gr.Tabs():
            photo, examples, one = _one_tab()
            files, many = _many_tab()
        gr.HTML(colour_scale())
        sliders = _sliders(handlers)
        settings, again, loaded = _settings(handlers, sliders[1:])

        everything = [*settings, *sliders]
        raw = {"preprocess": False} | MODEL_EVENT  # `Uploads` reads files itself
        photo.input(handlers.take_one, [photo, *everything], [photo, one], **raw)
        examples.select(handlers.take_example, everything, one, **MODEL_EVENT)
        files.upload(handlers.take_many, [files, *everything], [files, many], **raw)
        gr.on(
            [slider.input for slider in sliders],
            handlers.draw,
            sliders,
            [one, many],
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
        for anew in (partial(gr.on, again), loaded.success):
            anew(handlers.detect_again, everything, [one, many], **MODEL_EVENT)
        app.unload(handlers.forget)
        _endpoint(handlers)
    uploads.keep(app)
    fetch_no_links(app)
    return app.queue(max_size=64)


def _one_tab() -> tuple[gr.Image, gr.Gallery, gr.HTML]:
    """Drop zone, samples and result of a single photograph."""
    with gr.Tab("One image"), gr.Row():
        with gr.Column():
            photo = gr.Image(
                label="Photograph",
                sources=["upload", "webcam", "clipboard"],
                height=280,
                placeholder=f"Drop an image here, or click to choose one\n{BOUNDS}",
                elem_id="photo",
            )
            examples = gr.Gallery(
                [(path, path.stem.replace("_", " ")) for path in EXAMPLES],
                label="Sample photographs",
                columns=4,
                height=260,
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id="examples",
            )
        with gr.Column():
            return photo, examples, gr.HTML(show_one([], View(0, 0, 0)), elem_id="one")


def _many_tab() -> tuple[gr.File, gr.HTML]:
    """Drop zone and results of several photographs."""
    with gr.Tab("Several images"):
        files = gr.File(
            label=f"At most {MAX_FILES} images. {BOUNDS} each",
            file_count="multiple",
            file_types=FILE_TYPES,
            height=160,
            elem_id="files",
        )
        return files, gr.HTML(show_many([], View(0, 0, 0)), elem_id="many")


def _sliders(handlers: Handlers) -> list[gr.Slider]:
    """Fade, decision threshold, contour threshold; as the default model has them."""
    *_, threshold, pixel_threshold = handlers.examiner.own_settings(handlers.models.names[0])
    with gr.Row():
        return [
            gr.Slider(0, 1, 0.5, step=0.01, label="Heatmap over the image", elem_id="fade"),
            gr.Slider(0, 1, threshold, step=0.001, label="Decision: anomalous from this score", elem_id="threshold"),
            gr.Slider(
                0, 1, pixel_threshold, step=0.001, label="Contour: pixels from this value on", elem_id="contour"
            ),
        ]


def _settings(
    handlers: Handlers, thresholds: list[gr.Slider]
) -> tuple[list[Component], list[Callable[..., Dependency]], Dependency]:
    """The model and the two prompts; the events after which images are to be examined anew, and a model's load."""
    names = handlers.models.names
    normal, anomalous, *_ = handlers.examiner.own_settings(names[0])
    with gr.Accordion("Model and prompts", open=False):
        model = gr.Dropdown(
            names,
            value=names[0],
            label="Model",
            info="One of the list, or type the Hub id of a public FB-CLIP, such as owner/name.",
            allow_custom_value=True,
            elem_id="model",
        )
        with gr.Row():
            texts = [
                gr.Textbox(normal, label="A faultless image shows …", max_length=300, elem_id="normal"),
                gr.Textbox(anomalous, label="A faulty image shows …", max_length=300, elem_id="anomalous"),
            ]
        apply = gr.Button("Examine again with these", elem_id="apply")
    loaded = model.input(handlers.load, model, [*texts, *thresholds], **MODEL_EVENT)
    return [model, *texts], [apply.click, *(text.submit for text in texts)], loaded


def _endpoint(handlers: Handlers) -> None:
    """`/detect`, for programs; its parts are no part of the page."""
    with gr.Row(visible=False):
        image = gr.Image(label="image", type="filepath")
        answer = [gr.Number(label="score"), gr.Textbox(label="label"), gr.File(label="map")]
        gr.Button().click(
            handlers.detect,
            image,
            answer,
            api_name="detect",
            preprocess=False,
            concurrency_limit=1,
            concurrency_id="model",
        )
