"""The event handlers of the page, and the endpoint `/detect`."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.utils import get_upload_folder

from modeling_fbclip.detection.rendering import map_to_png16

from .examiner import Examiner
from .models import Models
from .photos import Photo
from .sessions import Sessions, Tab
from .uploads import Uploads
from .views import View, message, show_many, show_one

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.jpg"))
LONGEST_SIDE = {Tab.ONE: 1024, Tab.MANY: 480}  # of a picture on the page, in pixels
PROGRESS = gr.Progress()  # Gradio replaces this default by the progress of the call

File = Mapping[str, Any]  # an upload, as Gradio describes it


class Settings(NamedTuple):
    """The inputs of the page beside the photographs: model, prompts and sliders, in the order that they are sent."""

    model: str
    normal: str
    anomalous: str
    fade: float
    threshold: float
    pixel_threshold: float


class Handlers:
    """Holds the models and the results of the open pages. The arguments `settings` are the values of [`Settings`]."""

    def __init__(self, models: Models, uploads: Uploads) -> None:
        self.models = models
        self.uploads = uploads
        self.examiner = Examiner(models)
        self.sessions = Sessions()

    def take_one(
        self, file: File | None, request: gr.Request, progress: gr.Progress = PROGRESS, *settings: Any
    ) -> tuple[None, str]:
        """A photograph was dropped or taken: empties the drop zone and shows the result."""
        return self._take(Tab.ONE, [file] if file else [], Settings(*settings), request, progress)

    def take_many(
        self, files: list[File] | None, request: gr.Request, progress: gr.Progress = PROGRESS, *settings: Any
    ) -> tuple[None, str]:
        """Several photographs were dropped."""
        return self._take(Tab.MANY, files or [], Settings(*settings), request, progress)

    def take_example(
        self, request: gr.Request, chosen: gr.SelectData, progress: gr.Progress = PROGRESS, *settings: Any
    ) -> str:
        """A sample photograph was chosen, by its index."""
        if chosen.index not in range(len(EXAMPLES)):
            return message(f"There is no sample photograph {chosen.index}.")
        example = EXAMPLES[chosen.index]
        photo = Photo(example.name, example.read_bytes())
        return self._examine(Tab.ONE, [photo], Settings(*settings), request, progress)

    def detect_again(self, request: gr.Request, progress: gr.Progress = PROGRESS, *settings: Any) -> list[str]:
        """The settings were changed: examines the photographs of both tabs again."""
        photos = {tab: [finding.photo for finding in self.sessions.get(request.session_hash, tab)] for tab in Tab}
        return [self._examine(tab, photos[tab], Settings(*settings), request, progress) for tab in Tab]

    def draw(self, request: gr.Request, *sliders: float) -> list[str]:
        """A slider was moved: draws both tabs again, without the model."""
        return [self._show(tab, View(*sliders), request) for tab in Tab]

    def load(self, model: str, progress: gr.Progress = PROGRESS) -> tuple[str, str, float, float]:
        """Another model was chosen: its own prompts and thresholds."""
        self._tell_loading(model, progress)
        try:
            return self.examiner.own_settings(model)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def detect(self, image: File) -> tuple[float, str, str]:
        """
        Score an image with the server's default model. Returns the score from 0 to 1, the label ("normal" or
        "anomalous") and the anomaly map, a 16-bit PNG of the image's size (65535 is 1).
        """
        try:
            with self.uploads.read([image] if image else []) as photos:
                if not photos:
                    raise ValueError("No image was sent.")
                model = self.models.names[0]
                result = self.examiner.result(self.examiner.open(photos[0], model), model)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        # Gradio deletes files of its own folder only after the client has had time to fetch them.
        with tempfile.NamedTemporaryFile(dir=get_upload_folder(), prefix="map-", suffix=".png", delete=False) as file:
            map_to_png16(result["anomaly_map"]).save(file, "PNG")
        return result["score"], result["label"], file.name

    def forget(self, request: gr.Request) -> None:
        """The page was closed."""
        self.sessions.forget(request.session_hash)

    def _tell_loading(self, model: str, progress: gr.Progress) -> None:
        if not self.models.is_loaded(model):
            progress(0, desc=f"Loading {model}")

    def _take(
        self, tab: Tab, files: list[File], settings: Settings, request: gr.Request, progress: gr.Progress
    ) -> tuple[None, str]:
        """Empties the drop zone and shows the results of its files, or what is wrong with the upload."""
        try:
            with self.uploads.read(files) as photos:
                return None, self._examine(tab, photos, settings, request, progress)
        except ValueError as error:
            return None, message(str(error))

    def _examine(
        self, tab: Tab, photos: Sequence[Photo], settings: Settings, request: gr.Request, progress: gr.Progress
    ) -> str:
        self._tell_loading(settings.model, progress)
        prompts = settings.normal, settings.anomalous
        findings = []
        for index, photo in enumerate(photos):
            if self.models.is_loaded(settings.model):
                progress((index, len(photos)), desc="Examining", unit="images")
            findings.append(self.examiner.find(photo, settings.model, prompts, LONGEST_SIDE[tab]))
        self.sessions.put(request.session_hash, tab, findings)
        return self._show(tab, View(*settings[3:]), request)

    def _show(self, tab: Tab, view: View, request: gr.Request) -> str:
        findings = self.sessions.get(request.session_hash, tab)
        return show_one(findings, view) if tab is Tab.ONE else show_many(findings, view)
