"""Makes FB-CLIP known to the Auto classes and the pipelines of transformers, once that library is in use."""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

TASK = "zero-shot-anomaly-detection"


_has_begun = False


def register() -> None:
    """Registers the model, its configuration, its processor and its task, once."""
    global _has_begun
    if _has_begun:
        return
    _has_begun = True  # at the beginning, for the imports below come back here
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


def register_with_transformers() -> None:
    """Registers at once if transformers is imported already, else right after it is."""
    if "transformers" in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _WhenTransformersIsImported())


class _WhenTransformersIsImported(MetaPathFinder):
    """Finds transformers as usual, and adds the registration to the end of its import."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        if fullname != "transformers":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            run_module = spec.loader.exec_module

            def run_and_register(module: ModuleType) -> None:
                run_module(module)
                if not _own_modules_are_loading():
                    register()

            spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec


def _own_modules_are_loading() -> bool:
    """Whether one of our modules has just asked for transformers: it cannot be registered before it is complete."""
    return any(name.startswith(f"{__package__}.") and name.endswith("_fbclip") for name in sys.modules)
