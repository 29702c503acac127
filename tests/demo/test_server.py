"""The server: `/detect` and its limits. Images are not kept, and no path or link of a client is opened."""

import io
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from modeling_fbclip.demo.photos import MAX_BYTES, MAX_FILES, MAX_PIXELS
from modeling_fbclip.demo.uploads import OTHER_BYTES, REQUEST_BYTES
from PIL import Image

from modeling_fbclip import ZeroShotAnomalyDetectionPipeline, load_bundled

from .conftest import EXAMPLES, wait_for

SAMPLES = sorted(path.name for path in EXAMPLES.glob("*.jpg"))
SCRATCH = EXAMPLES / "wood_scratch.jpg"
META = {"_type": "gradio.FileData"}


def detect(url, payload):
    """Calls `/detect` by plain HTTP. Returns the type of its last event, and the data."""
    call = httpx.post(f"{url}gradio_api/call/detect", json={"data": [payload]}).raise_for_status().json()
    answer = httpx.get(f"{url}gradio_api/call/detect/{call['event_id']}", timeout=60).text
    kind, data = answer.strip().splitlines()[-2:]
    return kind.removeprefix("event: "), data.removeprefix("data: ")


def upload(url, name, data, route="upload"):
    return httpx.post(f"{url}gradio_api/{route}", files={"files": (name, data)}, timeout=60)


def test_the_endpoint_gives_the_result_of_the_pipeline(client):
    score, label, map_path = client.predict(handle_file(SCRATCH), api_name="/detect")
    model, processor = load_bundled()
    expected = ZeroShotAnomalyDetectionPipeline(model=model, processor=processor)(SCRATCH)
    assert score == pytest.approx(expected["score"], abs=1e-6)
    assert label == expected["label"]
    with Image.open(map_path) as stored:
        assert stored.mode == "I;16"
        assert np.abs(np.asarray(stored) / 65535 - expected["anomaly_map"].numpy()).max() < 2e-5


def test_only_detect_is_offered_to_programs(client):
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/detect"]


def test_an_upload_is_deleted_after_its_request_and_cannot_be_used_again(demo):
    (path,) = upload(demo.url, "mine.jpg", SCRATCH.read_bytes()).json()
    assert "mine.jpg" in demo.files()
    assert detect(demo.url, {"path": path, "meta": META})[0] == "complete"
    assert "mine.jpg" not in demo.files()
    kind, data = detect(demo.url, {"path": path, "meta": META})
    assert (kind, "no longer there" in data) == ("error", True)


def test_two_visitors_can_upload_the_same_file(demo):
    paths = [upload(demo.url, "twice.jpg", SCRATCH.read_bytes()).json()[0] for _ in range(2)]
    assert paths[0] == paths[1]
    for path in paths:
        assert detect(demo.url, {"path": path, "meta": META})[0] == "complete"
    assert "twice.jpg" not in demo.files()


def test_a_sample_that_a_visitor_uploads_is_not_deleted(demo):
    (path,) = upload(demo.url, SCRATCH.name, SCRATCH.read_bytes()).json()
    assert path in {str(each) for each in demo.folder.rglob(SCRATCH.name)}
    assert detect(demo.url, {"path": path, "meta": META})[0] == "complete"
    assert set(SAMPLES) <= set(demo.files())


@pytest.mark.parametrize("meta", [{"meta": META}, {}])
@pytest.mark.parametrize("place", ["outside", "the cache", "relative"])
def test_a_path_that_is_not_an_upload_is_not_read(demo, meta, place):
    secret = {
        "outside": SCRATCH,
        "the cache": next(demo.folder.rglob("wood_scratch.jpg")),
        "relative": Path(os.path.relpath(SCRATCH)),
    }[place]
    assert detect(demo.url, {"path": str(secret), **meta})[0] == "error"
    assert detect(demo.url, {"path": None, "url": f"file://{secret}", **meta})[0] == "error"
    assert secret.is_file()


@pytest.mark.parametrize("secret", ["/etc/passwd", str(SCRATCH), "../../../etc/passwd"])
def test_no_file_of_the_server_is_served(demo, secret):
    assert httpx.get(f"{demo.url}gradio_api/file={secret}").status_code in (403, 404)


def test_no_link_is_fetched(demo):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        link = f"http://127.0.0.1:{server.getsockname()[1]}/photo.png"
        for payload in ({"path": link, "meta": META}, {"path": None, "url": link}, {"path": link}):
            assert detect(demo.url, payload)[0] == "error"
        with pytest.raises(TimeoutError):
            server.accept()


