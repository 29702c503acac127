"""The Hub: which names may be there, and what is done when it does not answer."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

PATIENCE = 3  # seconds; the libraries would try again for minutes
GATEWAY_ERRORS = (502, 503, 504)  # the answer of a proxy whose Hub does not answer
HUB_ID = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", re.ASCII)


def is_hub_id(name: str) -> bool:
    """Whether a repository on the Hub may have this name, `owner/name`. A folder may have it as well."""
    return HUB_ID.fullmatch(name) is not None and not re.search(r"\.\.|--|\.git$|[.-](/|$)", name)


def hub_answers() -> bool:
    """Whether the Hub answers: one try. Not if the libraries are set to be offline."""
    from huggingface_hub import constants, get_session, is_offline_mode

    if is_offline_mode():
        return False
    try:
        return get_session().head(constants.ENDPOINT, timeout=PATIENCE).status_code not in GATEWAY_ERRORS
    except Exception:  # of the HTTP library, or of a wrong address
        return False


@contextmanager
def asking_hub(name: str) -> Iterator[bool]:
    """
    In the block, the Hub is asked for `name`. If it does not answer, which the log says, local copies alone are read.
    Gives whether it answers.
    """
    from huggingface_hub import constants, is_offline_mode

    answers = hub_answers()
    before = constants.HF_HUB_OFFLINE
    if not answers:
        if not is_offline_mode():
            logger.warning("The Hub does not answer; taking the local copy of %s, if there is one.", name)
        constants.HF_HUB_OFFLINE = True
    try:
        yield answers
    finally:
        constants.HF_HUB_OFFLINE = before
