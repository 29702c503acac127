"""What a client sends as settings is checked."""

import pytest
from modeling_fbclip.demo.settings import MAX_PROMPT, Settings, Side

GIVEN = ("m", " good ", "bad", "", "", "", False, False)


def test_the_second_side_is_there_if_it_has_a_model():
    assert Settings.read(GIVEN) == Settings((Side("m", "good", "bad"),))
    both = Settings.read(("m", None, "", "n", "x", "y", False, True))
    assert both == Settings((Side("m"), Side("n", "x", "y")), tiles=False, mutual=True)


@pytest.mark.parametrize(
    ("index", "value", "said"),
    [
        (0, 3, "The model must be a text, not int."),
        (1, ["a"], "The normal prompt must be a text, not list."),
        (5, {}, "The anomalous prompt must be a text, not dict."),
        (
            2,
            "x" * (MAX_PROMPT + 1),
            f"The anomalous prompt has {MAX_PROMPT + 1} characters; at most {MAX_PROMPT} fit.",
        ),
        (6, 1, "The switch for tiles is true or false, not int."),
        (7, "yes", "The switch for comparison is true or false, not str."),
    ],
)
def test_values_of_another_kind_get_a_message(index, value, said):
    with pytest.raises(ValueError, match=said):
        Settings.read((*GIVEN[:index], value, *GIVEN[index + 1 :]))


def test_another_number_of_values_gets_a_message():
    with pytest.raises(ValueError, match="There are 8 settings, not 2"):
        Settings.read(("m", "n"))
