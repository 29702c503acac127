"""Progress where there is no terminal: nothing for short work, a line a minute for long work."""

import pytest

from modeling_fbclip.common import progress


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar(3, "work") as bar:
        for _ in range(3):
            bar.update()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("total", "of"), [(3, " of 3"), (None, "")])
def test_long_work_says_how_far_it_is(
    total: int | None, of: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress.progress_bar(total, "work") as bar:
        for _ in range(3):
            now += 50
            bar.update()
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"work: 2{of} after 2 min\n")


def test_a_hidden_bar_says_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0)
    with progress.progress_bar(3, "work", visible=False) as bar:
        bar.update()
    assert capsys.readouterr() == ("", "")
