"""The processes that share one command's work, as `accelerate launch` or `torchrun` started them."""

import os
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple, TypeVar

# By which launchers say how many there are: torchrun and accelerate, Intel MPI and MPICH, Open MPI, MVAPICH.
SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
# Shares end hours apart; torch's own ten minutes would break the run off for those that wait for the last.
PATIENCE = timedelta(days=30)

Step = TypeVar("Step")


class Processes(NamedTuple):
    """
    This process among those that share the work.

    Args:
        rank: its number; the main process has 0.
        size: how many there are.
        device: the one that this process computes on; `None` if it is alone and may choose.
    """

    rank: int = 0
    size: int = 1
    device: str | None = None

    def share(self, steps: Sequence[Step]) -> Sequence[Step]:
        """Every `size`-th of the steps."""
        return steps[self.rank :: self.size]

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def add_up(self, counts: Counter[str]) -> Counter[str]:
        """The counts of all, once the last has come."""
        if self.size == 1:
            return counts
        from accelerate.utils import gather_object

        return sum(gather_object([counts]), Counter())


def join_processes() -> Processes:
    """
    Joins the others. A process alone does not need accelerate.

    Raises:
        ImportError: if there are others, but no accelerate.
    """
    if all(os.environ.get(name, "1") == "1" for name in SIZES):
        return Processes()
    import torch
    from accelerate import Accelerator, InitProcessGroupKwargs

    # Nothing but counts is exchanged: gloo does, and lets several processes share a GPU, which nccl does not.
    backend = "gloo" if torch.cuda.is_available() else None
    # Not PartialState, which does not see that accelerate was told to stay on the CPU.
    accelerator = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(backend, timeout=PATIENCE)])
    return Processes(accelerator.process_index, accelerator.num_processes, str(accelerator.device))
