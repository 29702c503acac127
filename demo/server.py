"""Starts and stops the server. When it stops, the files that it has stored are deleted."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import gradio as gr
from starlette.middleware import Middleware

from modeling_fbclip.common.messages import ArgumentError

from .app import build_app
from .downloads import Downloads
from .guard import Guard
from .handlers import Handlers
from .models import BUNDLED, Models
from .photos import MAX_BYTES
from .sweeper import Sweeper
from .uploads import Uploads

# System fonts only: the page sends no request to another server.
THEME = gr.themes.Default(
    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(
    # Gradio's own are too pale to be read by everybody.
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_label_text_color="*neutral_700",
    block_label_text_color_dark="*neutral_200",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    input_placeholder_color="*neutral_600",
    input_placeholder_color_dark="*neutral_300",
)
STYLE = Path(__file__).with_name("style.css")
SCRIPTS = [Path(__file__).with_name(name) for name in ("regions.js", "page.js")]


@contextmanager
def serving(
    offered: Sequence[str] = (), host: str | None = None, port: int | None = None, allow_hub: bool = False
) -> Iterator[gr.Blocks]:
    """
    The demo. It serves in its own threads while the block runs.

    Args:
        offered (`Sequence[str]`): folders and Hub ids of models to choose from; the first is the default.
        host (`str`, *optional*): address to listen on, by default `GRADIO_SERVER_NAME` or 127.0.0.1.
        port (`int`, *optional*): by default `GRADIO_SERVER_PORT` or the first free one from 7860 on.
        allow_hub (`bool`): whether visitors may name other models on the Hub.

    Raises:
        ValueError: if the default model cannot be loaded.
        OSError: if the port is taken.
    """
    with ExitStack() as at_end:
        # Gradio reads this variable when components are made.
        folder = at_end.enter_context(TemporaryDirectory(prefix="fbclip-demo-", ignore_cleanup_errors=True))
        at_end.callback(_set_variable, os.environ.get("GRADIO_TEMP_DIR"))
        _set_variable(folder)
        models, uploads = Models(offered, allow_hub), Uploads()
        models.load_first()
        handlers = Handlers(models, uploads)
        app = build_app(handlers)
        at_end.callback(app.close, verbose=False)
        sweeper = at_end.enter_context(Sweeper(Path(folder), uploads.in_use, handlers.sessions.expire))
        try:
            app.launch(
                server_name=host,
                server_port=port,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                enable_monitoring=False,
                run_history=False,
                footer_links=[],  # the page documents its endpoint itself
                max_file_size=MAX_BYTES,
                state_session_capacity=256,
                app_kwargs={
                    "middleware": [
                        Middleware(Guard, uploads=uploads, sweeper=sweeper),
                        Middleware(Downloads, sessions=handlers.sessions, examiner=handlers.examiner),
                    ]
                },
                head="".join(f"<script>{path.read_text(encoding='utf-8')}</script>" for path in SCRIPTS),
                theme=THEME,
                css_paths=STYLE,
            )
        except OSError as error:  # its own message speaks of Gradio's variables
            if port is None:
                raise
            raise ArgumentError(
                "port", f"the port {port} is in use, or cannot be listened on; name another"
            ) from error
        yield app


def _set_variable(folder: str | None) -> None:
    if folder is None:
        os.environ.pop("GRADIO_TEMP_DIR", None)
    else:
        os.environ["GRADIO_TEMP_DIR"] = folder


def serve(
    offered: Sequence[str] = (), host: str | None = None, port: int | None = None, allow_hub: bool = False
) -> None:
    """Serves until the process is interrupted or terminated. Arguments and errors are those of [`serving`]."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that stored files are removed then too
    with serving(offered, host, port, allow_hub) as app:
        print(f"FB-CLIP is at {app.local_url} (Ctrl+C ends it)", flush=True)
        app.block_thread()


def serve_space(model_id: str) -> None:
    """Serves a published model. If it cannot be loaded, serves the bundled model."""
    try:
        serve([model_id])
    except ValueError as error:
        print(f"{error}\nServing the model {BUNDLED!r} instead.", file=sys.stderr, flush=True)
        serve()
