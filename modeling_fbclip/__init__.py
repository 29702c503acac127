"""FB-CLIP, zero-shot anomaly detection. Public names are imported when they are first used, for a quick start."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .registration import register, register_with_transformers

if TYPE_CHECKING:
    from .configuration_fbclip import FBCLIPConfig
    from .detection.loading import load_bundled
    from .modeling_fbclip import FBCLIPModel, FBCLIPOutput
    from .pipeline_fbclip import ZeroShotAnomalyDetectionPipeline
    from .processing_fbclip import FBCLIPProcessor
    from .references_fbclip import FBCLIPReferences

__all__ = [
    "FBCLIPConfig",
    "FBCLIPModel",
    "FBCLIPOutput",
    "FBCLIPProcessor",
    "FBCLIPReferences",
    "ZeroShotAnomalyDetectionPipeline",
    "load_bundled",
]

MODULES = {
    "FBCLIPConfig": "configuration_fbclip",
    "FBCLIPModel": "modeling_fbclip",
    "FBCLIPOutput": "modeling_fbclip",
    "FBCLIPProcessor": "processing_fbclip",
    "FBCLIPReferences": "references_fbclip",
    "ZeroShotAnomalyDetectionPipeline": "pipeline_fbclip",
    "load_bundled": "detection.loading",
}


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    register()
    value = getattr(import_module(f".{MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_with_transformers()
