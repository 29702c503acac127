"""Before anything of Hugging Face is imported: tests use no hub, and their caches go when they do."""

import os
import tempfile

CACHE = tempfile.TemporaryDirectory(prefix="fbclip-tests-")
os.environ |= {"HF_HOME": CACHE.name, "HF_HUB_OFFLINE": "1"}
