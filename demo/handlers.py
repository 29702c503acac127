"""What happens on each event of the page, and at `/detect`."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from modeling_fbclip.detection.rendering import map_to_png16

from .examiner import Examiner, Finding
from .models import Models
from .photos import Photo, decode
from .sessions import Sessions, Tab
from .uploads import Uploads
from .views import View, message, show_many, show_one

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.jpg"))
# The longest side in pixels of what is shown.
LONGEST_SIDE = {Tab.ONE: 1024, Tab.MANY: 480}
PROGRESS = gr.Progress()  # where it is an argument's default, Gradio gives the call one of its own

File = Mapping[str, Any]  # as Gradio describes an upload


class Handlers:
    """
    Holds the models, and what open pages show. Arguments `model`, `normal` and `anomalous` are the settings of the
    page; `fade`, `threshold` and `pixel_threshold` its sliders.
    """

    def __init__(self, models: Models, uploads: Uploads) -> None:
        self.models = models
        self.uploads = uploads
        self.examiner = Examiner(models)
        self.sessions = Sessions()

    def take_one(
        self,
        file: File | None,
        model: str,
        normal: str,
        anomalous: str,
        fade: float,
        threshold: float,
        pixel_threshold: float,
        request: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> tuple[None, str]:
        """A photograph was dropped or taken: empties the drop zone and shows the result."""
        view = View(fade, threshold, pixel_threshold)
        return self._take(Tab.ONE, [file] if file else [], (model, normal, anomalous), view, request, progress)

    def take_example(
        self,
        model: str,
        normal: str,
        anomalous: str,
        fade: float,
        threshold: float,
        pixel_threshold: float,
        request: gr.Request,
        chosen: gr.SelectData,
        progress: gr.Progress = PROGRESS,
    ) -> str:
        """A sample photograph was chosen, by its place in the list."""
        if chosen.index not in range(len(EXAMPLES)):
            return message(f"There is no sample photograph {chosen.index}.")
        example = EXAMPLES[chosen.index]
        photo = Photo(example.name, example.read_bytes())
        self._find(Tab.ONE, [photo], (model, normal, anomalous), request, progress)
        return self._show(Tab.ONE, View(fade, threshold, pixel_threshold), request)

    def take_many(
        self,
        files: list[File] | None,
        model: str,
        normal: str,
        anomalous: str,
        fade: float,
        threshold: float,
        pixel_threshold: float,
        request: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> tuple[None, str]:
        """Several photographs were dropped."""
        view = View(fade, threshold, pixel_threshold)
        return self._take(Tab.MANY, files or [], (model, normal, anomalous), view, request, progress)

    def draw(self, fade: float, threshold: float, pixel_threshold: float, request: gr.Request) -> list[str]:
        """A slider was moved: both tabs anew, without the model."""
        view = View(fade, threshold, pixel_threshold)
        return [self._show(tab, view, request) for tab in Tab]

    def load(self, model: str, progress: gr.Progress = PROGRESS) -> tuple[str, str, float, float]:
        """Another model was chosen: its own prompts and thresholds."""
        self._await_model(model, progress)
        try:
            return self.examiner.own_settings(model)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def detect_again(
        self,
        model: str,
        normal: str,
        anomalous: str,
        fade: float,
        threshold: float,
        pixel_threshold: float,
        request: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> list[str]:
        """The settings were changed: what both tabs show, examined anew."""
        for tab in Tab:
            photos = [finding.photo for finding in self.sessions.get(request.session_hash, tab)]
            self._find(tab, photos, (model, normal, anomalous), request, progress)
        return self.draw(fade, threshold, pixel_threshold, request)

    def detect(self, image: File) -> tuple[float, str, str]:
        """
        Score an image with the server's default model. Returns the score from 0 to 1, the label ("normal" or
        "anomalous") and the anomaly map, a 16-bit PNG of the image's size (65535 is 1).
        """
        try:
            with self.uploads.read([image] if image else []) as photos:
                if not photos:
                    raise ValueError("No image was sent.")
                result = self.examiner.result(decode(photos[0]), self.models.names[0])
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        # In Gradio's own folder, where it lies until the client has had time to fetch it.
        with tempfile.NamedTemporaryFile(dir=get_upload_folder(), prefix="map-", suffix=".png", delete=False) as file:
            map_to_png16(result["anomaly_map"]).save(file, "PNG")
        return result["score"], result["label"], file.name

    def forget(self, request: gr.Request) -> None:
        """The page was closed."""
        self.sessions.forget(request.session_hash)

    def _await_model(self, model: str, progress: gr.Progress) -> None:
        if not self.models.is_loaded(model):
            progress(0, desc=f"Loading {model}")

    def _take(
        self,
        tab: Tab,
        files: list[File],
        settings: tuple[str, str, str],
        view: View,
        request: gr.Request,
        progress: gr.Progress,
    ) -> tuple[None, str]:
        """Empties the drop zone and shows what is found in its files, or what is wrong with them."""
        try:
            with self.uploads.read(files) as photos:
                self._find(tab, photos, settings, request, progress)
        except ValueError as error:
            return None, message(str(error))
        return None, self._show(tab, view, request)

    def _find(
        self,
        tab: Tab,
        photos: Sequence[Photo],
        settings: tuple[str, str, str],
        request: gr.Request,
        progress: gr.Progress,
    ) -> None:
        model, *prompts = settings
        self._await_model(model, progress)
        findings: list[Finding] = []
        for index, photo in enumerate(photos):
            if self.models.is_loaded(model):
                progress((index, len(photos)), desc="Examining", unit="images")
            findings.append(self.examiner.find(photo, model, (prompts[0], prompts[1]), LONGEST_SIDE[tab]))
        self.sessions.put(request.session_hash, tab, findings)

    def _show(self, tab: Tab, view: View, request: gr.Request) -> str:
        findings = self.sessions.get(request.session_hash, tab)
        return show_one(findings, view) if tab is Tab.ONE else show_many(findings, view)
