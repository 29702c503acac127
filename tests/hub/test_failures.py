"""Each way in which a push fails: one line, an unchanged repository, no token in any message."""

import subprocess
import sys

import pytest

from .conftest import OTHERS_TOKEN, Place, environment_for
from .stand_in import StandInHub


@pytest.fixture
def repo_id(place: Place, standin: StandInHub, fbclip, model_dir) -> str:
    """A repository that holds a model already. The tests push another one."""
    repo_id = place.repo("robust")
    if standin.repositories.get("model", repo_id) is None:
        assert fbclip("push", model_dir, repo_id).status == 0
        standin.requests.clear()
    return repo_id


@pytest.mark.parametrize(
    ("pattern", "status", "headers", "said"),
    [
        ("POST .*/commit/", 500, {}, "the Hub failed (500); nothing was changed"),
        ("POST .*/commit/", 503, {}, "the Hub failed (503); nothing was changed"),
        ("POST .*/commit/", None, {}, "no connection to"),
        ("POST .*/commit/", 403, {}, "the token may not write to ada/parts-robust"),
        ("POST .*/commit/", 412, {}, "was changed by somebody else meanwhile; run it again"),
        ("PUT /storage/", 403, {}, "the token may not write to ada/parts-robust"),
        ("POST .*/objects/batch", 401, {}, "the Hub does not accept the token"),
        ("GET /api/models/", 500, {}, "the Hub failed (500)"),
        ("(GET|POST) /api/", 401, {}, "the Hub does not accept the token"),
        ("POST /api/repos/create", 429, {"Retry_After": "17"}, "too many requests; try again in 17 seconds"),
        ("POST /api/repos/create", 429, {"RateLimit": '"api";r=0;t=55'}, "try again in 55 seconds"),
        ("POST /api/repos/create", None, {}, "no connection to"),
    ],
)
def test_a_failure_is_one_line_and_the_repository_is_unchanged(
    standin, repo_id, fbclip, other_dir, pattern, status, headers, said
) -> None:
    repository = standin.repositories.get("model", repo_id)
    before = repository.branches
    standin.fail(pattern, status, **headers)
    outcome = fbclip("push", other_dir, repo_id)
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert repository.branches == before
    standin.failures.clear()


def test_the_same_push_succeeds_after_a_failure(standin, place, fbclip, model_dir) -> None:
    repo_id = place.repo("again")
    standin.fail("POST .*/commit/", 500, times=1)
    assert fbclip("push", model_dir, repo_id).status == 2
    repository = standin.repositories.get("model", repo_id)
    assert len(repository.messages()) == 1
    assert fbclip("push", model_dir, repo_id).status == 0
    assert len(repository.messages()) == 2


def test_the_error_of_a_space_says_that_its_model_is_published(standin, place, fbclip, model_dir) -> None:
    model, space = place.repo("half"), place.repo("half-show")
    standin.fail("POST /api/spaces/.*/commit/", 500)
    outcome = fbclip("push", model_dir, model, "--space", space)
    assert (outcome.status, outcome.out) == (2, "")
    assert "the model is published, its Space is not: the Hub failed (500)" in outcome.err
    assert outcome.err.count("\n") == 1
    assert len(standin.repositories.get("model", model).messages()) == 2
    assert len(standin.repositories.get("space", space).messages()) == 1


def test_a_commit_made_meanwhile_is_not_overwritten(standin, repo_id, fbclip, other_dir) -> None:
    repository = standin.repositories.get("model", repo_id)
    commit = repository.branches["main"]
    theirs = repository.files(commit) | {"notes.md": repository.add(b"theirs")}
    answer, moved = standin.answer, []

    def commit_first(method, request):
        if "/preupload/" in request.path and not moved:
            moved.append(repository.commit("main", commit, theirs, "theirs"))
        return answer(method, request)

    standin.answer = commit_first
    try:
        outcome = fbclip("push", other_dir, repo_id)
    finally:
        standin.answer = answer
    assert outcome.status == 2
    assert "was changed by somebody else meanwhile" in outcome.err
    assert repository.branches["main"] == moved[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nameonly", "not a valid Hub name; use the form owner/name"),
        ("a/b/c", "a/b/c: not a valid Hub name"),
        ("ada/two words", "ada/two words: not a valid Hub name"),
        ("ada/-x", "ada/-x: not a valid Hub name"),
    ],
)
def test_a_wrong_name_is_an_error_before_any_request(standin, fbclip, model_dir, name, said) -> None:
    for arguments in ((name,), ("ada/fine", "--space", name)):
        outcome = fbclip("push", model_dir, *arguments)
        assert outcome.status == 2
        assert said in outcome.err
        assert outcome.err.count("\n") == 1
    assert not standin.requests


def test_a_missing_a_wrong_and_a_foreign_token_are_errors(repo_id, fbclip, model_dir) -> None:
    for token, said in (
        (None, "there is no token: log in with `hf auth login`, or set HF_TOKEN"),
        ("hf_" + "wrong" * 7, "the Hub does not accept the token"),
        (OTHERS_TOKEN, f"the token may not write to {repo_id}"),
    ):
        outcome = fbclip("push", model_dir, repo_id, token=token)
        assert outcome.status == 2
        assert said in outcome.err
        assert outcome.err.count("\n") == 1


def test_a_public_repository_does_not_count_as_private(repo_id, fbclip, model_dir) -> None:
    outcome = fbclip("push", model_dir, repo_id, "--private")
    assert outcome.status == 2
    assert "exists and is public; make it private" in outcome.err


def test_no_network_is_one_line(place, model_dir, tmp_path) -> None:
    environment = environment_for("http://127.0.0.1:9", tmp_path / "home") | {"HF_TOKEN": place.token}
    command = [sys.executable, "-m", "modeling_fbclip.cli", "push", str(model_dir), "ada/offline"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no connection to http://127.0.0.1:9" in done.stderr
    assert done.stderr.count("\n") == 1
    assert place.token not in done.stderr
