"""The page: its components, and the handler of each event."""

from typing import Any

import gradio as gr
from gradio.components import Component

from .handlers import EXAMPLES, Handlers
from .models import Models
from .photos import MAX_BYTES, MAX_FILES, MAX_PIXELS
from .uploads import ABANDONED_SECONDS, Uploads, refuse_links
from .views import View, colour_scale, show_many, show_one

INTRODUCTION = """# FB-CLIP: is something wrong in this image, and where?
Zero-shot anomaly detection: it needs no examples of defects. Images are not kept: a file is deleted when
it has been examined, and its result when you close the page."""
BOUNDS = f"Up to {MAX_BYTES / 1e6:.0f} MB and {MAX_PIXELS / 1e6:.0f} megapixels"
FILE_TYPES = ["image", ".tif", ".tiff", ".jp2", ".avif"]
# One event at a time runs a model, because a run takes all cores or the whole GPU.
ENDPOINT_EVENT: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
MODEL_EVENT = ENDPOINT_EVENT | {"api_visibility": "private"}


def build_app(models: Models, uploads: Uploads) -> gr.Blocks:
    """
    The page for `models`. The default model is loaded.

    Raises:
        ValueError: if the default model cannot be loaded.
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
        sliders, settings, triggers = _settings(handlers)
        both = [one, many]
        # Without `preprocess`, Gradio leaves the reading of files to `Uploads`.
        photo.input(handlers.take_one, [photo, *settings], [photo, one], preprocess=False, **MODEL_EVENT)
        examples.select(handlers.take_example, settings, one, **MODEL_EVENT)
        files.upload(handlers.take_many, [files, *settings], [files, many], preprocess=False, **MODEL_EVENT)
        gr.on(
            [slider.input for slider in sliders],
            handlers.draw,
            sliders,
            both,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
        for trigger in triggers:
            trigger(handlers.detect_again, settings, both, **MODEL_EVENT)
        app.unload(handlers.forget)
        _endpoint(handlers)
    uploads.keep(app)
    refuse_links(app)
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


def _settings(handlers: Handlers) -> tuple[list[gr.Slider], list[Component], list[Any]]:
    """The sliders; all inputs of `handlers.Settings`; the events that examine the images again."""
    names = handlers.models.names
    normal, anomalous, threshold, pixel_threshold = handlers.examiner.own_settings(names[0])
    with gr.Row():
        sliders = [
            gr.Slider(0, 1, 0.5, step=0.01, label="Heatmap over the image", elem_id="fade"),
            gr.Slider(0, 1, threshold, step=0.001, label="Decision: anomalous from this score", elem_id="threshold"),
            gr.Slider(
                0, 1, pixel_threshold, step=0.001, label="Contour: pixels from this value on", elem_id="contour"
            ),
        ]
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
    loaded = model.input(handlers.load, model, [*texts, *sliders[1:]], **MODEL_EVENT)
    triggers = [apply.click, *(text.submit for text in texts), loaded.success]
    return sliders, [model, *texts, *sliders], triggers


def _endpoint(handlers: Handlers) -> None:
    """`/detect`, for programs. Its components are hidden."""
    with gr.Row(visible=False):
        image = gr.Image(label="image", type="filepath")
        answer = [gr.Number(label="score"), gr.Textbox(label="label"), gr.File(label="map")]
        gr.Button().click(handlers.detect, image, answer, api_name="detect", preprocess=False, **ENDPOINT_EVENT)
