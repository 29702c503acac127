"""A user's mistake as one line: the only place where errors become messages of the command line."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from modeling_fbclip.common.messages import ArgumentError, one_line

# Which extra of the package brings a library.
EXTRAS = {
    "accelerate": "train",
    "datasets": "train",
    "pyarrow": "train",
    "matplotlib": "evaluate",
    "onnx": "onnx",
    "onnx_ir": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "openvino": "openvino",
    "gradio": "demo",
    "packaging": "demo",
    "starlette": "demo",
}

# Options that are not named after their argument.
FLAGS = {"output_dir": "--output", "num_workers": "--workers"}


def option_of(argument: str) -> str:
    """The option of an argument by its Python name."""
    return FLAGS.get(argument, f"--{argument.replace('_', '-')}")


def is_mistake(error: Exception) -> bool:
    """Whether the user can correct this error."""
    kinds = (ImportError, OSError, ValueError, FloatingPointError)
    strict = sys.modules.get("huggingface_hub.errors")  # of a configuration that is wrong
    return isinstance(error, kinds) or (strict is not None and isinstance(error, strict.StrictDataclassError))


def explain(error: Exception) -> str:
    """The line for a mistake."""
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return f"needs the library {error.name!r}: pip install 'modeling-fbclip[{EXTRAS[error.name]}]'"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return one_line(f"{error.filename}: {error.strerror}")
    if isinstance(error, ArgumentError | FloatingPointError):  # they write the Python names of arguments in backquotes
        return re.sub(r"`([a-z_]+)`", lambda name: option_of(name[1]), one_line(error))
    return one_line(error)


@contextmanager
def blamed_on(argument: str | None) -> Iterator[None]:
    """
    Says which argument of the command a mistake is in.

    Args:
        argument: its name on the command line, such as `--output` or `DATA`; `None` if that is not known. The
            one that an `ArgumentError` names is used instead.

    Raises:
        typer.BadParameter: in place of a mistake.
    """
    try:
        yield
    except Exception as error:
        if not is_mistake(error):
            raise
        if isinstance(error, ArgumentError):
            argument = option_of(error.argument)
        raise typer.BadParameter(explain(error), param_hint=argument) from error
