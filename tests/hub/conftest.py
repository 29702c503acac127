"""A stand-in Hub or the real one, `fbclip` with its own environment, and small models to publish."""

import itertools
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conftest import TINY_OVERRIDES, make_tiny_clip, make_tiny_model, randomize
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor

from .stand_in import StandInHub

SHELL = Path(__file__).with_name("shell.py")
TOKEN = "hf_" + "standinXstandinXstandinXstandinX"
OTHERS_TOKEN = "hf_" + "somebodyelseXsomebodyelseXsomebo"
SEEDS = itertools.count(100)
REAL = os.environ.get("FBCLIP_HUB_TEST")  # owner/name on the real Hub, with HF_TOKEN; names begin with it
DELETE = """
import sys
from huggingface_hub import HfApi
for repo_id in sys.argv[1:]:
    for repo_type in ("model", "space"):
        HfApi().delete_repo(repo_id, repo_type=repo_type, missing_ok=True)
"""


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@dataclass
class Place:
    """The Hub that the tests publish to: names, a token with write access, the environment of a process."""

    owner: str
    name: str
    token: str
    environment: dict[str, str]
    standin: StandInHub | None
    named: set[str] = field(default_factory=set)

    def repo(self, suffix: str) -> str:
        repo_id = f"{self.owner}/{self.name}-{suffix}"
        self.named.add(repo_id)
        return repo_id

    def clear(self) -> None:
        """Deletes every model and Space named here."""
        environment = self.environment | {"HF_TOKEN": self.token}
        subprocess.run([sys.executable, "-c", DELETE, *sorted(self.named)], env=environment, check=True)


def environment_for(endpoint: str | None, home: Path) -> dict[str, str]:
    """The environment of a process with its own cache, and with the Hub at `endpoint` if that is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    kept |= {"HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    # Xet has its own protocol. Without it files are sent over plain HTTP.
    return kept | ({"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"} if endpoint else {})


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    if REAL:
        if "HF_TOKEN" not in os.environ:
            pytest.fail("FBCLIP_HUB_TEST is set; set HF_TOKEN too, to a token that may write there")
        owner, _, name = REAL.partition("/")
        # An unused name: all repositories that are deleted at the end were made here.
        name = f"{name}-{secrets.token_hex(4)}"
        real = Place(owner, name, os.environ["HF_TOKEN"], environment_for(None, home), None)
        yield real
        real.clear()
        return
    with StandInHub(tmp_path_factory.mktemp("hub") / "files", {TOKEN: "ada", OTHERS_TOKEN: "bob"}) as standin:
        yield Place("ada", "parts", TOKEN, environment_for(standin.endpoint, home), standin)


@pytest.fixture
def standin(place: Place) -> Iterator[StandInHub]:
    """The stand-in without failures and without counted requests."""
    if place.standin is None:
        pytest.skip("FBCLIP_HUB_TEST is set, and the real Hub cannot be told to fail")
    place.standin.failures.clear()
    place.standin.requests.clear()
    yield place.standin
    place.standin.failures.clear()


@pytest.fixture(scope="session")
def fbclip(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Outcome]]:
    """Runs `fbclip` with a token or with `None`. No output may hold the token."""
    log = tmp_path_factory.mktemp("shell") / "stderr"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, str(SHELL)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=place.environment,
        ) as process,
    ):

        def run(*arguments: Any, token: str | None = place.token) -> Outcome:
            process.stdin.write(json.dumps([list(map(str, arguments)), token]) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, log.read_text()
            assert (token or place.token) not in answer
            return Outcome(*json.loads(answer))

        yield run
        process.stdin.close()
        process.wait(timeout=60)
    assert place.token not in log.read_text()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete model with random weights."""
    folder = tmp_path_factory.mktemp("models") / "complete"
    model = make_tiny_model()
    model.save_pretrained(folder)
    FBCLIPProcessor.from_config(model.config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CLIP of `parts_dir`."""
    folder = tmp_path_factory.mktemp("clip")
    make_tiny_clip().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def parts_dir(place: Place, clip_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without its CLIP, which it names by a Hub id."""
    folder = tmp_path_factory.mktemp("models") / "parts"
    model = FBCLIPModel.from_clip(clip_dir, **TINY_OVERRIDES)
    model.config.clip_name_or_path = place.repo("clip")
    model.save_pretrained(folder)
    FBCLIPProcessor.from_config(model.config).save_pretrained(folder)
    assert not json.loads((folder / "config.json").read_text())["includes_clip"]
    return folder


@pytest.fixture
def other_dir(tmp_path: Path) -> Path:
    """A complete model with weights that no other test uploads."""
    folder = tmp_path / "other"
    model = make_tiny_model()
    randomize(model.attention, seed=next(SEEDS))
    model.save_pretrained(folder)
    FBCLIPProcessor.from_config(model.config).save_pretrained(folder)
    return folder
