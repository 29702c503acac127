"""The page: its components, and the handler of each event."""

import json
from typing import Any, NamedTuple

import gradio as gr

from .endpoint import DOCUMENTATION, add_endpoint
from .guard import refuse_links, tell_wrong_values
from .handlers import EXAMPLES, Handlers
from .photos import MAX_BYTES, MAX_FILES, MAX_PIXELS
from .sessions import MAX_SECONDS, Tab
from .settings import MAX_PROMPT
from .views import colour_scale, hint, samples

INTRODUCTION = f"""# FB-CLIP: is something wrong in this image, and where?
Zero-shot anomaly detection: it needs no examples of defects. Images are not kept: a file is deleted as soon as it has
been read, and what the page remembers when you close it, or after {MAX_SECONDS // 60} minutes."""
BOUNDS = f"Up to {MAX_BYTES / 1e6:.0f} MB and {MAX_PIXELS / 1e6:.0f} megapixels"
FILE_TYPES = ["image", ".tif", ".tiff", ".jp2", ".avif"]
MAX_WAITING = 128  # events
# A click on a sample photograph, told with its index.
CHOOSE = """element.addEventListener("click", event => {
  const sample = event.target.closest("button");
  if (sample) trigger("select", {index: Number(sample.dataset.index), value: sample.textContent.trim()});
});"""
# The documentation, with the address that the page was opened at.
OWN_ADDRESS = f"() => {json.dumps(DOCUMENTATION)}.replaceAll('{{url}}', location.origin + location.pathname)"
# One event at a time runs a model, because a run takes all cores or the whole GPU.
MODEL_EVENT: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "preprocess": False}
PRIVATE: dict[str, Any] = {"preprocess": False, "api_visibility": "private"}
EXAMINE: dict[str, Any] = PRIVATE | MODEL_EVENT | {"show_progress": "hidden", "trigger_mode": "multiple"}
# Files are received at once and each time, so that the newest counts.
RECEIVE: dict[str, Any] = PRIVATE | {"queue": False, "show_progress": "hidden", "trigger_mode": "multiple"}


class Fields(NamedTuple):
    """What visitors set."""

    thresholds: list[gr.Slider]
    model: gr.Dropdown
    told: gr.HTML  # beside the model
    prompts: list[gr.Textbox]
    second: gr.Dropdown
    second_prompts: list[gr.Textbox]
    buttons: list[gr.Button]  # that examine again


def build_app(handlers: Handlers) -> gr.Blocks:
    """The page for the models of `handlers`. The default model is loaded."""
    with gr.Blocks(title="FB-CLIP", analytics_enabled=False, fill_width=False) as app:
        gr.Markdown(INTRODUCTION)
        with gr.Tabs():
            photo, examples, one, good, alone, compared = _one_tab()
            files, mutual, many = _many_tab()
        fields = _fields(handlers)
        tiles = gr.Checkbox(
            label="See large images in tiles too: finds smaller defects, and takes longer", elem_id="tiles"
        )
        with gr.Accordion("For programs", open=False):
            documentation = gr.Markdown(DOCUMENTATION.format(url="http://127.0.0.1:7860"))
        settings: list[Any] = [fields.model, *fields.prompts, fields.second, *fields.second_prompts, tiles, mutual]
        received = [
            photo.input(handlers.receive_one, photo, [photo, one], **RECEIVE),
            examples.select(handlers.receive_example, None, one, **RECEIVE),
        ]
        for event in received:
            event.then(handlers.examine_one, settings, one, **EXAMINE)
        files.upload(handlers.receive_many, files, [files, many], **RECEIVE).then(
            handlers.examine_many, settings, many, **EXAMINE
        )
        answer = [good, compared, alone, *fields.thresholds]
        changed = [
            good.upload(handlers.receive_references, [good, fields.model], answer, **RECEIVE),
            alone.click(handlers.forget_references, fields.model, answer, **RECEIVE),
        ]
        loaded = fields.model.input(
            handlers.load,
            fields.model,
            [fields.told, fields.model, *fields.prompts, *fields.thresholds],
            concurrency_limit=4,
            show_progress="hidden",
            **PRIVATE,
        )
        triggers: list[Any] = [button.click for button in fields.buttons]
        triggers += [text.submit for text in (*fields.prompts, *fields.second_prompts)]
        triggers += [event.then for event in (*changed, loaded)] + [fields.second.input, tiles.input, mutual.input]
        for trigger in triggers:
            trigger(handlers.examine_one, settings, one, **EXAMINE)
            trigger(handlers.examine_many, settings, many, **EXAMINE)
        app.load(None, None, documentation, js=OWN_ADDRESS)
        app.unload(handlers.forget)
        add_endpoint(handlers.examiner, handlers.uploads, **MODEL_EVENT)
    refuse_links(app)
    tell_wrong_values(app)
    return app.queue(max_size=MAX_WAITING)


