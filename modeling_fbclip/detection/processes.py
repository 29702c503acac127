"""The processes that share one command's work, as `accelerate launch` or `torchrun` started them."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple, TypeVar

# Environment variables in which launchers say how many processes there are, and which one this is: torchrun and
# accelerate, Intel MPI and MPICH, Open MPI, MVAPICH.
SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
# Shares may end hours apart; torch's default time-out of ten minutes would stop the processes that wait.
PATIENCE = timedelta(days=30)

Step = TypeVar("Step")
Value = TypeVar("Value")


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

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints."""
        return self.rank == 0

    def share(self, steps: Sequence[Step]) -> Sequence[Step]:
        """Every `size`-th of the steps."""
        return steps[self.rank :: self.size]

    def share_lazily(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The same of steps that are made one by one."""
        return islice(steps, self.rank, None, self.size)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.barrier()

    def gather(self, value: Value, rank: int) -> list[Value] | None:
        """The values of all processes, in order; on the process `rank` only, `None` elsewhere."""
        if self.size == 1:
            return [value]
        import torch.distributed

        values: list[Any] | None = [None] * self.size if self.rank == rank else None
        torch.distributed.gather_object(value, values, dst=rank)
        return values

    def gather_everywhere(self, value: Value) -> list[Value]:
        """The values of all processes, in order, on every process."""
        if self.size == 1:
            return [value]
        import torch.distributed

        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def add_up(self, counts: Counter[str]) -> Counter[str]:
        """The sum of the counts of all processes, on every process."""
        return sum(self.gather_everywhere(counts), Counter())


ALONE = Processes()


def is_launched_as_main() -> bool:
    """Whether this is the process that prints, as the launcher says before the processes join each other."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def join_processes() -> Processes:
    """
    Joins the others. A process alone does not need accelerate.

    Raises:
        ImportError: if there are others, but no accelerate.
    """
    if all(os.environ.get(name, "1") == "1" for name in SIZES):
        return ALONE
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    # Only Python objects are exchanged. gloo can do that, and several processes may share a GPU, unlike with nccl.
    backend = {"backend": "gloo"} if torch.cuda.is_available() else {}
    # PartialState leaves the precision of a later training open, unlike Accelerator.
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=PATIENCE, **backend)
    return Processes(state.process_index, state.num_processes, str(state.device))
