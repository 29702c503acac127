"""Stage B trains image and text towers together, with images and captions, and with patches and states.

The patch terms read the tokens as FB-CLIP's identity view does: every feature layer through CLIP's last layer norm
and projection, summed over layers, compared with "object without defect." and "object with defect.".
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel

from .captions import PROMPT_NOUNS, PROMPT_STATES, state_prompt
from .critic import Critic
from .dataset import Batch, normalise
from .defects import KINDS
from .distill import Distiller
from .settings import Settings
from .student import PATCH, text_embeds, token_embeds, vision_layers
from .targets import patch_loss, patch_targets
from .teacher import Teacher
from .training import autocast, images, train
from .validation import auroc
from .vocabulary import PLACEHOLDER, PROMPT_LENGTH, encode

logger = logging.getLogger("modeling_fbclip.recipe")
TEMPERATURE = 0.07
VIEWS_PER_SCALE_WEIGHT = 3 / 6  # FB-CLIP sums three views a layer, each weighted by one of six softmax weights
SOFTNESS = 0.5  # share of the critic's opinion in the labels
KIND_WEIGHT, CONTRAST_WEIGHT, DISTILL_WEIGHT = 0.2, 0.1, 0.2


def state_logits(clip: CLIPModel, layers: list[Tensor], texts: Tensor, feature_layers: tuple[int, ...]) -> Tensor:
    """Logit of "with defect" against "without defect" for every token, (B, N); `texts` are (2, P)."""
    difference = (texts[1] - texts[0]) / TEMPERATURE
    maps = [token_embeds(clip, layers[number - 1]) @ difference for number in feature_layers]
    return VIEWS_PER_SCALE_WEIGHT * torch.stack(maps).sum(0)


def state_sentences(step_seed: int) -> list[str]:
    """Prompts with one noun: without defect, with a defect, with each kind. Placeholders lead them, as in FB-CLIP."""
    draw = torch.Generator().manual_seed(step_seed)
    pick = lambda count: int(torch.randint(count, (), generator=draw))  # noqa: E731
    noun, word = PROMPT_NOUNS[pick(len(PROMPT_NOUNS))], PROMPT_STATES[pick(len(PROMPT_STATES))]
    lead = f"{PLACEHOLDER} " * PROMPT_LENGTH if pick(4) else ""
    states = [f"without {word}", f"with {word}", *(f"with {kind}" for kind in KINDS)]
    return [lead + state_prompt(noun, state) for state in states]


class ClipLoss:
    """The terms of stage B for one batch."""

    def __init__(self, student: Distiller, teacher: Teacher, critic: Critic, settings: Settings) -> None:
        self.student, self.teacher, self.critic, self.settings = student, teacher, critic, settings
        self.clip = student.clip

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        pixels, mask, kind = batch["pixels"], batch["mask"], batch["kind"]
        captions, which = unique(batch["caption"])
        sentences = state_sentences(int(pixels[:, :, 0, 0].sum()))  # seeded by the batch, so a run can resume
        with autocast(self.settings.device):
            layers = vision_layers(self.clip, normalise(pixels))
            texts = text_embeds(self.clip, encode([*sentences, *captions]).to(pixels.device))
            states, captioned = texts[: len(sentences)], texts[len(sentences) :]
            logits = state_logits(self.clip, layers, states[:2], self.settings.feature_layers)
            last = token_embeds(self.clip, layers[-1])
            outputs = self.teacher(pixels)
            found = self.student.similarities(layers, self.student.targets(outputs))
            seen = [opinion.float().sigmoid() for opinion in self.critic([each.float() for each in outputs[:-1]])]
        share, anomalous = patch_targets(mask, PATCH), (kind >= 0).float()
        return {
            "image": F.binary_cross_entropy_with_logits(logits[:, 0], torch.lerp(anomalous, seen[1], SOFTNESS)),
            "patch": patch_loss(logits[:, 1:], torch.lerp(share, seen[0], SOFTNESS)),
            "kind": KIND_WEIGHT * kind_loss(last[:, 1:], share, kind, states),
            "contrast": CONTRAST_WEIGHT
            * contrast_loss(last[:, 0], captioned, which.to(pixels.device), self.clip.logit_scale),
            "distil": DISTILL_WEIGHT * torch.stack([1 - similarity for similarity in found]).sum(),
        }


def unique(sentences: list[str]) -> tuple[list[str], Tensor]:
    """The distinct sentences, and for each sentence its index among them."""
    different = sorted(set(sentences))
    return different, torch.tensor([different.index(sentence) for sentence in sentences])


def kind_loss(patches: Tensor, share: Tensor, kind: Tensor, states: Tensor) -> Tensor:
    """Cross entropy of the kind of defect of each anomalous patch, against the kinds' texts."""
    image, patch = torch.nonzero((share > 0.5) & (kind >= 0)[:, None], as_tuple=True)
    if len(image) == 0:
        return patches.sum() * 0
    logits = patches[image, patch] @ states[2:].T / TEMPERATURE
    loss = F.cross_entropy(logits, kind[image], reduction="none")
    weight = 1 / torch.bincount(image)[image]  # every image counts the same
    return (loss * weight).sum() / weight.sum()


