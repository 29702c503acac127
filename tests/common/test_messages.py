"""What a user reads when something is wrong stays short."""

from modeling_fbclip.common.messages import LONGEST, one_line


def test_a_message_is_one_line_and_long_names_lose_their_middle() -> None:
    name = "/parts/" + "n" * 250 + ".png"
    assert one_line(f"{name}: no such\n file") == f"/parts/{'n' * 73}…{'n' * 75}.png: no such file"
    assert one_line("a" * 199) == "a" * 199
    assert len(one_line("word " * 200)) == LONGEST
