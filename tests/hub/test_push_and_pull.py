"""A published model loads without the package and gives the same numbers; a push is one commit or none."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from modeling_fbclip import FBCLIPModel, FBCLIPProcessor
from modeling_fbclip.detection.loading import BUNDLED

from .conftest import Place

# Publishes a CLIP without the package.
PUBLISH = """
    import sys
    from huggingface_hub import HfApi, CommitOperationAdd
    from pathlib import Path
    folder, repo_id = sys.argv[1:]
    api = HfApi()
    api.create_repo(repo_id, exist_ok=True)
    api.create_commit(
        repo_id, [CommitOperationAdd(path.name, path) for path in Path(folder).iterdir()], commit_message="CLIP"
    )
"""
PUSH = """
    import json, sys
    from pathlib import Path
    from modeling_fbclip.hub import push_to_hub
    print(json.dumps(push_to_hub(Path(sys.argv[1]), sys.argv[2], space_id=sys.argv[3])))
"""
PULL = """
    import base64, json, sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "modeling_fbclip":
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Absent())
    import torch
    from huggingface_hub import snapshot_download
    from transformers import AutoModel, AutoProcessor, pipeline

    image, *repo_ids = sys.argv[1:]
    found = {}
    for repo_id in repo_ids:
        model = AutoModel.from_pretrained(repo_id, trust_remote_code=True, dtype="float32").eval()
        processor = AutoProcessor.from_pretrained(repo_id, trust_remote_code=True)
        with torch.no_grad():
            outputs = model(**processor(images=image))
        direct = processor.post_process_anomaly_detection(outputs, target_sizes=[(40, 48)])[0]
        detect = pipeline(
            "zero-shot-anomaly-detection", model=repo_id, trust_remote_code=True, dtype="float32", device="cpu"
        )
        piped = detect(image)
        assert type(model).__module__.startswith("transformers_modules."), type(model)
        found[repo_id] = [[r["score"], r["label"], r["anomaly_map"].tolist()] for r in (direct, piped)]

    folder = snapshot_download(repo_ids[0])
    sys.path.insert(0, folder)
    from handler import EndpointHandler

    with open(image, "rb") as file:
        answer = EndpointHandler(folder)({"inputs": base64.b64encode(file.read()).decode()})
    print(json.dumps({"handler": answer["score"], "models": found}))
