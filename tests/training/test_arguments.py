"""Where the settings of a run come from: given, the model's, published."""

import json

import pytest

from conftest import make_tiny_model
from modeling_fbclip import FBCLIPModel, FBCLIPProcessor, load_bundled
from modeling_fbclip.common.messages import ArgumentError
from modeling_fbclip.training import FBCLIPTrainingArguments, train
from modeling_fbclip.training.arguments import published_settings
from training.conftest import make_parts

OWN = {"epochs": 2, "learning_rate": 1e-3, "adam_betas": [0.9, 0.99], "augment": True}


@pytest.fixture
def model() -> FBCLIPModel:
    made = make_tiny_model()
    made.config.training, made.config.focal_gamma = dict(OWN), 0.0
    return made


def test_a_models_own_settings_are_taken_and_given_ones_win(model, tmp_path):
    args = FBCLIPTrainingArguments.for_model(model, tmp_path, learning_rate=2e-3, dice_weight=1.0)
    assert (args.epochs, args.learning_rate, args.adam_betas, args.augment) == (2, 2e-3, (0.9, 0.99), True)
    expected = {"epochs": "the model's", "learning_rate": "given", "batch_size": "default", "seed": "default"}
    expected |= {"focal_gamma": "the model's", "dice_weight": "given"}
    assert {name: args.origins[name] for name in expected} == expected


def test_as_published_is_the_paper_whatever_the_model_has(model, tmp_path):
    args = FBCLIPTrainingArguments.for_model(model, tmp_path, as_published=True, batch_size=2)
    assert (args.epochs, args.learning_rate, args.lr_scheduler, args.augment) == (3, 5e-5, "constant", False)
    assert (args.focal_gamma, args.dice_weight, args.consistency_weight) == (4.0, 0.2, 0.15)
    assert args.validation_fraction == 0
    assert (args.origins["epochs"], args.origins["batch_size"]) == ("published", "given")
    assert args.origins["validation_fraction"] == args.origins["focal_gamma"] == "published"


def test_a_model_without_settings_is_trained_as_published(tmp_path):
    args = FBCLIPTrainingArguments.for_model(make_tiny_model(), tmp_path)
    for name, value in published_settings().items():
        assert getattr(args, name) == (tuple(value) if name == "adam_betas" else value)


@pytest.mark.parametrize("training", [{"rate": 1.0}, {"output_dir": "/"}, {"seed": 3}, {"focal_gamma": 1.0}])
def test_a_setting_that_there_is_not_is_named(training, tmp_path):
    model = make_tiny_model()
    model.config.training = training
    with pytest.raises(ArgumentError, match=f"has '{next(iter(training))}' in `training` of its config.json"):
        FBCLIPTrainingArguments.for_model(model, tmp_path)


def test_a_setting_out_of_its_range_is_named(tmp_path):
    model = make_tiny_model()
    model.config.training = {"learning_rate": -1.0}
    with pytest.raises(ArgumentError, match=r"`learning_rate` is -1\.0, but must be greater than 0"):
        FBCLIPTrainingArguments.for_model(model, tmp_path)
    with pytest.raises(ArgumentError, match="`epochs` is 0"):
        FBCLIPTrainingArguments.for_model(make_tiny_model(), tmp_path, epochs=0)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"epochs": "2"}, "`epochs` is 2, but must be a whole number of at least 1"),
        ({"epochs": True}, "`epochs` is True"),
        ({"learning_rate": None}, "`learning_rate` is None"),
        ({"adam_betas": [0.9]}, r"`adam_betas` is \[0\.9\], but must be two numbers"),
        ({"adam_betas": 5}, "`adam_betas` is 5"),
        ({"max_grad_norm": "a"}, "`max_grad_norm` is a"),
        ({"augment": "yes"}, "`augment` is 'yes', but must be true or false"),
        ({"lr_scheduler": "sine"}, "`lr_scheduler` is 'sine', but must be one of"),
    ],
)
def test_a_wrong_value_in_a_configuration_is_blamed_on_the_model(training, message, tmp_path):
    model = make_tiny_model()
    model.config.training = training
    with pytest.raises(ArgumentError, match=f"^has in `training` of its config.json: {message}") as caught:
        FBCLIPTrainingArguments.for_model(model, tmp_path)
    assert caught.value.argument == "model"
    assert FBCLIPTrainingArguments.for_model(model, tmp_path, as_published=True).epochs == 3


def test_arguments_are_checked_together_only_with_those_of_the_model(tmp_path):
    model = make_tiny_model()
    model.config.training = {"lr_scheduler": "cosine"}
    FBCLIPTrainingArguments.check_each({"warmup_steps": 5})
    assert FBCLIPTrainingArguments.for_model(model, tmp_path, warmup_steps=5).warmup_steps == 5
    with pytest.raises(ArgumentError, match="has no effect on the constant schedule"):
        FBCLIPTrainingArguments.for_model(model, tmp_path, warmup_steps=5, as_published=True)


def test_the_settings_stay_with_the_trained_model(model, tmp_path):
    args = FBCLIPTrainingArguments.for_model(model, tmp_path / "out", epochs=1)
    train(model, FBCLIPProcessor.from_config(model.config), make_parts(tmp_path / "parts"), args)
    assert FBCLIPModel.from_pretrained(tmp_path / "out").config.training == OWN
    record = json.loads((tmp_path / "out/training_record.json").read_text())
    assert (record["origins"]["epochs"], record["origins"]["adam_betas"]) == ("given", "the model's")


def test_the_bundled_model_has_those_of_the_recipe():
    from recipe.settings import LOSSES, TRAINING

    config = load_bundled()[0].config
    assert config.training == TRAINING
    assert {name: getattr(config, name) for name in LOSSES} == LOSSES
