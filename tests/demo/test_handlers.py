"""The page's events, called as Gradio calls them."""

from types import SimpleNamespace

import gradio as gr
import pytest
from modeling_fbclip.demo.handlers import EXAMPLES, Handlers
from modeling_fbclip.demo.models import BUNDLED, Models
from modeling_fbclip.demo.photos import Photo
from modeling_fbclip.demo.sessions import Tab, Work
from modeling_fbclip.demo.uploads import Uploads

PAGE = SimpleNamespace(session_hash="page")
SETTINGS = (BUNDLED, "", "", "", "", "", False, False)
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def handlers() -> Handlers:
    return Handlers(Models(), Uploads())


def choose(handlers: Handlers, index: int) -> str:
    return handlers.receive_example(PAGE, gr.SelectData(None, {"index": index, "value": ""}))


def test_a_load_that_fails_gives_one_message_and_the_old_model(handlers):
    told, model, *unchanged = list(handlers.load(HOSTILE, PAGE))[-1]
    assert 'role="alert"' in told
    assert "is not one of the models offered here" in told
    assert "<img" not in told
    assert "&lt;img" in told
    assert model == BUNDLED
    assert unchanged == [gr.skip()] * 4


@pytest.mark.parametrize("model", [None, 3, ["a"], {"a": 1}])
def test_a_model_of_another_type_gets_a_message(handlers, model):
    told, kept, *_ = list(handlers.load(model, PAGE))[-1]
    assert "is not one of the models offered here" in told
    assert kept == BUNDLED


def test_a_loaded_model_brings_its_prompts_and_thresholds(handlers):
    *_, (told, model, normal, anomalous, threshold, pixel_threshold) = handlers.load(BUNDLED, PAGE)
    assert (told, model) == ("", BUNDLED)
    assert (normal, anomalous) == ("object without defect .", "object with defect .")
    assert (threshold, pixel_threshold) == (0.327, 0.247)


def test_what_is_examined_is_what_came_last(handlers, monkeypatch):
    assert EXAMPLES[0].name in choose(handlers, 0)
    find = handlers.examiner.find
    seen = []

    def find_while_another_comes(photo, *arguments):
        seen.append(photo.name)
        if len(seen) == 1:
            choose(handlers, 1)
        return find(photo, *arguments)

    monkeypatch.setattr(handlers.examiner, "find", find_while_another_comes)
    (first,) = handlers.examine_one(PAGE, *SETTINGS)
    assert first == gr.skip()  # the older result is not shown
    (second,) = handlers.examine_one(PAGE, *SETTINGS)
    assert f'data-name="{EXAMPLES[1].name}"' in second
    assert seen == [EXAMPLES[0].name, EXAMPLES[1].name]
    (again,) = handlers.examine_one(PAGE, *SETTINGS)
    assert again == second
    assert len(seen) == 2  # nothing has changed


def test_several_images_appear_one_by_one_the_most_anomalous_first(handlers):
    photos = [Photo(path.name, path.read_bytes()) for path in EXAMPLES if path.stem in ("wood_good", "wood_gouged")]
    handlers.sessions.put_work("page", Tab.MANY, Work([*photos, Photo(HOSTILE, b"no image")]))
    shown = list(handlers.examine_many(PAGE, *SETTINGS))
    assert [html.count("<anomaly-result") for html in shown] == [1, 2, 2]
    assert "Examining 2 images" in shown[0]
    assert shown[-1].index('data-name="wood_gouged.jpg"') < shown[-1].index('data-name="wood_good.jpg"')
    assert "<img src=x" not in shown[-1]
    assert "&lt;img src=x onerror=alert(1)&gt;: not an image" in shown[-1]


def test_an_upload_that_is_refused_takes_the_place_of_the_old_result(handlers):
    choose(handlers, 0)
    assert "<anomaly-result" in list(handlers.examine_one(PAGE, *SETTINGS))[-1]
    nothing, told = handlers.receive_one({"path": "/etc/passwd", "orig_name": HOSTILE}, PAGE)
    assert nothing is None
    assert "The upload is no longer there; send the file again." in told
    assert list(handlers.examine_one(PAGE, *SETTINGS)) == [told]


def test_a_page_that_has_expired_says_what_to_do(handlers):
    choose(handlers, 0)
    handlers.forget(PAGE)
    assert "appear here" in list(handlers.examine_one(PAGE, *SETTINGS))[-1]


@pytest.mark.parametrize("wrong", [(3, *SETTINGS[1:]), SETTINGS[:2]])
def test_settings_of_another_kind_get_a_message(handlers, wrong):
    choose(handlers, 0)
    (told,) = handlers.examine_one(PAGE, *wrong)
    assert 'role="alert"' in told


def test_good_images_of_an_unknown_model_get_a_message(handlers):
    for answer in (handlers.receive_references([], HOSTILE, PAGE), handlers.forget_references(HOSTILE, PAGE)):
        assert "is not one of the models offered here" in answer[1]
        assert "<img" not in answer[1]