def _one_tab() -> tuple[gr.Image, gr.HTML, gr.HTML, gr.File, gr.Button, gr.HTML]:
    """Drop zone, samples and result of a single photograph; drop zone of good images, and what is said of them."""
    with gr.Tab("One image"), gr.Row():
        with gr.Column():
            photo = gr.Image(
                label="Photograph",
                sources=["upload", "webcam", "clipboard"],
                height=200,
                placeholder=f"Drop an image here, or click to choose one\n{BOUNDS}",
                elem_id="photo",
            )
            examples = gr.HTML(samples(EXAMPLES), js_on_load=CHOOSE, elem_id="examples")
            good = gr.File(
                label=f"Good images of the same product to compare with: 1 to {MAX_FILES}",
                file_count="multiple",
                file_types=FILE_TYPES,
                height=150,
                elem_id="good",
            )
            compared = gr.HTML(elem_id="compared")
            alone = gr.Button("Remove the good images", visible=False, elem_id="alone")
        with gr.Column():
            return photo, examples, gr.HTML(hint(Tab.ONE), elem_id="one"), good, alone, compared


def _many_tab() -> tuple[gr.File, gr.Checkbox, gr.HTML]:
    """Drop zone and results of several photographs."""
    with gr.Tab("Several images"):
        files = gr.File(
            label=f"At most {MAX_FILES} images. {BOUNDS} each",
            file_count="multiple",
            file_types=FILE_TYPES,
            height=160,
            elem_id="files",
        )
        mutual = gr.Checkbox(
            label="Compare the images with one another (eight or more of one product, most of them good)",
            elem_id="mutual",
        )
        return files, mutual, gr.HTML(hint(Tab.MANY), elem_id="many")


def _fields(handlers: Handlers) -> Fields:
    """The sliders, and the fields for models and prompts."""
    models, examiner = handlers.models, handlers.examiner
    normal, anomalous, threshold, pixel_threshold = examiner.own_settings(models.names[0])
    gr.HTML(colour_scale())
    with gr.Row():
        _, *thresholds = [
            gr.Slider(0, 1, value, step=step, label=label, elem_id=name, interactive=True)
            for value, step, label, name in (
                (0.6, 0.01, "Heatmap over the image", "fade"),
                (threshold, 0.001, "Decision: anomalous from this score", "threshold"),
                (pixel_threshold, 0.001, "Contour: pixels from this value", "contour"),
            )
        ]
    with gr.Accordion("Model and prompts", open=False):
        hub = " Or type the Hub id of a public FB-CLIP, such as owner/name." if models.allow_hub else ""
        model = gr.Dropdown(
            models.names,
            value=models.names[0],
            label="Model",
            info=f"Its thresholds belong to its own prompts.{hub}",
            allow_custom_value=models.allow_hub,
            elem_id="model",
        )
        told = gr.HTML(elem_id="told")
        prompts = _prompts("", normal, anomalous)
        apply = gr.Button("Examine again with these", elem_id="apply")
    with gr.Accordion("Beside it: another model, or other prompts", open=False):
        none: list[Any] = [("none", "")]
        second = gr.Dropdown(none + models.names, value="", label="Second model", elem_id="second-model")
        second_prompts = _prompts("second-", "", "")
        both = gr.Button("Show both", elem_id="both")
    return Fields(thresholds, model, told, prompts, second, second_prompts, [apply, both])


def _prompts(prefix: str, normal: str, anomalous: str) -> list[gr.Textbox]:
    own = "Empty: the model's own"
    with gr.Row():
        return [
            gr.Textbox(text, label=label, placeholder=own, max_length=MAX_PROMPT, elem_id=f"{prefix}{name}")
            for text, label, name in (
                (normal, "A faultless image shows …", "normal"),
                (anomalous, "A faulty image shows …", "anomalous"),
            )
        ]
