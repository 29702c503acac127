"""Tests of transformers that do not apply to FB-CLIP, each with its reason.

`PipelineTesterMixin` is not run at all: by a table in its file it knows only the tasks that transformers itself has.
Their tests and tiny models are in its repository and on the Hub, not in the source distribution. The pipeline's own
tests are in `tests/test_pipeline_fbclip.py`.
"""

FEATURES = "text features are one tensor for the two prompts, no output of a text model"
LAYERS = "hidden states are the tokens of CLIP's feature layers, returned by the model itself"

REASONS = {
    "FBCLIPModelTest.test_get_text_features_output_0": FEATURES,
    "FBCLIPModelTest.test_get_text_features_output_1": FEATURES,
    "FBCLIPModelTest.test_get_text_features_output_2": FEATURES,
    "FBCLIPModelTest.test_get_text_features_hidden_states": FEATURES,
    "FBCLIPModelTest.test_hidden_states_output": LAYERS,
    "FBCLIPModelTest.test_can_capture_specific_layers_hidden_states": LAYERS,
    "FBCLIPModelTest.test_capture_outputs_decorator": LAYERS,
    "FBCLIPModelTest.test_retain_grad_hidden_states_attentions": "CLIP is frozen, so its tokens have no gradient",
    "FBCLIPModelTest.test_model_get_set_embeddings": "input embeddings are a convolution, as in CLIP's vision tower",
    "FBCLIPModelTest.test_model_weights_reload_no_missing_tied_weights": (
        "no weight is tied, and a checkpoint that lacks weights is refused"
    ),
    "FBCLIPProcessorTest.test_call_arguments_default_none": "`return_tensors` defaults to PyTorch, as the model needs",
    "FBCLIPProcessorTest.test_call_arguments_not_in_processor_kwargs": (
        "`return_tensors` is a named argument, since it has another default"
    ),
    "FBCLIPProcessorTest.test_flat_kwarg_applied_when_modality_dict_lacks_it": "a call takes no text",
    "FBCLIPProcessorTest.test_init_arguments_not_in_class_attributes": (
        "`image_size` is an argument, and a property that reads the image processor's size"
    ),
    "FBCLIPProcessorTest.test_save_load_pretrained_additional_features": "the tokenizer is optional",
    "FBCLIPProcessorTest.test_subprocessor_defaults_1_images": "it asks the tokenizer too, which is optional",
    "FBCLIPImageProcessingTest.test_new_models_require_torchvision_backend": (
        "pixels are those of Pillow, as the weights were trained; torchvision's differ"
    ),
}
