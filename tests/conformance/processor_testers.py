"""The common tests of processors and image processors, on FB-CLIP's."""

import unittest
from typing import Any

from transformers import CLIPImageProcessorPil
from transformers_tests.test_image_processing_common import ImageProcessingTester, ImageProcessingTestMixin
from transformers_tests.test_processing_common import ProcessorTesterMixin

from modeling_fbclip import FBCLIPProcessor


class FBCLIPProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = FBCLIPProcessor

    @classmethod
    def _setup_image_processor(cls) -> CLIPImageProcessorPil:
        return FBCLIPProcessor(image_size=32).image_processor


class FBCLIPImageProcessingTester(ImageProcessingTester):
    """FB-CLIP's image processor is CLIP's, at another size and without a crop."""

    def __init__(self, parent: unittest.TestCase, **kwargs: Any) -> None:
        super().__init__(parent, size={"height": 20, "width": 20}, do_center_crop=False, **kwargs)

    def _get_image_processing_classes(self) -> dict[str, type]:
        return {"pil": CLIPImageProcessorPil}


class FBCLIPImageProcessingTest(ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = FBCLIPImageProcessingTester
