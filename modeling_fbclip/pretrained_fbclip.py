"""Loads and saves complete checkpoints and FB-CLIP parts without CLIP; makes fresh parts; loads the authors' files."""

import copy
from collections.abc import Mapping
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file, logging

from .attention_fbclip import FBCLIPAttentionStream
from .configuration_fbclip import FBCLIPConfig
from .conversion_fbclip import convert_official_tensors, official_prompt_fields, read_official_checkpoint
from .text_fbclip import FBCLIPTextBranch

if TYPE_CHECKING:  # saving carries the files that are named in imports, and the pipeline's is needed
    from .pipeline_fbclip import ZeroShotAnomalyDetectionPipeline  # noqa: F401

CLIP_PREFIX = "clip."
# Entries of a saved configuration for `pipeline(..., trust_remote_code=True)` without the installed package.
CUSTOM_PIPELINES = {
    "zero-shot-anomaly-detection": {
        "impl": "pipeline_fbclip.ZeroShotAnomalyDetectionPipeline",
        "pt": ["AutoModel"],
        "type": "image",
    }
}
ALIGNMENT = 64  # bytes, as in PyTorch's allocator
# Arguments of `from_pretrained` that apply to the checkpoint and to its CLIP.
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "token")
# Arguments that find other files of the same checkpoint.
PLACE_ARGUMENTS = ("cache_dir", "local_files_only", "token", "revision", "subfolder")


