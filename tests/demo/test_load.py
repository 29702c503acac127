"""Under load the page answers, and nothing is left. `make benchmark-page` does the same at full size."""

from modeling_fbclip.demo import sweeper

from .conftest import EXAMPLES, wait_for
from .load import Load, put_under_load


def test_a_load_leaves_no_file_and_the_page_alive(demo, monkeypatch):
    monkeypatch.setattr(sweeper, "INTERVAL", 0.5)
    photo = (EXAMPLES / "wood_scratch.jpg").read_bytes()
    answers = put_under_load(demo.url, photo, Load(uploads=60, clients=8, broken=20, calls=20))
    assert answers.uploads == [200] * 60
    assert {kind for kind, _ in answers.calls} == {"complete"}, answers.calls
    assert max(answers.page_seconds) < 5
    monkeypatch.setattr(sweeper, "MAX_AGE", 1)  # only now: a call may wait for long on a busy machine
    wait_for(lambda: not list(demo.folder.rglob("*")), 30)


def test_uploads_are_refused_when_there_is_no_room(demo, monkeypatch):
    monkeypatch.setattr(sweeper, "MAX_BYTES", 1000)
    answers = put_under_load(demo.url, bytes(1000), Load(uploads=3, clients=3, broken=0, calls=1))
    assert answers.uploads == [503] * 3
