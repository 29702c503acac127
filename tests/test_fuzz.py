"""A few of the odd inputs of `make fuzz`."""

import fuzz
import pytest


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", fuzz.KINDS)
def test_odd_inputs_give_a_result_or_one_line(name: str) -> None:
    seen = fuzz.run(name, 60)
    assert seen.total() >= 10
    assert set(seen) <= {"result", "one line"}


def test_an_outcome_that_is_neither_is_an_error() -> None:
    def speaks_on_two_lines(_: object) -> None:
        raise ValueError("one\ntwo")

    def fails(_: object) -> None:
        raise KeyError("size")

    with pytest.raises(AssertionError, match="not one line"):
        fuzz.outcome_of(speaks_on_two_lines, None)
    with pytest.raises(KeyError):
        fuzz.outcome_of(fails, None)
