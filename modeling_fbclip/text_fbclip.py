"""Text branch: learnable prompts, and three readings of the text tower's states, fused into one feature a prompt."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel

from .backbone_fbclip import text_hidden_states
from .configuration_fbclip import FBCLIPConfig
from .scoring_fbclip import upcast

VALUES_COMPARED = 64  # of each frozen weight


class FBCLIPTextBranch(nn.Module):
    """The trainable parts of the text branch (paper, multi-strategy text feature fusion)."""

    def __init__(self, config: FBCLIPConfig) -> None:
        super().__init__()
        width = config.clip_text.hidden_size
        bottleneck = width // config.token_selector_reduction
        self.attention_pool_weight = config.attention_pool_weight
        self.end_of_text_weight = config.end_of_text_weight
        self.prompt_embeddings = nn.Parameter(torch.empty(2, config.prompt_length, width))
        self.token_selector = nn.Sequential(nn.Linear(width, bottleneck), nn.ReLU(), nn.Linear(bottleneck, 1))
        self.projection_mlp = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, config.projection_dim)
        )

    def forward(self, token_embeds: Tensor) -> Tensor:
        """The learnable vectors in the places after the start token of token embeddings `(2, T, C)`."""
        after = 1 + self.prompt_embeddings.shape[1]
        return torch.cat([token_embeds[:, :1], self.prompt_embeddings, token_embeds[:, after:]], dim=1)

    def fuse(self, clip: CLIPModel, states: Tensor, end_of_text: Tensor) -> Tensor:
        """The text features `(2, P)`, unit rows, from states `(2, T, C)` and the places of the end tokens, `(2,)`."""
        rows = torch.arange(states.shape[0], device=states.device)
        end = clip.text_projection(states[rows, end_of_text])  # (2, P)
        global_pool = clip.text_projection(states.mean(dim=1))
        weights = upcast(self.token_selector(states).squeeze(-1)).softmax(dim=-1)  # (2, T)
        attention_pool = self.projection_mlp((weights.to(states.dtype).unsqueeze(1) @ states).squeeze(1))
        fused = global_pool + self.attention_pool_weight * attention_pool + self.end_of_text_weight * end
        return F.normalize(upcast(fused), dim=-1)


def embed_prompts(branch: FBCLIPTextBranch, clip: CLIPModel, prompt_input_ids: Tensor) -> Tensor:
    """The embeddings of the prompts, `(2, T, C)`: learnable vectors and words."""
    return branch(clip.text_model.embeddings.token_embedding(prompt_input_ids))


def text_features(branch: FBCLIPTextBranch, clip: CLIPModel, prompt_input_ids: Tensor) -> Tensor:
    """
    The text features of the normal and the anomalous prompt, `(2, P)`: unit rows in float32 or wider, from ids
    `(2, T)`. The end-of-text token is the largest id of a row.
    """
    states = text_hidden_states(clip.text_model, embed_prompts(branch, clip, prompt_input_ids))  # (2, T, C)
    return branch.fuse(clip, states, prompt_input_ids.argmax(dim=-1))


class TextFeaturesCache:
    r"""
    The text features of the last prompts, computed again after a change of the prompts or the weights.

    They are kept on a CPU only, since a comparison would wait for other devices, and for modules as the model was made
    with: not while training, compiling or under autocast, nor with adapters, hooks, parametrisations or quantisation.
    Trained weights and the prompts' embeddings are compared with a copy, CLIP's weights by PyTorch's version counters
    and some of their values, since merging an adapter does not count as a version.
    """

    def __init__(self, branch: FBCLIPTextBranch, clip: CLIPModel) -> None:
        self._plain = {type(module) for module in _modules(branch, clip)}
        self._entry: tuple[list, list[Tensor], Tensor] | None = None

    def __call__(self, branch: FBCLIPTextBranch, clip: CLIPModel, prompt_input_ids: Tensor) -> Tensor:
        """Arguments and result of [`text_features`]."""
        if not self._may_keep(branch, clip, prompt_input_ids):
            self._entry = None
            return text_features(branch, clip, prompt_input_ids)
        frozen = [*clip.text_model.encoder.parameters(), *clip.text_projection.parameters()]
        frozen += [*clip.text_model.final_layer_norm.parameters()]
        frozen += [*clip.text_model.embeddings.position_embedding.parameters()]
        versions = [(weight.data_ptr(), 0 if weight.is_inference() else weight._version) for weight in frozen]
        samples = [weight.flatten()[:: weight.numel() // VALUES_COMPARED + 1] for weight in frozen]
        embeds = embed_prompts(branch, clip, prompt_input_ids)
        values = [prompt_input_ids, embeds, torch.cat(samples), *branch.parameters()]
        if self._entry is not None:
            last_versions, last_values, features = self._entry
            if versions == last_versions and all(map(torch.equal, values, last_values)):
                return features.clone()
        features = text_features(branch, clip, prompt_input_ids)
        with torch.inference_mode(False):  # the kept tensors may be used outside of it
            self._entry = versions, [value.detach().clone() for value in values], features.clone()
        return features

    def _may_keep(self, branch: FBCLIPTextBranch, clip: CLIPModel, prompt_input_ids: Tensor) -> bool:
        """Cheap questions first. A replica of `DataParallel` has no parameters."""
        on_cpu = prompt_input_ids.device.type == "cpu"
        in_flux = branch.training or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
        if torch.compiler.is_compiling() or not on_cpu or in_flux or not any(True for _ in branch.parameters()):
            return False
        return all(type(module) in self._plain and not has_hooks(module) for module in _modules(branch, clip))


def has_hooks(module: nn.Module) -> bool:
    """Whether calling a module does more than its class says. accelerate's hooks replace `forward`."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _modules(branch: FBCLIPTextBranch, clip: CLIPModel) -> list[nn.Module]:
    """All modules that the text features depend on."""
    return [module for part in (branch, clip.text_model, clip.text_projection) for module in part.modules()]
