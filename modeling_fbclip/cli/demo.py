"""`fbclip demo`: the page in the browser, on this computer."""

from typing import Annotated

import typer

from modeling_fbclip.cli.errors import blamed_on


def demo(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            "--model",
            metavar="MODEL …",
            help="Folders and Hub ids of models to offer; the first is chosen at the start.",
            show_default="the bundled one",
        ),
    ] = None,
    allow_hub: Annotated[
        bool, typer.Option("--allow-hub", help="Let visitors load other public models from the Hub, within limits.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on.", show_default="the first free from 7860")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other computers in, and phones.")
    ] = "127.0.0.1",
) -> None:
    """
    Try a model in the browser.

    Images go to this computer only and are not kept. Visitors choose among the offered models.

    \b
    Example:
      fbclip demo --models my-model other-model --port 7860
    """
    from modeling_fbclip.demo.server import serve

    with blamed_on("--port"):
        serve(models or [], host, port, allow_hub)