def contrast_loss(cls: Tensor, captions: Tensor, which: Tensor, logit_scale: Tensor) -> Tensor:
    """CLIP's symmetric loss; a caption that several images share belongs to all of them."""
    logits = cls @ captions.T * logit_scale.exp().clamp(max=30)
    owners = F.one_hot(which, len(captions)).float()
    by_caption = -(logits.T.log_softmax(-1) * (owners / owners.sum(0)).T).sum(-1).mean()
    return F.cross_entropy(logits, which) + by_caption


def train_clip(
    student: Distiller, teacher: Teacher, critic: Critic, settings: Settings, work: Path, workers: int
) -> tuple[CLIPModel, dict[str, object]]:
    """Runs stage B on small images, then on images of FB-CLIP's size, for the position embeddings and CLS."""
    student.requires_grad_(True)
    loss = ClipLoss(student, teacher, critic, settings)
    size, batch = settings.image_size, settings.batch_size
    seconds = train(
        "clip", student, loss, images(settings, "clip", size), settings, work,
        batch, 8e-4, workers, settings.clip_cycle,
    )  # fmt: skip
    narrow = clip_figures(student.clip, settings, size)
    size, batch = settings.detect_size, max(1, batch // 4)
    seconds += train(
        "widen", student, loss, images(settings, "widen", size), settings, work,
        batch, 2e-4, workers,
    )  # fmt: skip
    record = {"seconds": round(seconds), "small": narrow, "large": clip_figures(student.clip, settings, size)}
    logger.info("clip: %s", record)
    return student.clip.eval(), record


@torch.no_grad()
def clip_figures(clip: CLIPModel, settings: Settings, size: int) -> dict[str, float]:
    """Patch and image AUROC of the plain patch · text map on held-out images of `size`."""
    dataset = images(settings, "validation", size)
    texts = text_embeds(clip, encode(fbclip_prompts()).to(settings.device))
    scores, maps, labels, masks = [], [], [], []
    for first in range(0, settings.validation_images, 16):
        batch = dataset.batch(range(first, first + 16))
        with autocast(settings.device):
            layers = vision_layers(clip, normalise(batch["pixels"].to(settings.device)))
            logits = state_logits(clip, layers, texts, settings.feature_layers).float().cpu()
        scores.append(logits[:, 0])
        maps.append(logits[:, 1:])
        labels.append(batch["kind"] >= 0)
        masks.append(patch_targets(batch["mask"], PATCH) >= 0.5)
    return {
        "patch_auroc": round(auroc(torch.cat(maps).flatten(), torch.cat(masks).flatten()), 4),
        "image_auroc": round(auroc(torch.cat(scores), torch.cat(labels)), 4),
    }


def fbclip_prompts() -> list[str]:
    """FB-CLIP's two prompts with their placeholders."""
    lead = f"{PLACEHOLDER} " * PROMPT_LENGTH
    return [lead + state_prompt("object", "without defect"), lead + state_prompt("object", "with defect")]
