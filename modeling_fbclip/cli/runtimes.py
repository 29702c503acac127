"""`--runtime`: what computes a model, in place of PyTorch."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from modeling_fbclip.detection.detector import Detector
    from modeling_fbclip.detection.processes import Processes

Runtime = Annotated[
    Literal["torch", "onnx", "openvino"],
    typer.Option(help="What computes the model. onnx and openvino are faster on CPUs; they export it first."),
]
FASTER = {"openvino": "openvino", "onnx": "onnxruntime"}  # the fastest first, with the library of each
SLOW_SECONDS = 60  # a run from which on the faster one is named


def require_fitting(runtime: str, device: str | None, dtype: str) -> None:
    """Raises typer.BadParameter for an option that PyTorch alone has."""
    if runtime == "torch":
        return
    if device not in (None, "cpu"):
        raise typer.BadParameter(f"{runtime} computes on the processor; leave it out", param_hint="--device")
    if dtype != "float32":
        raise typer.BadParameter(f"{runtime} computes in float32; leave it out", param_hint="--dtype")
    library = FASTER[runtime]
    if find_spec(library) is None or find_spec("onnxscript") is None:
        message = f"needs the library {library}: pip install 'modeling-fbclip[{runtime}]'"
        raise typer.BadParameter(message, param_hint="--runtime")


def device_for(runtime: str, device: str | None) -> str | None:
    """Where PyTorch loads the model: on the processor for another runtime, which computes there."""
    return device if runtime == "torch" else "cpu"


def take_runtime(detector: "Detector", runtime: str, processes: "Processes | None" = None) -> None:
    """Gives a detector the model as the runtime computes it. Of several processes, the main one exports it."""
    if runtime == "torch":
        return
    from modeling_fbclip.export.cache import exported

    def tell(line: str) -> None:
        typer.echo(line, err=True)

    if processes is not None and not processes.is_main:
        processes.wait()
    detector.model = exported(detector.model, detector.processor, runtime, tell)  # type: ignore[arg-type]
    if processes is not None and processes.is_main:
        processes.wait()


def faster_runtime(detector: "Detector", seconds: float) -> str | None:
    """A line that names the fastest runtime that is installed, after a slow run by PyTorch on the processor."""
    is_slow = seconds >= SLOW_SECONDS and detector.model.device.type == "cpu" and detector.references is None
    if not is_slow or detector.model.config.runtime is not None or find_spec("onnxscript") is None:
        return None
    name = next((name for name, library in FASTER.items() if find_spec(library) is not None), None)
    return name and f"--runtime {name} is faster on this processor, and gives the same numbers"
