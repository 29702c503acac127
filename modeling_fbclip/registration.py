"""Makes FB-CLIP known to the Auto classes and the pipelines of transformers, once that library is in use."""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

TASK = "zero-shot-anomaly-detection"


class _Registration(MetaPathFinder):
    """
    Registers as soon as transformers and our own modules are imported as a whole. As a finder it finds these modules
    as usual, and learns when the outermost of them is complete.
    """

    def __init__(self) -> None:
        self.depth = 0  # of our modules and transformers, each importing the next
        self.is_running = self.is_done = False

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        ours = fullname.startswith(f"{__package__}.") and fullname.endswith("_fbclip")
        if self.is_done or not (ours or fullname == "transformers"):
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            run_module = spec.loader.exec_module

            def run_and_register(module: ModuleType) -> None:
                self.depth += 1
                try:
                    run_module(module)
                finally:
                    self.depth -= 1
                if self.depth == 0:
                    self.register()

            spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec

    def register(self) -> None:
        if self.is_running or self.is_done:
            return
        self.is_running = True  # the imports below come back here
        try:
            _register()
            self.is_done = True
        finally:
            self.is_running = False


def _register() -> None:
    from transformers import AutoConfig, AutoModel, AutoProcessor
    from transformers.pipelines import PIPELINE_REGISTRY

    from .configuration_fbclip import FBCLIPConfig
    from .modeling_fbclip import FBCLIPModel
    from .pipeline_fbclip import ZeroShotAnomalyDetectionPipeline
    from .processing_fbclip import FBCLIPProcessor

    AutoConfig.register(FBCLIPConfig.model_type, FBCLIPConfig)
    AutoModel.register(FBCLIPConfig, FBCLIPModel)
    AutoProcessor.register(FBCLIPConfig, FBCLIPProcessor)
    PIPELINE_REGISTRY.register_pipeline(TASK, pipeline_class=ZeroShotAnomalyDetectionPipeline, pt_model=(AutoModel,))


_registration = _Registration()
register = _registration.register


def register_with_transformers() -> None:
    """Registers at once if transformers is imported already, else right after it is."""
    if "transformers" in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _registration)
