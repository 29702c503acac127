"""`/detect`, the endpoint for programs."""

import tempfile
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from modeling_fbclip.detection.rendering import map_to_png16
from modeling_fbclip.detection.results import PNG_SETTINGS

from .examiner import Examiner
from .guard import RESULT
from .settings import Side
from .uploads import Uploads

EXAMPLE = """from gradio_client import Client, handle_file

client = Client("{url}")
score, label, anomaly_map = client.predict(handle_file("photo.jpg"), api_name="/detect")"""
DOCUMENTATION = f"""### `/detect`

| | name | type | |
| --- | --- | --- | --- |
| in | `image` | file | an image as `handle_file` sends it, within the limits above |
| out | `score` | float, 0 to 1 | the probability that the image is anomalous |
| out | `label` | str | `"normal"` or `"anomalous"`, by the threshold of the default model |
| out | `anomaly_map` | path of a PNG | 16-bit grey of the image's own size, 0 to 65535 for 0 to 1 |

```python
{EXAMPLE}
```

`pip install gradio_client` brings the client. Links are not fetched: `handle_file` takes the path of a file.
A map waits here for a minute, and the client fetches it at once."""


def add_endpoint(examiner: Examiner, uploads: Uploads, **event: Any) -> None:
    """Adds `/detect` to the page that is being built. Its components are hidden."""

    def detect(image: Any) -> tuple[float, str, str]:
        """Score, label and anomaly map of an image, by the default model. See the page for types and an example."""
        try:
            with uploads.read([image]) as (photo,):
                finding = examiner.find(photo, Side(examiner.models.names[0]))
            if finding.error:
                raise ValueError(finding.error)
            result = finding.result()
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        # The sweeper deletes it after the client has had time to fetch it.
        with tempfile.NamedTemporaryFile(dir=get_upload_folder(), prefix=RESULT, suffix=".png", delete=False) as file:
            map_to_png16(result["anomaly_map"]).save(file, **PNG_SETTINGS)
        return result["score"], result["label"], file.name

    with gr.Row(visible=False):
        image = gr.Image(label="image", type="filepath")
        # In Gradio's own documentation the image is a file of the reader, as links are not fetched.
        schema = image.api_info() | {"additional_description": "Path of an image file, for `handle_file`; no link."}
        image.api_info = lambda: schema  # type: ignore[method-assign]
        example = {"path": "photo.jpg", "meta": {"_type": "gradio.FileData"}}
        image.example_payload = lambda: example  # type: ignore[method-assign]
        answer = [gr.Number(label="score"), gr.Textbox(label="label"), gr.File(label="anomaly_map")]
        gr.Button().click(detect, image, answer, api_name="detect", **event)
