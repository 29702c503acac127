"""The event handlers of the page."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from .examiner import Examiner, Finding
from .models import Models
from .photos import Photo
from .sessions import Sessions, Tab, Work
from .settings import Settings, Side
from .uploads import Uploads
from .views import figure, hint, message, show, status, waiting

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.jpg"))


class Handlers:
    """
    Holds the models and the results of the open pages. The arguments `raw` are what [`Settings`] reads. A photograph
    is received at once, which empties the place that it was dropped on, and examined when its turn comes.
    """

    def __init__(self, models: Models, uploads: Uploads) -> None:
        self.models = models
        self.uploads = uploads
        self.examiner = Examiner(models)
        self.sessions = Sessions()

    def receive_one(self, file: Any, request: gr.Request) -> tuple[None, str]:
        """A photograph was dropped or taken."""
        return None, self._receive(Tab.ONE, [file] if file else [], request)

    def receive_many(self, files: Any, request: gr.Request) -> tuple[None, str]:
        """Several photographs were dropped."""
        return None, self._receive(Tab.MANY, files or [], request)

    def receive_example(self, request: gr.Request, chosen: gr.SelectData) -> str:
        """A sample photograph was chosen, by its index."""
        if chosen.index not in range(len(EXAMPLES)):
            return message(f"There is no sample photograph {chosen.index}.")
        example = EXAMPLES[chosen.index]
        return self._put(Tab.ONE, [Photo(example.name, example.read_bytes())], request)

    def receive_references(self, files: Any, model: Any, request: gr.Request) -> tuple[Any, ...]:
        """Good images were dropped: empties the drop zone; a message for it, and the thresholds that hold now."""
        try:
            with self.uploads.read(files or []) as photos:
                return self._compare_with(photos, model, request)
        except ValueError as error:
            return _refused(error)

    def forget_references(self, model: Any, request: gr.Request) -> tuple[Any, ...]:
        """The good images are to be removed."""
        try:
            return self._compare_with([], model, request)
        except ValueError as error:
            return _refused(error)

    def examine_one(self, request: gr.Request, *raw: Any) -> Iterator[Any]:
        """Examines the photograph that came last, if it was not examined with these settings already."""
        yield from self._examine(Tab.ONE, raw, request)

    def examine_many(self, request: gr.Request, *raw: Any) -> Iterator[Any]:
        """The same for several photographs; each result appears when it is ready."""
        yield from self._examine(Tab.MANY, raw, request)

    def load(self, model: Any, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """
        Another model was chosen: a message, then the model, its prompts and thresholds. If it cannot be loaded, the
        page keeps the old one.
        """
        old = self.sessions.get(request.session_hash).model or self.models.names[0]
        name = model if isinstance(model, str) else ""
        unchanged = [gr.skip()] * 4
        try:
            if not self.models.is_loaded(name):
                yield status(f"Loading {name} …"), gr.skip(), *unchanged
            self.models.load(name)
            references = self.sessions.get(request.session_hash).references
            own = self.examiner.own_settings(name, bool(references.photos))
        except ValueError as error:
            yield message(str(error)), old, *unchanged
            return
        self.sessions.put_model(request.session_hash, name)
        yield "", name, *own

    def forget(self, request: gr.Request) -> None:
        """The page was closed."""
        self.sessions.forget(request.session_hash)

    def _compare_with(self, photos: list[Photo], model: Any, request: gr.Request) -> tuple[Any, ...]:
        self.sessions.put_references(request.session_hash, photos)
        _, _, threshold, pixel_threshold = self.examiner.own_settings(str(model), bool(photos))
        names = ", ".join(photo.name for photo in photos)
        told = status(f"Compared with {names}") if photos else ""
        return None, told, gr.update(visible=bool(photos)), threshold, pixel_threshold

    def _receive(self, tab: Tab, files: Sequence[Any], request: gr.Request) -> str:
        try:
            with self.uploads.read(files) as photos:
                return self._put(tab, photos, request)
        except ValueError as error:
            self.sessions.put_work(request.session_hash, tab, Work([], problem=str(error)))
            return message(str(error))

    def _put(self, tab: Tab, photos: list[Photo], request: gr.Request) -> str:
        self.sessions.put_work(request.session_hash, tab, Work(photos))
        return waiting([photo.name for photo in photos]) if photos else hint(tab)

    def _examine(self, tab: Tab, raw: tuple[Any, ...], request: gr.Request) -> Iterator[Any]:
        session = request.session_hash
        try:
            settings = Settings.read(raw)
        except ValueError as error:
            yield message(str(error))
            return
        work = self.sessions.work(session, tab)
        if work is None or not work.photos:
            yield message(work.problem) if work and work.problem else hint(tab)
            return
        asked = settings, self.sessions.get(session).references
        if work.asked != asked:  # the old results are for other settings
            work = Work(work.photos, asked=asked)
            self.sessions.put_work(session, tab, work)
        figures: list[list[str]] = []
        for findings in self._findings(tab, work):
            if self.sessions.work(session, tab) is not work:  # newer photographs came
                yield gr.skip()
                return
            address = f"fbclip/{work.token}/{len(figures)}"
            figures.append([figure(finding, tab, f"{address}/{side}") for side, finding in enumerate(findings)])
            yield show(work, tab, figures)

    def _findings(self, tab: Tab, work: Work) -> Iterator[list[Finding]]:
        """The findings of each photograph, from those that are known already."""
        settings, _ = work.asked
        sides = settings.sides if tab is Tab.ONE else settings.sides[:1]
        for index, photo in enumerate(work.photos):
            if index == len(work.findings):
                work.findings.append([self._find(photo, side, tab, work) for side in sides])
            yield work.findings[index]

    def _find(self, photo: Photo, side: Side, tab: Tab, work: Work) -> Finding:
        settings, good = work.asked
        references = None
        try:
            if tab is Tab.MANY and settings.mutual:
                references = self.examiner.references(side.model, work.among, settings.tiles, mutual=True)
            elif good.photos:
                references = self.examiner.references(side.model, good, settings.tiles)
        except ValueError as error:
            return Finding(photo, side, error=str(error))
        return self.examiner.find(photo, side, settings.tiles, references)


def _refused(error: ValueError) -> tuple[Any, ...]:
    """The outputs for good images that are not taken."""
    return None, message(str(error)), gr.skip(), gr.skip(), gr.skip()