class FBCLIPPreTrainedModel(PreTrainedModel):
    """Initialisation, loading and saving of the weights."""

    config: FBCLIPConfig
    clip: CLIPModel
    scale_weights: nn.Parameter
    prompt_input_ids: Tensor
    loaded_from: dict[str, Any] | None = None
    """`name` (folder or Hub id) of the model's checkpoint, and `revision`, `subfolder`, `cache_dir`, `token` and
    `local_files_only` if they were given. Never saved; `None` for a model made in memory."""
    config_class = FBCLIPConfig
    base_model_prefix = "fbclip"
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012 - transformers' own form
    _no_split_modules = ["CLIPEncoderLayer", "CLIPVisionEmbeddings", "CLIPTextEmbeddings", "FBCLIPAttention"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    supports_gradient_checkpointing = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialises as the released code: PyTorch's defaults, and 1/√head_dim for the attention scale."""
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
            init.copy_(module.prompt_input_ids, torch.tensor(self.config.prompt_input_ids))

    @classmethod
    def from_clip(cls, clip: CLIPModel | str | Path, **config_overrides: Any) -> Self:
        r"""
        Fresh FB-CLIP parts for training, on a pretrained CLIP.

        Args:
            clip (`CLIPModel`, `str` or `Path`): a CLIP model, a folder or a Hub id.
            config_overrides: fields of [`FBCLIPConfig`] that differ from the paper's defaults. `image_size` defaults
                to the multiple of the CLIP's patch size nearest to 518.

        Raises:
            `TypeError`: an override is not a field of the configuration.
        """
        config, clip = cls._compose(clip, config_overrides)
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # no warning about the new FB-CLIP parts
        try:
            return cls.from_pretrained(None, config=config, state_dict=clip_weights(clip), dtype=clip.dtype)
        finally:
            logging.set_verbosity(verbosity)

    @classmethod
    def from_official_checkpoint(cls, path: str | Path, clip: CLIPModel | str | Path, **config_overrides: Any) -> Self:
        r"""
        Loads a checkpoint (`.pth`) of the authors' released code. Tensors that this code does not use are dropped.

        Args:
            path (`str` or `Path`): the file. It is read with `weights_only=True`.
            clip (`CLIPModel`, `str` or `Path`): the CLIP it was trained on: a model, a folder or a Hub id. For the
                released files: `openai/clip-vit-large-patch14-336`.
            config_overrides: fields of [`FBCLIPConfig`] that differ from the paper's defaults.

        Raises:
            `FileNotFoundError`: there is no such file.
            `ValueError`: the file is not a released checkpoint, or a tensor is missing, unexpected or of the wrong
                shape; the message names it.
        """
        tensors = read_official_checkpoint(path)
        config, clip = cls._compose(clip, official_prompt_fields(tensors) | config_overrides)
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in cls(config).state_dict().items()}
        weights = clip_weights(clip) | convert_official_tensors(tensors, shapes)
        return cls.from_pretrained(None, config=config, state_dict=weights, dtype=clip.dtype)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | PathLike[str] | None,
        *model_args: Any,
        config: PreTrainedConfig | str | PathLike[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        r"""
        Loads a complete checkpoint, or FB-CLIP parts without CLIP, whose CLIP is fetched by its name in the
        configuration. Arguments are those of [`~transformers.PreTrainedModel.from_pretrained`]. For an export, it
        gives a [`FBCLIPRuntimeModel`].

        Raises:
            `OSError`: there is no such checkpoint, or its CLIP cannot be fetched.
            `ValueError`: weights are missing or of the wrong shape (the message names them), or would be split over
                several devices.
        """
        source = path = pretrained_model_name_or_path
        place = {"name": str(source)} | {name: kwargs[name] for name in PLACE_ARGUMENTS if name in kwargs}
        if "torch_dtype" in kwargs:  # the older name
            kwargs["dtype"] = kwargs.pop("torch_dtype")
        if isinstance(kwargs.get("dtype"), Mapping):
            raise ValueError(f"`dtype` is {kwargs['dtype']}, but FB-CLIP has one number type; give that.")
        wants_info = kwargs.pop("output_loading_info", False)
        accepts_other_shapes = kwargs.pop("ignore_mismatched_sizes", False)
        known: Any = None if path is None else cls._known_config(config or path, kwargs)
        if path is not None and getattr(known, "runtime", None) is not None:
            from .runtime_fbclip import FBCLIPRuntimeModel  # it needs the outputs of the model, which needs this file

            return FBCLIPRuntimeModel.from_pretrained(path, config=known, **kwargs)  # type: ignore[return-value]
        if path is not None and known is not None and not known.includes_clip:
            config, kwargs = cls._fetch_parts(path, config, kwargs)
            path = None
        elif path is not None and kwargs.get("state_dict") is not None:
            config, kwargs = cls._read_config(path, config, kwargs)
            path = None
        kwargs |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # problems are named below
        loaded: Any = super().from_pretrained(path, *model_args, config=config, **kwargs)
        model, info = loaded
        problems = [] if source is None else [f"lacks {key}" for key in info["missing_keys"]]
        if not accepts_other_shapes:
            problems += [f"has {key} of shape {tuple(s)}, not {tuple(t)}" for key, s, t in info["mismatched_keys"]]
        if problems:
            raise ValueError(f"{source}: no fitting checkpoint; it {', '.join(sorted(problems))}.")
        devices = set(map(str, getattr(model, "hf_device_map", {}).values())) - {"cpu", "disk"}
        if len(devices) > 1:
            raise ValueError(
                f"`device_map={kwargs.get('device_map')!r}` would split FB-CLIP over {', '.join(sorted(devices))}; "
                "give the one it computes on, such as 'cuda:0'. Parts may be offloaded to 'cpu' and 'disk'."
            )
        model.clip.requires_grad_(False)  # loading replaces the parameters
        align_weights(model)
        model.name_or_path = model.config.name_or_path = str(source or "")
        model.loaded_from = None if source is None else place
        return loaded if wants_info else model

    @classmethod
    def _known_config(cls, config: PreTrainedConfig | str | PathLike[str], kwargs: dict[str, Any]) -> Any:
        if isinstance(config, PreTrainedConfig):  # its class may come from the code of a saved folder
            return config
        where = {name: kwargs[name] for name in (*HUB_ARGUMENTS, "revision", "subfolder") if name in kwargs}
        return cls.config_class.from_pretrained(config, **where)

    @classmethod
    def _fetch_parts(
        cls, path: str | PathLike[str], config: PreTrainedConfig | str | PathLike[str] | None, kwargs: dict[str, Any]
    ) -> tuple[PreTrainedConfig, dict[str, Any]]:
        """The configuration, and the arguments with a state dict that joins the FB-CLIP parts and CLIP."""
        hub_arguments = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
        where = hub_arguments | {name: kwargs[name] for name in ("revision", "subfolder") if name in kwargs}
        known, kwargs = cls._read_config(path, config, kwargs)
        variant, dtype = kwargs.pop("variant", None), kwargs.pop("dtype", None)
        parts = kwargs.pop("state_dict", None)
        if parts is None:
            name = SAFE_WEIGHTS_NAME if variant is None else SAFE_WEIGHTS_NAME.replace(".", f".{variant}.")
            weights_file: Any = cached_file(path, name, **where)
            parts = load_file(weights_file)
        try:
            clip = load_clip(known.clip_name_or_path, known.clip_revision, **hub_arguments)
        except OSError as error:
            raise OSError(
                f"{path} holds the FB-CLIP parts only, and their CLIP, {known.clip_name_or_path!r}, cannot be "
                f"loaded: {error}"
            ) from error
        if dtype in (None, "auto"):  # CLIP takes the dtype of the parts
            dtype = next(iter(parts.values())).dtype
        return known, kwargs | {"state_dict": clip_weights(clip) | parts, "dtype": dtype}

    @classmethod
    def _read_config(
        cls, path: str | PathLike[str], config: PreTrainedConfig | str | PathLike[str] | None, kwargs: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The configuration of a place, and the arguments without those that find it and its fields."""
        where = {name: kwargs[name] for name in (*HUB_ARGUMENTS, "revision", "subfolder") if name in kwargs}
        kept = {name: kwargs[name] for name in ("dtype", "state_dict", "variant") if name in kwargs}  # no fields
        rest = {name: value for name, value in kwargs.items() if name not in where | kept}
        if isinstance(config, PreTrainedConfig):
            return config, rest | kept
        known, unused = cls.config_class.from_pretrained(config or path, return_unused_kwargs=True, **where, **rest)
        return known, unused | kept

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | PathLike[str], *, include_clip: bool | None = None, **kwargs: Any
    ) -> None:
        r"""
        Saves as safetensors, with the code that loads the folder.

        Args:
            save_directory (`str` or `PathLike`): the folder.
            include_clip (`bool`, *optional*):
                Whether to save CLIP's weights. Without them the checkpoint is one small file, and loading fetches
                the CLIP by `config.clip_name_or_path`. Defaults to `True` if the CLIP has no Hub id.
            kwargs: those of [`~transformers.PreTrainedModel.save_pretrained`].

        Raises:
            `ValueError`: `include_clip=False` for a CLIP without a name.
            `NotADirectoryError`: `save_directory` is a file.
        """
        if not kwargs.get("is_main_process", True):
            return
        name = self.config.clip_name_or_path
        if include_clip is None:
            include_clip = name is None or Path(name).is_absolute()
        if not include_clip and name is None:
            raise ValueError("`include_clip=False`, but `config.clip_name_or_path` names no CLIP to fetch.")
        if Path(save_directory).is_file():
            raise NotADirectoryError(f"{save_directory} is a file; give a folder to save to.")
        if not include_clip:
            weights = kwargs.pop("state_dict", None) or self.state_dict()
            kwargs["state_dict"] = {key: w for key, w in weights.items() if not key.startswith(CLIP_PREFIX)}
            kwargs["max_shard_size"] = "100GB"
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        own_config = self.config
        self.config = copy.deepcopy(own_config)
        self.config.includes_clip = include_clip
        self.config.custom_pipelines = CUSTOM_PIPELINES
        try:
            super().save_pretrained(save_directory, **kwargs)
        finally:
            self.config = own_config

    @classmethod
    def _compose(
        cls, clip: CLIPModel | str | PathLike[str], overrides: dict[str, Any]
    ) -> tuple[FBCLIPConfig, CLIPModel]:
        """The configuration, and the CLIP itself if a name is given."""
        unknown = sorted(set(overrides) - {field.name for field in fields(FBCLIPConfig)})
        if unknown:
            raise TypeError(f"{', '.join(unknown)}: no such field of FBCLIPConfig.")
        if not isinstance(clip, CLIPModel):
            clip = load_clip(clip, overrides.get("clip_revision"))
        name = clip.config.name_or_path or None
        if name is not None and Path(name).is_dir():  # the path must work in any working folder
            name = str(Path(name).absolute())
        patch_size: Any = clip.config.vision_config.patch_size  # type: ignore[union-attr]
        fresh: dict[str, Any] = {
            "clip_config": clip.config.to_dict(),
            "clip_name_or_path": name,
            "image_size": round(FBCLIPConfig.image_size / patch_size) * patch_size,  # the paper's 518 in whole patches
        }
        return cls.config_class(**(fresh | overrides)), clip


def load_clip(name: str | PathLike[str] | None, revision: str | None, **hub_arguments: Any) -> CLIPModel:
    """The CLIP of a folder or Hub id. ValueError if weights are missing, as they would be random."""
    hub_arguments |= {"revision": revision or "main", "output_loading_info": True}
    loaded: Any = CLIPModel.from_pretrained(name, **hub_arguments)
    clip, info = loaded
    if info["missing_keys"]:
        raise ValueError(f"{name}: no complete CLIP; it lacks {', '.join(sorted(info['missing_keys']))}.")
    align_weights(clip)
    return clip


def clip_weights(clip: CLIPModel) -> dict[str, Tensor]:
    """CLIP's weights under their names in an FB-CLIP."""
    return {CLIP_PREFIX + name: tensor for name, tensor in clip.state_dict().items()}


def align_weights(model: nn.Module) -> None:
    """
    Copies weights of a memory-mapped file to memory that PyTorch allocates. On a CPU, the last bit of a matrix product
    may depend on the address, and a loaded model must give the same results as the saved one.
    """
    for parameter in model.parameters():
        if parameter.device.type == "cpu" and parameter.data_ptr() % ALIGNMENT:
            parameter.data = parameter.data.clone()
