"""Loading and saving: complete checkpoints, FB-CLIP parts alone, fresh parts on a CLIP, the authors' checkpoints."""

import shutil
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file, logging

from .attention_fbclip import FBCLIPAttentionStream
from .configuration_fbclip import FBCLIPConfig
from .conversion_fbclip import convert_official_tensors, official_prompt_fields, read_official_checkpoint
from .text_fbclip import FBCLIPTextBranch

CLIP_PREFIX = "clip."
# What lets a saved folder be used by `pipeline(..., trust_remote_code=True)` where the package is not installed.
PIPELINE_FILE = Path(__file__).with_name("pipeline_fbclip.py")
CUSTOM_PIPELINES = {
    "zero-shot-anomaly-detection": {
        "impl": f"{PIPELINE_FILE.stem}.ZeroShotAnomalyDetectionPipeline",
        "pt": ["AutoModel"],
        "type": "image",
    }
}
# Arguments of `from_pretrained` that say where a file comes from; everything else says how to load it.
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "proxies")


class FBCLIPPreTrainedModel(PreTrainedModel):
    """Everything about weights: how fresh ones start, and how they are loaded and saved."""

    config: FBCLIPConfig
    clip: CLIPModel
    scale_weights: nn.Parameter
    config_class = FBCLIPConfig
    base_model_prefix = "fbclip"
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012 - transformers' own form
    _no_split_modules = [  # noqa: RUF012
        "CLIPEncoderLayer",
        "CLIPVisionEmbeddings",
        "CLIPTextEmbeddings",
        "FBCLIPAttention",
    ]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Fresh FB-CLIP parts, as the released code starts them: PyTorch's defaults, attention scale 1/√head_dim."""
        if isinstance(module, nn.Linear):
            init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                init.uniform_(module.bias, -(module.in_features**-0.5), module.in_features**-0.5)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, FBCLIPTextBranch):
            init.normal_(module.prompt_embeddings, std=self.config.prompt_init_std)
        elif isinstance(module, FBCLIPAttentionStream):
            init.constant_(module.scale, self.config.attention_head_dim**-0.5)
        elif isinstance(module, FBCLIPPreTrainedModel):
            init.ones_(module.scale_weights)

    @classmethod
    def from_clip(cls, clip: CLIPModel | str | Path, **config_overrides: Any) -> Self:
        r"""
        Fresh FB-CLIP parts, to be trained, on a pretrained CLIP.

        Args:
            clip (`CLIPModel`, `str` or `Path`): a CLIP model, a folder or a Hub id.
            config_overrides: fields of [`FBCLIPConfig`] that differ from the paper's defaults.

        Raises:
            `TypeError`: an override is no field of the configuration.
        """
        config, clip_weights = cls._clip_parts(clip, config_overrides)
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # that the FB-CLIP parts are new is what was asked for
        try:
            return cls.from_pretrained(None, config=config, state_dict=clip_weights)
        finally:
            logging.set_verbosity(verbosity)

    @classmethod
    def from_official_checkpoint(cls, path: str | Path, clip: CLIPModel | str | Path, **config_overrides: Any) -> Self:
        r"""
        A checkpoint (`.pth`) of the authors' released code. Tensors that no computation reads are dropped by an
        explicit list.

        Args:
            path (`str` or `Path`): the file; it is read with `weights_only=True`.
            clip (`CLIPModel`, `str` or `Path`): the CLIP it was trained on: a model, a folder or a Hub id. For the
                released files that is `openai/clip-vit-large-patch14-336`.
            config_overrides: fields of [`FBCLIPConfig`] that differ from the paper's defaults.

        Raises:
            `FileNotFoundError`: there is no such file.
            `ValueError`: the file is no released checkpoint, or a tensor is missing, unexpected or of the wrong shape;
                the message names it.
        """
        tensors = read_official_checkpoint(path)
        config, clip_weights = cls._clip_parts(clip, official_prompt_fields(tensors) | config_overrides)
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in cls(config).state_dict().items()}
        weights = clip_weights | convert_official_tensors(tensors, shapes)
        return cls.from_pretrained(None, config=config, state_dict=weights)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | PathLike[str] | None,
        *model_args: Any,
        config: FBCLIPConfig | None = None,
        **kwargs: Any,
    ) -> Self:
        r"""
        Load a complete checkpoint, or one of the FB-CLIP parts alone, whose CLIP is fetched by the name in its config.
        Arguments are those of [`~transformers.PreTrainedModel.from_pretrained`].

        Raises:
            `OSError`: there is no such checkpoint, or its CLIP cannot be fetched.
            `ValueError`: the checkpoint lacks weights; the message names them.
        """
        path = pretrained_model_name_or_path
        if config is None and path is not None:
            config, kwargs = cls.config_class.from_pretrained(path, return_unused_kwargs=True, **kwargs)
        if config is not None and path is not None and not config.includes_clip:
            kwargs = cls._fetch_parts(path, config, kwargs)
            path = None
        wants_info = kwargs.pop("output_loading_info", False)
        kwargs["output_loading_info"] = True
        loaded: Any = super().from_pretrained(path, *model_args, config=config, **kwargs)
        model, info = loaded
        missing = sorted(info["missing_keys"])
        if missing and pretrained_model_name_or_path is not None:
            raise ValueError(
                f"{pretrained_model_name_or_path}: no complete FB-CLIP checkpoint; it lacks {', '.join(missing)}."
            )
        model.clip.requires_grad_(False)  # loading makes new parameters
        return loaded if wants_info else model

    @staticmethod
    def _fetch_parts(path: str | PathLike[str], config: FBCLIPConfig, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The remaining arguments of `from_pretrained`, with the weights of FB-CLIP parts and CLIP put together."""
        remaining = {name: value for name, value in kwargs.items() if name not in HUB_ARGUMENTS}
        hub_arguments = {name: value for name, value in kwargs.items() if name in HUB_ARGUMENTS}
        location = {name: remaining.pop(name) for name in ("revision", "subfolder") if name in remaining}
        weights_file: Any = cached_file(path, SAFE_WEIGHTS_NAME, **location, **hub_arguments)
        try:
            revision = config.clip_revision or "main"
            clip = CLIPModel.from_pretrained(config.clip_name_or_path, revision=revision, **hub_arguments)
        except OSError as error:
            raise OSError(
                f"{path} holds the FB-CLIP parts alone, and the CLIP they stand on, {config.clip_name_or_path!r}, "
                f"cannot be loaded: {error}"
            ) from error
        clip_weights = {CLIP_PREFIX + name: tensor for name, tensor in clip.state_dict().items()}
        return remaining | {"state_dict": load_file(weights_file) | clip_weights}

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | PathLike[str], *, include_clip: bool | None = None, **kwargs: Any
    ) -> None:
        r"""
        Save as safetensors.

        Args:
            save_directory (`str` or `PathLike`): the folder.
            include_clip (`bool`, *optional*):
                Whether CLIP's weights are saved too. Without them the checkpoint is small and loading fetches the CLIP
                by `config.clip_name_or_path`. Defaults to `True` exactly when the CLIP has no Hub id.

        Raises:
            `ValueError`: `include_clip=False` for a CLIP that has no name to be fetched by.
        """
        name = self.config.clip_name_or_path
        if include_clip is None:
            include_clip = name is None or Path(name).exists()
        if not include_clip and name is None:
            raise ValueError(
                "`include_clip=False`, but `config.clip_name_or_path` names no CLIP to fetch when loading."
            )
        self.config.includes_clip = include_clip
        self.config.custom_pipelines = CUSTOM_PIPELINES
        if not include_clip:
            weights = kwargs.pop("state_dict", None) or self.state_dict()
            kwargs["state_dict"] = {name: w for name, w in weights.items() if not name.startswith(CLIP_PREFIX)}
        super().save_pretrained(save_directory, **kwargs)
        if PIPELINE_FILE.exists():  # it does not where this class itself comes from the Hub
            shutil.copy(PIPELINE_FILE, save_directory)

    @classmethod
    def _clip_parts(
        cls, clip: CLIPModel | str | Path, overrides: dict[str, Any]
    ) -> tuple[FBCLIPConfig, dict[str, Tensor]]:
        """Configuration on top of a CLIP, and the CLIP's weights under our names."""
        unknown = sorted(set(overrides) - {field.name for field in fields(FBCLIPConfig)})
        if unknown:
            raise TypeError(f"{', '.join(unknown)}: no such field of FBCLIPConfig.")
        if not isinstance(clip, CLIPModel):
            clip = CLIPModel.from_pretrained(clip)
        source = {"clip_config": clip.config.to_dict(), "clip_name_or_path": clip.config.name_or_path or None}
        config = cls.config_class(**(source | overrides))
        return config, {CLIP_PREFIX + name: tensor for name, tensor in clip.state_dict().items()}
