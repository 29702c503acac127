"""Text branch: learnable prompts, and three readings of the text tower's states, fused into one feature a prompt."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel

from .backbone_fbclip import text_hidden_states
from .configuration_fbclip import FBCLIPConfig
from .scoring_fbclip import upcast


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

    def embed_prompts(self, clip: CLIPModel, prompt_input_ids: Tensor) -> Tensor:
        """Token embeddings, `(2, T, C)`. The learnable vectors replace the placeholders after the start token."""
        embeds = clip.text_model.embeddings.token_embedding(prompt_input_ids)
        after = 1 + self.prompt_embeddings.shape[1]
        return torch.cat([embeds[:, :1], self.prompt_embeddings, embeds[:, after:]], dim=1)  # (2, T, C)

    def forward(self, clip: CLIPModel, prompt_input_ids: Tensor) -> Tensor:
        """
        The text features of the normal and the anomalous prompt, `(2, P)`: unit rows in float32 or wider, from ids
        `(2, T)`. The end-of-text token is the largest id of a row.
        """
        states = text_hidden_states(clip.text_model, self.embed_prompts(clip, prompt_input_ids))  # (2, T, C)
        rows = torch.arange(len(states), device=states.device)
        end_of_text = clip.text_projection(states[rows, prompt_input_ids.argmax(dim=-1)])  # (2, P)
        global_pool = clip.text_projection(states.mean(dim=1))
        weights = upcast(self.token_selector(states).squeeze(-1)).softmax(dim=-1)  # (2, T)
        attention_pool = self.projection_mlp((weights.to(states.dtype).unsqueeze(1) @ states).squeeze(1))
        fused = global_pool + self.attention_pool_weight * attention_pool + self.end_of_text_weight * end_of_text
        return F.normalize(upcast(fused), dim=-1)


class TextEmbedsCache:
    r"""
    The text features of the last prompts. They are computed again after a change of the prompts or the weights. While
    training or under autocast they are not kept. The trained weights are compared with a copy, the frozen ones by
    PyTorch's version counters, which miss a change through `.data`.
    """

    def __init__(self) -> None:
        self._entry: tuple[tuple, list[Tensor], Tensor] | None = None

    def __call__(self, branch: FBCLIPTextBranch, clip: CLIPModel, prompt_input_ids: Tensor) -> Tensor:
        """Arguments and result of [`FBCLIPTextBranch.forward`]."""
        frozen = [*clip.text_model.parameters(), *clip.text_projection.parameters()]
        trained = list(branch.parameters())
        in_flux = branch.training or torch.is_grad_enabled() or torch.is_autocast_enabled(prompt_input_ids.device.type)
        # Compiled code cannot read version counters, and a replica of `DataParallel` has no parameters.
        if in_flux or torch.compiler.is_compiling() or not trained:
            return branch(clip, prompt_input_ids)
        key = (
            tuple(prompt_input_ids.flatten().tolist()),
            tuple((weight.data_ptr(), 0 if weight.is_inference() else weight._version) for weight in frozen),
        )
        if self._entry is not None:
            last_key, last_trained, text_embeds = self._entry
            if key == last_key and all(map(torch.equal, trained, last_trained)):
                return text_embeds.clone()
        text_embeds = branch(clip, prompt_input_ids)
        with torch.inference_mode(False):  # the kept tensors may be used outside of it
            self._entry = (key, [weight.detach().clone() for weight in trained], text_embeds.clone())
        return text_embeds
