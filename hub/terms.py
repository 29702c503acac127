"""On which terms a model is published: what its owner says of it, and what is left out."""

import re
from typing import NamedTuple

from huggingface_hub import SpaceHardware

from modeling_fbclip.common.hub import is_hub_id
from modeling_fbclip.common.messages import ArgumentError

APACHE = "apache-2.0"  # of the code, and of weights whose owner says nothing else
CPU = SpaceHardware.CPU_BASIC.value
LICENSE_ID = re.compile(r"[a-z0-9][a-z0-9.+-]{1,40}")


class Terms(NamedTuple):
    """
    Args:
        license: the Hub's identifier of the weights' licence, such as `cc-by-nc-sa-4.0`.
        base_model: Hub id of the model that this one was made from; by default the one that is recorded.
        with_record: whether the records of training and calibration are published: digests of images, names of
            categories, arguments.
        hardware: what the Space is suggested to run on. For a CPU, it installs torch without CUDA.
    """

    license: str = APACHE
    base_model: str | None = None
    with_record: bool = True
    hardware: str = CPU

    def check(self) -> None:
        """
        Raises:
            ArgumentError: one of them cannot be.
        """
        if not LICENSE_ID.fullmatch(self.license):
            raise ArgumentError(
                "license", f"{self.license!r} is no identifier of a licence on the Hub, such as cc-by-nc-sa-4.0"
            )
        if self.base_model is not None and not is_hub_id(self.base_model):
            raise ArgumentError("base_model", f"{self.base_model!r} is no Hub id; use the form owner/name")
        known = [hardware.value for hardware in SpaceHardware]
        if self.hardware not in known:
            raise ArgumentError("hardware", f"{self.hardware!r} is no hardware of a Space; take {', '.join(known)}")