"""


def run_python(code: str, *arguments: object, environment: dict[str, str]) -> str:
    lines = [line.removeprefix("    ") for line in code.splitlines()]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def published(place: Place, fbclip, model_dir, parts_dir, clip_dir) -> dict[str, Path]:
    """Repositories on the Hub and their folders: a complete model, one without its CLIP, the bundled model."""
    environment = place.environment | {"HF_TOKEN": place.token}
    run_python(PUBLISH, clip_dir, place.repo("clip"), environment=environment)
    folders = {place.repo("complete"): model_dir, place.repo("adapter"): parts_dir, place.repo("tiny"): BUNDLED}
    for repo_id, folder in folders.items():
        outcome = fbclip("push", "bundled" if folder == BUNDLED else folder, repo_id)
        assert outcome.status == 0, outcome.err
        assert f"{repo_id}: " in outcome.err
    return folders


def expected(folder: Path, image: Path, clip_dir: Path) -> list:
    if json.loads((folder / "config.json").read_text())["includes_clip"]:
        model = FBCLIPModel.from_pretrained(folder, dtype=torch.float32)
    else:
        config = FBCLIPModel.config_class.from_pretrained(folder, clip_name_or_path=str(clip_dir))
        model = FBCLIPModel.from_pretrained(folder, config=config, dtype=torch.float32)
    processor = FBCLIPProcessor.from_pretrained(folder)
    with torch.no_grad():
        outputs = model.eval()(**processor(images=image))
    result = processor.post_process_anomaly_detection(outputs, target_sizes=[(40, 48)])[0]
    return [result["score"], result["label"], result["anomaly_map"].tolist()]


def test_a_published_model_gives_bit_identical_scores_without_the_package(
    published, place, clip_dir, synthetic_image: Image.Image, tmp_path
) -> None:
    image = tmp_path / "image.png"
    synthetic_image.save(image)
    environment = place.environment | {"HF_HOME": str(tmp_path / "fresh"), "HF_TOKEN": place.token}
    found = json.loads(run_python(PULL, image, *published, environment=environment).splitlines()[-1])
    for repo_id, folder in published.items():
        wanted = expected(folder, image, clip_dir)
        assert found["models"][repo_id] == [wanted, wanted], repo_id
    first = next(iter(published))
    assert found["handler"] == found["models"][first][0][0]


def test_a_second_push_makes_no_commit(published, place: Place, fbclip) -> None:
    outcome = fbclip("push", *_complete(published, place), "--format", "json")
    (pushed,) = json.loads(outcome.out)["pushed"]
    assert (outcome.status, pushed["changed"]) == (0, False)
    assert "nothing has changed, no commit made" in outcome.err


def test_a_push_is_one_commit_and_deletes_stale_files(published, place, standin, fbclip) -> None:
    repository = standin.repositories.get("model", place.repo("complete"))
    assert len(repository.messages()) == 2
    commit = repository.branches["main"]
    stale = ["evaluation.json", "model-00001-of-00002.safetensors", "old_fbclip.py", "pytorch_model.bin"]
    stale += ["recipe.json", "training_record.json", ".eval_results/fbclip.yaml"]
    kept = ["photo.md", "train.py", "onnx/model.safetensors", "tools/my_fbclip.py"]
    file = repository.add(b"old")
    repository.commit("main", commit, repository.files(commit) | dict.fromkeys(stale + kept, file), "by hand")
    outcome = fbclip("push", *_complete(published, place))
    assert outcome.status == 0, outcome.err
    assert len(repository.messages()) == 4
    left = set(repository.files(repository.branches["main"]))
    assert left == {*repository.files(commit), *kept}


def test_a_push_to_a_branch_does_not_change_main(published, place, standin, fbclip) -> None:
    repository = standin.repositories.get("model", place.repo("adapter"))
    main = repository.branches["main"]
    folder = published[place.repo("complete")]
    outcome = fbclip("push", folder, place.repo("adapter"), "--revision", "try-1")
    assert outcome.status == 0, outcome.err
    assert repository.branches["main"] == main
    assert repository.messages("try-1") == ["Upload by modeling-fbclip", *repository.messages()]


def test_a_model_and_its_space_can_be_private(place, standin, fbclip, model_dir) -> None:
    outcome = fbclip("push", model_dir, place.repo("secret"), "--space", place.repo("show"), "--private")
    assert outcome.status == 0, outcome.err
    assert f"{place.repo('show')} cannot read the private {place.repo('secret')} yet" in outcome.err
    assert "as a secret named HF_TOKEN" in outcome.err
    for kind, suffix in (("model", "secret"), ("space", "show")):
        repository = standin.repositories.get(kind, place.repo(suffix))
        assert repository.private
        assert "README.md" in repository.files(repository.branches["main"])


def test_a_second_push_of_a_model_and_its_space_changes_neither(place, fbclip, model_dir) -> None:
    arguments = ("push", model_dir, place.repo("twice"), "--space", place.repo("twice-show"), "--format", "json")
    first, second = (fbclip(*arguments) for _ in range(2))
    assert second.status == 0, second.err
    before, after = (json.loads(outcome.out)["pushed"] for outcome in (first, second))
    assert [repository["changed"] for repository in before + after] == [True, True, False, False]
    assert [repository["commit"] for repository in before] == [repository["commit"] for repository in after]
    assert "secret" not in second.err


def test_a_space_has_only_the_modules_of_the_newest_push(place, standin, fbclip, model_dir) -> None:
    arguments = ("push", model_dir, place.repo("newest"), "--space", place.repo("newest-show"))
    assert fbclip(*arguments).status == 0
    repository = standin.repositories.get("space", place.repo("newest-show"))
    commit = repository.branches["main"]
    files = repository.files(commit)
    old = {name: repository.add(b"old") for name in ("modeling_fbclip/old/module.py", "modeling_fbclip/old.py")}
    kept = {name: repository.add(b"kept") for name in ("own.py", "handler.py", "own/modeling_fbclip.py")}
    repository.commit("main", commit, files | old | kept, "by hand")
    assert fbclip(*arguments).status == 0
    assert set(repository.files(repository.branches["main"])) == {*files, *kept}


def test_a_push_from_python_returns_the_repositories(place, model_dir) -> None:
    environment = place.environment | {"HF_TOKEN": place.token}
    arguments = (model_dir, place.repo("python"), place.repo("python-show"))
    first, second = (json.loads(run_python(PUSH, *arguments, environment=environment)) for _ in range(2))
    assert [pushed[:2] for pushed in first] == [["model", arguments[1]], ["space", arguments[2]]]
    assert [pushed[-1] for pushed in first + second] == [True, True, False, False]
    assert first[0][2].endswith(arguments[1])


@pytest.mark.usefixtures("published")
def test_the_repositories_of_a_test_run_can_be_deleted(place: Place, standin, fbclip, model_dir) -> None:
    cleared = dataclasses.replace(place, name="cleared", named=set())
    names = cleared.repo("model"), cleared.repo("show")
    assert fbclip("push", model_dir, names[0], "--space", names[1]).status == 0
    cleared.clear()
    assert standin.repositories.get("model", names[0]) is standin.repositories.get("space", names[1]) is None
    assert standin.repositories.get("model", place.repo("complete")) is not None


def test_a_push_waits_and_retries_after_passing_errors(place, standin, fbclip, other_dir) -> None:
    standin.fail("POST .*/preupload/", 429, times=1, Retry_After="1")
    standin.fail("POST .*/objects/batch", 502, times=1)
    standin.fail("PUT /storage/", None, times=1)
    outcome = fbclip("push", other_dir, place.repo("waited"))
    assert outcome.status == 0, outcome.err
    for request in ("POST .*/preupload/", "POST .*/objects/batch"):
        assert standin.count(request) == 2
    assert standin.count("PUT /storage/") == 3  # weights and picture, one of them twice
    assert standin.count("POST .*/commit/") == 1


def _complete(published: dict[str, Path], place: Place) -> tuple[Path, str]:
    return published[place.repo("complete")], place.repo("complete")
