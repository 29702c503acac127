"""The models that the page offers."""

from pathlib import Path

import pytest
from modeling_fbclip.demo import models
from modeling_fbclip.demo.models import BUNDLED, Models

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPProcessor
from modeling_fbclip.common.messages import ArgumentError


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("private") / "parts"
    model = make_tiny_model()
    model.save_pretrained(folder)
    FBCLIPProcessor.from_config(model.config).save_pretrained(folder)
    return folder


def test_folders_are_offered_by_their_names_and_loaded_once(folder):
    known = Models([str(folder)])
    assert known.names == ["parts", BUNDLED]
    assert known.load("parts") is known.get("parts")
    assert not known.is_loaded(BUNDLED)


@pytest.mark.parametrize("name", ["ada/parts", "../parts", "/etc/passwd", "parts", "<b>", ""])
def test_without_allow_hub_only_offered_models_are_loaded(monkeypatch, name):
    monkeypatch.setattr(models, "load_visitors", None)
    for load in (Models().get, Models().load):
        with pytest.raises(ValueError, match="is not one of the models offered here: bundled"):
            load(name)


@pytest.mark.parametrize("name", ["../parts", "/etc/passwd", "parts", "a/b/c", "a/..\\b", ""])
def test_a_name_that_is_not_a_hub_id_is_not_requested(name):
    with pytest.raises(ValueError, match="is not in the list of models"):
        Models(allow_hub=True).load(name)


def test_a_visitors_model_is_loaded_when_it_is_chosen_and_not_at_other_times(monkeypatch):
    known = Models(allow_hub=True)
    monkeypatch.setattr(models, "load_visitors", lambda name: name)
    with pytest.raises(ValueError, match="a/a is not in memory any more; choose it again"):
        known.get("a/a")
    for name in ("a/a", "b/b", "c/c"):
        known.load(name)
    assert [known.is_loaded(name) for name in ("a/a", "b/b", "c/c")] == [False, True, True]


def test_visitors_do_not_see_where_folders_lie(folder, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{")
    with pytest.raises(ValueError, match=r"^broken cannot be loaded") as caught:
        Models([str(folder), str(tmp_path / "broken")]).get("broken")
    assert str(tmp_path) not in str(caught.value)


def test_the_operator_is_told_at_the_start_of_an_offered_model_that_is_not_there(folder, tmp_path):
    with pytest.raises(ArgumentError, match=f"{tmp_path}/nothing cannot be loaded: .*no such folder"):
        Models([str(folder), f"{tmp_path}/nothing"]).load_first()