def test_routes_of_gradio_that_store_or_process_uploads_are_not_offered(demo):
    assert httpx.get(f"{demo.url}gradio_api/deep_link?session_hash=any").status_code == 404
    for route in ("process_recording", "component_server"):
        assert upload(demo.url, "mine.jpg", b"any", route).status_code == 404


def png(width, height):
    stream = io.BytesIO()
    Image.new("1", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def test_bytes_and_pixels_are_limited(demo, client, tmp_path):
    assert upload(demo.url, "large.png", bytes(MAX_BYTES + 1)).status_code == 413
    assert upload(demo.url, "larger.png", bytes(REQUEST_BYTES + 1)).status_code == 413
    for route in ("upload", "call/detect", "queue/join"):
        unknown = httpx.post(f"{demo.url}gradio_api/{route}", content=iter([b"of unknown length"]))
        assert unknown.status_code == 413
    assert httpx.post(f"{demo.url}gradio_api/call/detect", content=bytes(OTHER_BYTES + 1)).status_code == 413
    (tmp_path / "wide.png").write_bytes(png(5001, MAX_PIXELS // 5000))
    with pytest.raises(AppError, match=r"wide.png: 25.0 megapixels are too many; at most 25 fit"):
        client.predict(handle_file(tmp_path / "wide.png"), api_name="/detect")
    wait_for(lambda: not {"large.png", "larger.png", "wide.png"} & set(demo.files()))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("text.png", b"no image"),
        ("empty.png", b""),
        ("cut.jpg", SCRATCH.read_bytes()[:2000]),
        ("page.eps", b"%!PS-Adobe"),
    ],
)
def test_the_error_for_a_file_that_is_not_an_image_names_it(client, tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AppError, match=name):
        client.predict(handle_file(tmp_path / name), api_name="/detect")


def test_the_number_of_files_is_limited(demo):
    (take_many,) = [index for index, fn in demo.app.fns.items() if fn.name == "take_many"]
    paths = [upload(demo.url, f"{index}.jpg", SCRATCH.read_bytes()).json()[0] for index in range(MAX_FILES + 1)]
    files = [{"path": path, "meta": META} for path in paths]
    data = [files, "bundled (tiny)", "", "", 0.5, 0.5, 0.5]
    body = {"data": data, "fn_index": take_many, "session_hash": "too-many"}
    httpx.post(f"{demo.url}gradio_api/queue/join", json=body).raise_for_status()
    with httpx.stream("GET", f"{demo.url}gradio_api/queue/data?session_hash=too-many", timeout=60) as stream:
        messages = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    (output,) = [message["output"] for message in messages if message["msg"] == "process_completed"]
    assert f"{MAX_FILES + 1} images are too many; at most {MAX_FILES} at once." in output["data"][1]
    wait_for(lambda: not {f"{index}.jpg" for index in range(MAX_FILES + 1)} & set(demo.files()))


def test_twenty_requests_at_once_are_answered_and_their_memory_is_freed(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "GRADIO_SERVER_PORT"}
    process = subprocess.Popen(
        [sys.executable, "-m", "modeling_fbclip.cli", "demo"],
        env=environment | {"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path), "MALLOC_ARENA_MAX": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    photo = tmp_path / "photo.jpg"
    Image.open(SCRATCH).resize((2000, 2000)).save(photo)
    try:
        url = process.stdout.readline().split()[3]
        server = psutil.Process(process.pid)
        resident = []
        for _ in range(3):
            with ThreadPoolExecutor(20) as pool:
                answers = list(pool.map(lambda _: ask(url, photo), range(20)))
            assert answers == [answers[0]] * 20
            resident.append(server.memory_info().rss)
        print(f"resident after 20, 40 and 60 requests: {[size // 2**20 for size in resident]} MiB")
        # The first round fills caches. With an arena a thread, as usual, the allocator would hide a leak.
        # A leak of one decoded photograph per request would add 40 × 12 MB, four times the limit.
        assert resident[-1] < resident[0] + 120 * 2**20
    finally:
        process.terminate()
        process.wait(30)
    assert process.returncode == 0
    assert not list(tmp_path.glob("fbclip-demo-*"))


def ask(url, photo):
    client = Client(url, verbose=False, download_files=photo.with_name("downloads"))
    score, label, _ = client.predict(handle_file(photo), api_name="/detect")
    client.close()
    return score, label
