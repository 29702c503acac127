"""`fbclip demo`: the page in the browser, on this computer."""

from typing import Annotated

import typer

from modeling_fbclip.common.messages import one_line


def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder or Hub id of a model to offer; may be repeated, the first is chosen at the start.",
            show_default="the bundled one",
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on.", show_default="the first free from 7860")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other computers in, and phones.")
    ] = "127.0.0.1",
) -> None:
    """
    Try a model in the browser.

    Images go to this computer only and are not kept. Visitors may choose among the offered models and the public ones
    on the Hub.

    \b
    Example:
      fbclip demo --model my-model --port 7860
    """
    try:
        from modeling_fbclip.demo.server import serve
    except ModuleNotFoundError as error:
        raise typer.BadParameter(
            f"the package {error.name!r} is missing; install it by pip install 'modeling-fbclip[demo]'"
        ) from error
    try:
        serve(model or [], host, port)
    except ValueError as error:
        raise typer.BadParameter(one_line(error), param_hint="--model") from error
    except OSError as error:
        raise typer.BadParameter(one_line(error), param_hint="--port") from error
