"""Publishing: a staged folder with its card, a Space, and one upload."""

from .card import render_card
from .publish import StagedFile, push_to_hub, stage_folders, upload_folders
from .stage import stage_model
from .terms import Terms
from .upload import HubError, Pushed

__all__ = [
    "HubError",
    "Pushed",
    "StagedFile",
    "Terms",
    "push_to_hub",
    "render_card",
    "stage_folders",
    "stage_model",
    "upload_folders",
]
