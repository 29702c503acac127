"""What users of transformers expect of any model: saving and loading, dtypes, freezing, shapes, clear errors."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import TINY_OVERRIDES, make_tiny_clip
from modeling_fbclip import FBCLIPConfig, FBCLIPModel, load_bundled

SCRATCH = Path(__file__).parents[1] / "demo" / "examples" / "wood_scratch.jpg"
PIXELS = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
TRAINED = ("text_branch.", "attention.", "scale_weights")


@torch.no_grad()
def maps_of(model: FBCLIPModel, pixels: torch.Tensor = PIXELS, **arguments: Any) -> torch.Tensor:
    return model(pixels.to(model.dtype), **arguments).anomaly_maps


def drop_weight(path: Path, name: str) -> None:
    weights = load_file(path)
    del weights[name]
    save_file(weights, path, metadata={"format": "pt"})


def assert_frozen_as_published(model: FBCLIPModel) -> None:
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == name.startswith(TRAINED), name


def test_only_the_fbclip_parts_train_however_the_model_is_made(tiny_model, tiny_config, tmp_path) -> None:
    tiny_model.save_pretrained(tmp_path)
    for model in (tiny_model, FBCLIPModel(tiny_config), FBCLIPModel.from_pretrained(tmp_path)):
        assert_frozen_as_published(model)


def test_a_complete_checkpoint_loads_bit_for_bit(tiny_model, tmp_path) -> None:
    tiny_model.save_pretrained(tmp_path)
    loaded = FBCLIPModel.from_pretrained(tmp_path)
    assert not loaded.training
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), tiny_model.parameters(), strict=True))
    assert all(parameter.data_ptr() % 64 == 0 for parameter in loaded.parameters())  # else the last bit may differ
    assert torch.equal(maps_of(loaded), maps_of(tiny_model))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".py", ".safetensors"}


def test_fbclip_parts_alone_fetch_their_clip_by_name(tiny_clip, tmp_path) -> None:
    tiny_clip.save_pretrained(tmp_path / "clip")
    model = FBCLIPModel.from_clip(tmp_path / "clip", **TINY_OVERRIDES)
    model.save_pretrained(tmp_path / "parts", include_clip=False)
    saved = load_file(tmp_path / "parts" / "model.safetensors")
    assert saved
    assert all(name.startswith(TRAINED) for name in saved)
    loaded = FBCLIPModel.from_pretrained(tmp_path / "parts")
    assert torch.equal(maps_of(loaded), maps_of(model))
    assert_frozen_as_published(loaded)


def test_a_checkpoint_that_lacks_weights_is_refused(tiny_model, tmp_path) -> None:
    tiny_model.save_pretrained(tmp_path)
    drop_weight(tmp_path / "model.safetensors", "attention.norm.bias")
    with pytest.raises(ValueError, match=r"no fitting checkpoint; it lacks attention\.norm\.bias\."):
        FBCLIPModel.from_pretrained(tmp_path)


def test_a_checkpoint_of_other_shapes_is_refused_by_name(tiny_model, tmp_path) -> None:
    tiny_model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has scale_weights of shape \(6,\), not \(5,\)"):
        FBCLIPModel.from_pretrained(tmp_path, num_scale_weights=5)


def test_a_clip_that_lacks_weights_is_refused(tiny_clip, tmp_path) -> None:
    tiny_clip.save_pretrained(tmp_path)
    drop_weight(tmp_path / "model.safetensors", "text_projection.weight")
    with pytest.raises(ValueError, match=r"no complete CLIP; it lacks text_projection\.weight"):
        FBCLIPModel.from_clip(tmp_path, **TINY_OVERRIDES)


def test_a_local_clip_is_saved_too_from_any_working_folder(tiny_clip, tmp_path, monkeypatch) -> None:
    tiny_clip.save_pretrained(tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    model = FBCLIPModel.from_clip("clip", **TINY_OVERRIDES)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    model.save_pretrained("saved")
    assert any(key.startswith("clip.") for key in load_file("saved/model.safetensors"))


def test_saving_keeps_the_config_and_never_replaces_a_file(tiny_model, tmp_path) -> None:
    before = tiny_model.config.to_dict()
    tiny_model.save_pretrained(tmp_path / "folder")
    assert tiny_model.config.to_dict() == before
    (tmp_path / "file").write_text("precious")
    with pytest.raises(NotADirectoryError, match="is a file; give a folder"):
        tiny_model.save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"


def test_parts_with_a_missing_clip_name_it_in_the_error(tiny_clip, tmp_path) -> None:
    tiny_clip.save_pretrained(tmp_path / "clip")
    FBCLIPModel.from_clip(tmp_path / "clip", **TINY_OVERRIDES).save_pretrained(tmp_path / "parts", include_clip=False)
    (tmp_path / "clip").rename(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"holds the FB-CLIP parts only, and their CLIP, '.*clip', cannot be loaded"):
        FBCLIPModel.from_pretrained(tmp_path / "parts", local_files_only=True)


def test_clip_is_saved_too_exactly_when_it_has_no_hub_id(tiny_model, tmp_path) -> None:
    for name, includes_clip in ((None, True), (str(tmp_path), True), ("someone/clip", False)):
        tiny_model.config.clip_name_or_path = name
        folder = tmp_path / str(name).replace("/", "_")
        tiny_model.save_pretrained(folder)
        assert any(key.startswith("clip.") for key in load_file(folder / "model.safetensors")) == includes_clip
        assert json.loads((folder / "config.json").read_text())["includes_clip"] == includes_clip


def test_parts_of_a_nameless_clip_are_not_saved_alone(tiny_model, tmp_path) -> None:
    with pytest.raises(ValueError, match="names no CLIP to fetch"):
        tiny_model.save_pretrained(tmp_path / "parts", include_clip=False)
    assert not (tmp_path / "parts").exists()


def test_from_clip_keeps_the_clip_and_starts_the_rest_as_published(tiny_clip) -> None:
    torch.manual_seed(0)
    model = FBCLIPModel.from_clip(tiny_clip, **(TINY_OVERRIDES | {"prompt_init_std": 0.5}))
    for ours, theirs in zip(model.clip.parameters(), tiny_clip.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert all(parameter.requires_grad for parameter in tiny_clip.parameters())  # the user's model does not change
    assert model.attention.foreground.scale.item() == pytest.approx(8**-0.5)
    assert torch.equal(model.scale_weights, torch.ones(6))
    assert torch.equal(model.attention.norm.weight, torch.ones(32))
    assert model.text_branch.prompt_embeddings.std().item() == pytest.approx(0.5, rel=0.2)
    bound = 32**-0.5  # PyTorch's default for a linear layer of 32 inputs
    assert bound * 0.9 < model.attention.foreground.qkv.weight.abs().max() <= bound


def test_image_size_defaults_to_whole_patches(tiny_clip) -> None:
    overrides = {name: value for name, value in TINY_OVERRIDES.items() if name != "image_size"}
    assert FBCLIPModel.from_clip(tiny_clip, **overrides).config.image_size == 520  # patches of 8


def test_an_unknown_override_is_an_error(tiny_clip) -> None:
    with pytest.raises(TypeError, match="temprature: no such field"):
        FBCLIPModel.from_clip(tiny_clip, temprature=0.1)


def test_a_model_can_be_made_on_the_meta_device(tiny_config) -> None:
    with torch.device("meta"):
        model = FBCLIPModel(tiny_config)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_images_of_a_batch_do_not_influence_each_other(tiny_model) -> None:
    both = maps_of(tiny_model)
    for index in range(2):
        torch.testing.assert_close(maps_of(tiny_model, PIXELS[index : index + 1])[0], both[index], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 64), (64, 16), (40, 24)])
def test_any_multiple_of_the_patch_size_gives_a_map_of_its_grid(height, width, tiny_model) -> None:
    output = tiny_model(torch.randn(1, 3, height, width))
    assert output.anomaly_maps.shape == (1, height // 8, width // 8)
    assert output.anomaly_maps.isfinite().all()
    assert ((output.image_scores >= 0) & (output.image_scores <= 1)).all()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_implementations_agree(attention, tiny_model, tmp_path) -> None:
    tiny_model.save_pretrained(tmp_path)
    loaded = FBCLIPModel.from_pretrained(tmp_path, attn_implementation=attention)
    assert loaded.config._attn_implementation == attention
    torch.testing.assert_close(maps_of(loaded), maps_of(tiny_model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("include_clip", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_give_float32_scores(dtype, include_clip, tiny_clip, tmp_path) -> None:
    tiny_clip.save_pretrained(tmp_path / "clip")
    model = FBCLIPModel.from_clip(tmp_path / "clip", **TINY_OVERRIDES)
    model.save_pretrained(tmp_path / "saved", include_clip=include_clip)
    half = FBCLIPModel.from_pretrained(tmp_path / "saved", dtype=dtype)
    assert {parameter.dtype for parameter in half.parameters()} == {dtype}
    with torch.no_grad():
        output = half(PIXELS.to(dtype), labels=torch.tensor([0, 1]), mask_labels=torch.zeros(2, 32, 48))
    assert output.image_scores.dtype == output.anomaly_maps.dtype == output.loss.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_maps_are_off_by_little_of_their_spread(dtype) -> None:
    model, processor = load_bundled()
    pixels = processor(images=SCRATCH)["pixel_values"]
    exact = maps_of(model, pixels)
    spread = exact.max() - exact.min()
    assert spread > 0.3  # a scratch on a plain board
    assert (maps_of(model.to(dtype), pixels) - exact).abs().max() < spread / 10


def test_a_clip_in_half_precision_sets_the_dtype(tiny_clip, tmp_path) -> None:
    tiny_clip.bfloat16().save_pretrained(tmp_path / "clip")
    model = FBCLIPModel.from_clip(tmp_path / "clip", **TINY_OVERRIDES)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    model.float().save_pretrained(tmp_path / "parts", include_clip=False)
    for dtype in (None, "auto"):  # the parts decide
        loaded = FBCLIPModel.from_pretrained(tmp_path / "parts", dtype=dtype)
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
        assert maps_of(loaded).isfinite().all()


@pytest.mark.parametrize("include_clip", [True, False])
def test_subfolder_and_variant_apply_to_config_and_weights(include_clip, tiny_clip, tmp_path) -> None:
    tiny_clip.save_pretrained(tmp_path / "clip")
    model = FBCLIPModel.from_clip(tmp_path / "clip", **TINY_OVERRIDES)
    model.save_pretrained(tmp_path / "repo" / "inner", include_clip=include_clip, variant="small")
    loaded = FBCLIPModel.from_pretrained(tmp_path / "repo", subfolder="inner", variant="small", temperature=0.5)
    assert loaded.config.temperature == 0.5
    assert torch.equal(loaded.attention.norm.weight, model.attention.norm.weight)


def test_compiled_model_agrees(tiny_model) -> None:
    compiled = torch.compile(copy.deepcopy(tiny_model), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(maps_of(compiled), maps_of(tiny_model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("device_map", ["cpu", "auto"])
def test_device_map_loads(device_map, tiny_clip, tmp_path) -> None:
    tiny_clip.save_pretrained(tmp_path / "clip")
    model = FBCLIPModel.from_clip(tmp_path / "clip", **TINY_OVERRIDES)
    for name, include_clip in (("complete", True), ("parts", False)):
        model.save_pretrained(tmp_path / name, include_clip=include_clip)
        loaded = FBCLIPModel.from_pretrained(tmp_path / name, device_map=device_map)
        assert_frozen_as_published(loaded)
        torch.testing.assert_close(maps_of(loaded, PIXELS.to(loaded.device)).cpu(), maps_of(model), rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_accelerator_agrees(tiny_model) -> None:
    on_device = copy.deepcopy(tiny_model).to("cuda")
    torch.testing.assert_close(maps_of(on_device, PIXELS.cuda()).cpu(), maps_of(tiny_model), rtol=0, atol=1e-3)


def test_other_prompts_change_the_map(tiny_model) -> None:
    prompts = torch.tensor(tiny_model.config.prompt_input_ids)
    assert torch.equal(maps_of(tiny_model, prompt_input_ids=prompts), maps_of(tiny_model))
    swapped = maps_of(tiny_model, prompt_input_ids=prompts.where(prompts != 3, 9))
    assert (swapped - maps_of(tiny_model)).abs().max() > 1e-4


@torch.no_grad()
def test_text_features_can_be_computed_first(tiny_model) -> None:
    text_embeds = tiny_model.get_text_features()
    assert text_embeds.shape == (2, 24)
    torch.testing.assert_close(text_embeds.norm(dim=-1), torch.ones(2))
    assert torch.equal(maps_of(tiny_model, text_embeds=text_embeds), maps_of(tiny_model))

    prompts = torch.tensor(tiny_model.config.prompt_input_ids).flip(0)
    other = tiny_model.get_text_features(prompts)
    assert (other - text_embeds).abs().max() > 1e-3
    assert torch.equal(maps_of(tiny_model, text_embeds=other), maps_of(tiny_model, prompt_input_ids=prompts))
    with pytest.raises(ValueError, match="either `text_embeds` or `prompt_input_ids`"):
        tiny_model(PIXELS, text_embeds=other, prompt_input_ids=prompts)
    with pytest.raises(ValueError, match=r"`text_embeds` has shape \(1, 24\), but must be \(2, 24\)"):
        tiny_model(PIXELS, text_embeds=other[:1])
    with pytest.raises(ValueError, match=r"`prompt_input_ids` of shape \(1, 77\)"):
        tiny_model.get_text_features(prompts[:1])


def test_text_features_given_to_the_forward_pass_get_gradients(tiny_model) -> None:
    labels = torch.tensor([0, 1])
    tiny_model(PIXELS, labels=labels).loss.backward()
    expected = tiny_model.text_branch.prompt_embeddings.grad.clone()
    tiny_model.zero_grad()
    tiny_model(PIXELS, labels=labels, text_embeds=tiny_model.get_text_features()).loss.backward()
    torch.testing.assert_close(tiny_model.text_branch.prompt_embeddings.grad, expected, rtol=0, atol=0)


def test_masks_may_have_a_channel(tiny_model) -> None:
    masks, labels = (PIXELS[:, 0] > 1).float(), torch.tensor([1, 1])
    with_channel = tiny_model(PIXELS, labels=labels, mask_labels=masks.unsqueeze(1))
    assert torch.equal(with_channel.loss, tiny_model(PIXELS, labels=labels, mask_labels=masks).loss)


def test_the_loss_comes_first_when_there_is_one(tiny_model) -> None:
    output = tiny_model(PIXELS, labels=torch.tensor([0, 1]))
    assert output[0] is output.loss


@pytest.mark.parametrize("from_config", [True, False])
def test_outputs_come_as_a_tuple_on_request(from_config, tiny_model) -> None:
    expected = tiny_model(PIXELS)
    tiny_model.config.return_dict = not from_config
    found = tiny_model(PIXELS) if from_config else tiny_model(PIXELS, return_dict=False)
    assert isinstance(found, tuple)
    torch.testing.assert_close(found, (expected.image_scores, expected.anomaly_maps, expected.text_embeds))


@pytest.mark.parametrize("from_config", [True, False])
def test_hidden_states_are_the_feature_layers_tokens(from_config, tiny_model) -> None:
    expected = tiny_model(PIXELS, output_stages=True).stages
    assert tiny_model(PIXELS).hidden_states is None
    tiny_model.config.output_hidden_states = from_config
    found = tiny_model(PIXELS) if from_config else tiny_model(PIXELS, output_hidden_states=True)
    assert len(found.hidden_states) == 3
    for index, tokens in enumerate(found.hidden_states):
        assert torch.equal(tokens, expected[f"layer{index}.tokens"])


def test_attention_weights_are_refused_with_the_reason(tiny_model) -> None:
    with pytest.raises(ValueError, match="`output_attentions` is not supported: FB-CLIP attends to three views"):
        tiny_model(PIXELS, output_attentions=True)


def test_training_a_deep_copy_does_not_change_the_model(tiny_model) -> None:
    before = maps_of(tiny_model)
    twin = copy.deepcopy(tiny_model)
    with torch.no_grad():
        twin.text_branch.prompt_embeddings.add_(1)
    assert torch.equal(maps_of(tiny_model), before)
    assert not torch.equal(maps_of(twin), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pixel_values": torch.zeros(3, 32, 32)}, r"\(3, 32, 32\), but must be \(batch_size, 3, height, width\)"),
        ({"pixel_values": torch.zeros(1, 1, 32, 32)}, r"\(1, 1, 32, 32\), but must be \(batch_size, 3"),
        ({"pixel_values": torch.zeros(1, 3, 32, 36)}, r"\(1, 3, 32, 36\).* multiples of the patch size 8"),
        ({"pixel_values": torch.zeros(0, 3, 32, 32)}, "batch not empty"),
        ({"labels": torch.zeros(3)}, r"`labels` of shape \(3,\) must be of shape \(2,\)"),
        ({"labels": torch.full((2,), 2)}, "0 or 1 for each image"),
        ({"mask_labels": torch.zeros(2, 8, 8)}, "without `labels`"),
        (
            {"labels": torch.zeros(2), "mask_labels": torch.zeros(2, 2, 8, 8)},
            r"\(2, 2, 8, 8\) must be of shape \(2, h",
        ),
        ({"labels": torch.zeros(2), "mask_labels": torch.full((2, 8, 8), 255)}, "0 or 1 for each pixel"),
        ({"prompt_input_ids": torch.zeros(2, 5, dtype=torch.long)}, r"\(2, 5\) must be of shape \(2, 77\)"),
        ({"prompt_input_ids": torch.full((2, 77), 12)}, "ids from 0 to 11"),
    ],
)
def test_an_error_names_the_wrong_shape_and_the_right_one(arguments, message, tiny_model) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_model(**({"pixel_values": PIXELS} | arguments))


def test_the_parts_of_vit_large_are_about_25_megabytes() -> None:
    with torch.device("meta"):
        model = FBCLIPModel(FBCLIPConfig())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert 24e6 < trained * 4 < 26e6


def test_a_damaged_config_is_refused_when_loading(tmp_path: Path) -> None:
    FBCLIPModel.from_clip(make_tiny_clip(), **TINY_OVERRIDES).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"feature_layers": [1, 9]}))
    with pytest.raises(Exception, match=r"`feature_layers` is \[1, 9\]"):
        FBCLIPModel.from_pretrained(tmp_path)


@pytest.fixture(params=[True, False], ids=["complete", "parts"])
def saved(request, tiny_clip, tmp_path) -> Path:
    tiny_clip.save_pretrained(tmp_path / "clip")
    model = FBCLIPModel.from_clip(tmp_path / "clip", **TINY_OVERRIDES)
    model.save_pretrained(tmp_path / "saved", include_clip=request.param)
    return tmp_path / "saved"


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, "float16"])
def test_the_number_type_has_an_older_name_too(name, dtype, saved) -> None:
    model = FBCLIPModel.from_pretrained(saved, **{name: dtype})
    assert {str(parameter.dtype) for parameter in model.parameters()} == {f"torch.{str(dtype).removeprefix('torch.')}"}


def test_number_types_of_parts_are_refused(saved) -> None:
    with pytest.raises(ValueError, match="FB-CLIP has one number type; give that"):
        FBCLIPModel.from_pretrained(saved, dtype={"clip_config": torch.bfloat16})


def test_given_weights_replace_those_of_the_folder(saved) -> None:
    weights = FBCLIPModel.from_pretrained(saved).state_dict()
    weights["scale_weights"] = torch.full((6,), 2.0)
    model = FBCLIPModel.from_pretrained(saved, state_dict=weights, dtype=torch.bfloat16, temperature=0.5)
    assert model.scale_weights.tolist() == [2.0] * 6
    assert (model.dtype, model.config.temperature) == (torch.bfloat16, 0.5)


def test_a_folder_of_clip_points_to_from_clip(tiny_clip, tmp_path) -> None:
    tiny_clip.save_pretrained(tmp_path)
    for load in (FBCLIPModel.from_pretrained, FBCLIPConfig.from_pretrained):
        with pytest.raises(ValueError, match="a 'clip' model, not an FB-CLIP; `FBCLIPModel"):
            load(tmp_path)


def test_the_callers_configuration_of_clip_stays_as_it_is(tiny_clip) -> None:
    tiny_clip.config.dtype = tiny_clip.config.text_config.dtype = "float32"
    before = tiny_clip.config.to_dict()
    config = FBCLIPConfig(clip_config=tiny_clip.config, **TINY_OVERRIDES)
    FBCLIPModel(config).set_attn_implementation("eager")
    assert tiny_clip.config.to_dict() == before


@pytest.mark.parametrize("include_clip", [True, False])
def test_other_processes_than_the_first_write_nothing(include_clip, tiny_model, tmp_path) -> None:
    tiny_model.config.clip_name_or_path = "someone/clip"
    tiny_model.save_pretrained(tmp_path / "saved", include_clip=include_clip, is_main_process=False)
    assert list(tmp_path.iterdir()) == []


def test_a_map_over_several_devices_is_refused(saved, monkeypatch) -> None:
    monkeypatch.setattr(FBCLIPModel, "hf_device_map", {"clip": "cuda:0", "attention": "cuda:1"}, raising=False)
    with pytest.raises(ValueError, match="would split FB-CLIP over cuda:0, cuda:1; give the one it computes on"):
        FBCLIPModel.from_pretrained(saved)


def test_the_bundled_models_configuration_and_processor_agree() -> None:
    model, processor = load_bundled()
    config = model.config
    assert processor.image_size == (config.image_size, config.image_size)
    assert processor.smoothing_sigma == config.smoothing_sigma
    assert processor.prompt_length == config.prompt_length
    assert processor.context_length == config.clip_text.max_position_embeddings


def test_pushing_while_saving_uploads_the_code_of_the_pipeline_too(tiny_model, tmp_path, monkeypatch) -> None:
    uploaded: list[str] = []

    def upload(_: FBCLIPModel, folder: str, __: str, known: dict[str, float], **___: Any) -> None:
        uploaded.extend(path.name for path in Path(folder).iterdir() if path.name not in known)

    hub = SimpleNamespace(create_repo=lambda *_, **__: SimpleNamespace(repo_id="ada/model"))
    monkeypatch.setattr("transformers.modeling_utils.hf_api", lambda: hub)
    card = SimpleNamespace(save=lambda _: None)
    monkeypatch.setattr("transformers.modeling_utils.create_and_tag_model_card", lambda *_, **__: card)
    monkeypatch.setattr(FBCLIPModel, "_upload_modified_files", upload)
    tiny_model.save_pretrained(tmp_path / "model", push_to_hub=True)
    assert {"config.json", "modeling_fbclip.py", "model.safetensors", "pipeline_fbclip.py"} <= set(uploaded)
