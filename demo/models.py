"""
The models to choose from, each loaded once.

The operator of the server offers folders and Hub ids, and trusts them. If the operator allows it, a visitor may name
any public model on the Hub; `visitors` loads it. A visitor's name is never used as a path.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from modeling_fbclip.common.messages import ArgumentError, one_line
from modeling_fbclip.detection.detector import Detector
from modeling_fbclip.detection.loading import load_detector, require_fbclip, require_folder_or_hub_id

from .visitors import load_visitors

BUNDLED = "bundled (tiny)"
MAX_VISITORS_MODELS = 2  # in memory at a time, beside those of the operator


class Models:
    """
    Detectors by the names that the page shows.

    Args:
        offered (`Sequence[str]`): folders and Hub ids that the operator offers beside the bundled model. The first
            is the default.
        allow_hub (`bool`): whether visitors may name other models on the Hub.

    Attributes:
        names (`list[str]`): the names of the offered models.

    Raises:
        ArgumentError: if two folders have the same name.
    """

    def __init__(self, offered: Sequence[str] = (), allow_hub: bool = False) -> None:
        # Visitors see a folder's name without its path.
        sources = [(Path(name).resolve().name if Path(name).is_dir() else name, name) for name in offered]
        self._offered: dict[str, str | None] = dict(sources) | {BUNDLED: None}
        self.names = list(self._offered)
        if len(self.names) != len(sources) + 1:
            raise ArgumentError("models", f"two of the models {', '.join(offered)} have one name; rename a folder")
        self.allow_hub = allow_hub
        self._loaded: OrderedDict[str, Detector] = OrderedDict()
        self._lock = threading.Lock()  # of the dictionary alone
        self._loading = {name: threading.Lock() for name in self.names}
        self._visiting = threading.Lock()

    def get(self, name: str) -> Detector:
        """
        The detector of a model. An offered one is loaded if it is not in memory.

        Raises:
            ValueError: in one line, if it is not there or cannot be loaded.
        """
        found = self._find(name)
        if found is None and name in self._offered:
            with self._loading[name]:
                found = self._find(name) or self._keep(name, self._load_offered(name))
        if found is None:
            self._require_hub(name)
            raise ValueError(f"{one_line(name)} is not in memory any more; choose it again.")
        return found

    def load(self, name: str) -> Detector:
        """
        As `get`, and loads a visitor's model from the Hub, where that is allowed. Nobody waits for another's.

        Raises:
            ValueError: in one line, if it cannot be loaded.
        """
        if name in self._offered or self._find(name) is not None:
            return self.get(name)
        self._require_hub(name)
        if not self._visiting.acquire(blocking=False):
            raise ValueError("Another model from the Hub is being loaded; try again in a minute.")
        try:
            return self._keep(name, load_visitors(name))
        finally:
            self._visiting.release()

    def load_first(self) -> None:
        """
        Loads the default model, and runs it once, as a first run is slow; looks at the others.

        Raises:
            ArgumentError: one of them cannot be loaded. The message is for the operator.
        """
        detector = self._keep(self.names[0], load_detector(self._offered[self.names[0]]))
        detector(Image.new("RGB", (64, 64), "gray"))
        for source in filter(None, self._offered.values()):
            try:
                require_folder_or_hub_id(source)
                if Path(source).is_dir():
                    require_fbclip(source)
            except (OSError, ValueError) as error:
                raise ArgumentError("models", f"{source} cannot be loaded: {one_line(error)}") from error

    def is_loaded(self, name: str) -> bool:
        """Whether `get` returns at once."""
        return name in self._loaded

    def _find(self, name: str) -> Detector | None:
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
            return self._loaded.get(name)

    def _keep(self, name: str, detector: Detector) -> Detector:
        with self._lock:
            self._loaded[name] = detector
            visitors = [known for known in self._loaded if known not in self._offered]
            for oldest in visitors[:-MAX_VISITORS_MODELS]:
                del self._loaded[oldest]
        return detector

    def _load_offered(self, name: str) -> Detector:
        source = self._offered[name]
        try:
            return load_detector(source)
        except ValueError as error:  # visitors do not see where the operator's folders lie
            raise ValueError(str(error).replace(str(source), name)) from error

    def _require_hub(self, name: str) -> None:
        if not self.allow_hub:
            raise ValueError(f"{one_line(name)!r} is not one of the models offered here: {', '.join(self.names)}.")
