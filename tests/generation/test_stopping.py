"""Stop strings never leak, not even in part."""

from hypothesis import given
from hypothesis import strategies as st

from vita_demo.generation.stopping import StopSignal, StopStrings


def cut(pieces: list[str], strings: list[str]) -> tuple[str, bool]:
    stop = StopStrings(strings)
    text = "".join(stop.push(piece) for piece in pieces)
    return text + stop.flush(), stop.found


LETTERS = st.text("ab", max_size=4)


@given(st.lists(LETTERS, max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_streamed_cut_equals_the_cut_of_the_whole(pieces: list[str], strings: list[str]) -> None:
    """A stop string counts as soon as it is complete, so cut where the first to be completed begins."""
    text = "".join(pieces)
    expected, found = text, False
    end = 0
    for piece in pieces:
        end += len(piece)
        starts = [start for string in strings if (start := text.find(string, 0, end)) >= 0]
        if starts:
            expected, found = text[: min(starts)], True
            break
    assert cut(pieces, strings) == (expected, found)


@given(st.lists(LETTERS, max_size=12), st.text("ab", min_size=1, max_size=4))
def test_no_stop_string_is_ever_sent(pieces: list[str], string: str) -> None:
    stop, sent = StopStrings([string]), ""
    for piece in pieces:
        sent += stop.push(piece)
        assert string not in sent
        rest = "".join(pieces)[len(sent) :]
        assert "".join(pieces).startswith(sent), rest


def test_a_beginning_is_held_back_until_it_is_decided() -> None:
    stop = StopStrings(["<end>"])
    assert [stop.push(piece) for piece in ("a<", "e", "n", "x", "<en")] == ["a", "", "", "<enx", ""]
    assert stop.flush() == "<en"


def test_the_first_reason_counts() -> None:
    signal = StopSignal()
    signal.request("stop")
    signal.request("cancelled")
    assert signal.reason == "stop"
