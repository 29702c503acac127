"""`fbclip demo`: the page in the browser, on this computer."""

from typing import Annotated

import typer

from modeling_fbclip.cli.errors import blamed_on


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
    from modeling_fbclip.demo.server import serve

    with blamed_on("--port"):
        serve(model or [], host, port)
