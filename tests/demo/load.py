"""A load on the page's server: uploads, uploads broken off, and requests at once. Bounded in number and time."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

META = {"_type": "gradio.FileData"}
SECONDS = 120  # for one request


class Load(NamedTuple):
    """How many of each, and how many clients upload at the same time."""

    uploads: int
    clients: int
    broken: int
    calls: int


class Answers(NamedTuple):
    """The status of each upload, the kind and data of the last event of each call, seconds until the page came."""

    uploads: list[int]
    calls: list[tuple[str, str]]
    page_seconds: list[float]


def put_under_load(url: str, photo: bytes, load: Load) -> Answers:
    """Uploads that nobody uses and uploads that break off, then calls of `/detect`; the page is opened meanwhile."""
    with ThreadPoolExecutor(load.clients) as pool, httpx.Client(timeout=SECONDS) as client:
        uploads = pool.map(lambda index: upload(client, url, f"unused-{index}.jpg", photo)[0], range(load.uploads))
        for _ in range(load.broken):
            break_off(url, photo)
        seconds = [open_page(url)]
        statuses = list(uploads)
    with ThreadPoolExecutor(load.calls) as pool:
        calls = pool.map(lambda index: call(url, f"call-{index}.jpg", photo + bytes([index % 256])), range(load.calls))
        seconds += [open_page(url) for _ in range(3)]
        return Answers(statuses, list(calls), seconds)


def upload(client: httpx.Client, url: str, name: str, data: bytes) -> tuple[int, str]:
    """The status and the path."""
    answer = client.post(f"{url}gradio_api/upload", files={"files": (name, data)})
    return answer.status_code, answer.json()[0] if answer.status_code == 200 else ""


def call(url: str, name: str, photo: bytes) -> tuple[str, str]:
    """One client's call of `/detect`: the kind of the last event, and its data."""
    with httpx.Client(timeout=SECONDS) as client:
        status, path = upload(client, url, name, photo)
        if status != 200:
            return "refused", str(status)
        asked = client.post(f"{url}gradio_api/call/detect", json={"data": [{"path": path, "meta": META}]}).json()
        if "event_id" not in asked:
            return "refused", json.dumps(asked)
        answer = client.get(f"{url}gradio_api/call/detect/{asked['event_id']}").text
    kind, data = answer.strip().splitlines()[-2:]
    return kind.removeprefix("event: "), data.removeprefix("data: ")


def break_off(url: str, photo: bytes) -> None:
    """Sends half of an upload and closes the connection."""
    address = urlsplit(url)
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="half.jpg"\r\n\r\n'
    with socket.create_connection((address.hostname, address.port)) as connection:
        lines = (
            "POST /gradio_api/upload HTTP/1.1",
            f"Host: {address.netloc}",
            "Content-Type: multipart/form-data; boundary=b",
            f"Content-Length: {len(head) + len(photo)}",
        )
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + head + photo[: len(photo) // 2])
        time.sleep(0.02)


def open_page(url: str) -> float:
    start = time.monotonic()
    httpx.get(url, timeout=SECONDS).raise_for_status()
    return time.monotonic() - start
