"""FB-CLIP, zero-shot anomaly detection: public names, and registration with transformers."""

from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_fbclip import FBCLIPConfig
from .detection.bundled import load_bundled
from .modeling_fbclip import FBCLIPModel, FBCLIPOutput
from .pipeline_fbclip import ZeroShotAnomalyDetectionPipeline
from .processing_fbclip import FBCLIPProcessor

__all__ = [
    "FBCLIPConfig",
    "FBCLIPModel",
    "FBCLIPOutput",
    "FBCLIPProcessor",
    "ZeroShotAnomalyDetectionPipeline",
    "load_bundled",
]

AutoConfig.register(FBCLIPConfig.model_type, FBCLIPConfig)
AutoModel.register(FBCLIPConfig, FBCLIPModel)
AutoProcessor.register(FBCLIPConfig, FBCLIPProcessor)
PIPELINE_REGISTRY.register_pipeline(
    "zero-shot-anomaly-detection", pipeline_class=ZeroShotAnomalyDetectionPipeline, pt_model=(AutoModel,)
)
# What lets a saved folder be loaded with `trust_remote_code=True` where this package is not installed.
FBCLIPConfig.register_for_auto_class()
FBCLIPModel.register_for_auto_class("AutoModel")
FBCLIPProcessor.register_for_auto_class("AutoProcessor")
