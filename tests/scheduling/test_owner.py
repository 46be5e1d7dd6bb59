"""The thread that owns the model: what readers in other threads get, and what it remembers."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from vita_demo.errors import GenerationError, QueueFullError
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.pipeline import Pipeline
from vita_demo.request import Request
from vita_demo.scheduling import owner as owner_module
from vita_demo.scheduling.dialogue import Dialogue, Exchange
from vita_demo.scheduling.owner import AnswerMemory, ModelOwner, Ticket

SHORT = GenerationOptions(max_new_tokens=6, min_new_tokens=6)
ENDLESS = GenerationOptions(max_new_tokens=3000, min_new_tokens=3000)


def question(text: str) -> Dialogue:
    return Dialogue((Exchange(text),))


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end_s, "nothing happened for a minute"
        time.sleep(0.002)


class Reader:
    """Takes a ticket's events whenever it is told to."""

    def __init__(self, model: ModelOwner, dialogue: Dialogue, options: GenerationOptions = SHORT, **rest) -> None:
        self.events: list[Event] = []
        self.notices = 0
        self._there = threading.Event()
        self.ticket: Ticket = model.submit(dialogue, options, notify=self._notify, **rest)

    def _notify(self) -> None:
        self.notices += 1
        self._there.set()

    def read(self) -> list[Event]:
        """All events, the last one included; only a notice makes it look."""
        while not (self.events and self.events[-1].finish_reason):
            assert self._there.wait(60), "no notice for a minute"
            self._there.clear()
            self.events += self.ticket.take()
        return self.events


@pytest.fixture
def owner(tiny7_pipeline: Pipeline) -> Iterator[ModelOwner]:
    owner = tiny7_pipeline.own(slots=2, positions=4096, waiting=3)
    yield owner
    owner.close()


def test_readers_in_many_threads_get_the_answers_they_get_alone(owner: ModelOwner, tiny7_pipeline: Pipeline) -> None:
    texts = ["What is this?", "hi", "Wo?"]
    answers: dict[str, tuple[int, ...]] = {}

    def ask(text: str) -> None:
        answers[text] = Reader(owner, question(text), owner=text).read()[-1].answer.token_ids

    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {text: tiny7_pipeline.generate(Request(question=text), SHORT).token_ids for text in texts}
    until(lambda: not owner.running)


def test_a_reader_is_not_woken_for_every_token(owner: ModelOwner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_module, "_NOTICE_S", 1000.0)
    reader = Reader(owner, question("hi"), GenerationOptions(max_new_tokens=50, min_new_tokens=50))
    assert len(reader.read()) == 51
    # At once when there is text, and at the end.
    assert reader.notices == 2


def test_the_end_is_told_whatever_was_told_before(tiny7_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_module, "_NOTICE_S", 1000.0)
    options = GenerationOptions(max_new_tokens=40, min_new_tokens=40)
    with closing(tiny7_pipeline.own(slots=2, positions=4096, waiting=None)) as owner:
        readers = [Reader(owner, question(text), options) for text in ("hi", "Wo?", "What is this?", "a", "b")]
        assert [len(reader.read()) for reader in readers] == [41] * 5


def test_more_than_may_wait_are_refused_and_told_their_place(owner: ModelOwner) -> None:
    running = [Reader(owner, question("hi"), ENDLESS) for _ in range(2)]
    until(lambda: owner.running == 2)
    waiting = [Reader(owner, question("hi")) for _ in range(3)]
    assert [reader.ticket.place for reader in waiting] == [0, 1, 2]
    assert [reader.ticket.stage for reader in waiting] == ["queued"] * 3
    assert owner.waiting == 3
    with pytest.raises(QueueFullError, match="3 requests wait already; try again later"):
        owner.submit(question("hi"), SHORT)
    assert running[0].ticket.place is None
    running[0].ticket.cancel()
    assert [reader.read()[-1].finish_reason for reader in waiting] == ["length"] * 3
    running[1].ticket.cancel()
    assert running[1].read()[-1].finish_reason == "cancelled"


def test_owners_take_turns(owner: ModelOwner) -> None:
    running = [Reader(owner, question("hi"), ENDLESS) for _ in range(2)]
    until(lambda: owner.running == 2)
    greedy = [Reader(owner, question("hi"), owner="greedy") for _ in range(2)]
    modest = Reader(owner, question("hi"), owner="modest")
    assert [reader.ticket.place for reader in (*greedy, modest)] == [0, 2, 1]
    for reader in running:
        reader.ticket.cancel()
    assert modest.read()[-1].finish_reason == "length"


def test_one_who_leaves_the_queue_is_never_begun(owner: ModelOwner) -> None:
    running = [Reader(owner, question("hi"), ENDLESS) for _ in range(2)]
    until(lambda: owner.running == 2)
    leaver = Reader(owner, question("hi"))
    leaver.ticket.cancel("timeout")
    (end,) = leaver.read()
    assert (end.finish_reason, end.answer.token_ids) == ("timeout", ())
    assert "prefill" not in end.answer.stats.stages
    assert end.answer.stats.stages["queued"] > 0
    for reader in running:
        reader.ticket.cancel()


def test_a_leaver_costs_at_most_two_tokens(owner: ModelOwner) -> None:
    reader = Reader(owner, question("hi"), ENDLESS)
    until(reader.ticket.take)
    reader.ticket.cancel()
    assert sum(event.token_id is not None for event in reader.read()) <= 20
    until(lambda: not owner.running)


def test_closing_ends_what_runs_and_waits(tiny7_pipeline: Pipeline) -> None:
    owner = tiny7_pipeline.own(slots=1, positions=4096)
    readers = [Reader(owner, question("hi"), ENDLESS) for _ in range(3)]
    owner.close()
    assert [reader.read()[-1].finish_reason for reader in readers] == ["cancelled"] * 3
    assert not any("vita-demo model" in thread.name for thread in threading.enumerate())
    with pytest.raises(GenerationError, match="takes no more requests"):
        owner.submit(question("hi"), SHORT)


@pytest.mark.parametrize("method", ["_admit", "_read"])
def test_a_defect_of_the_scheduler_reaches_every_reader(
    owner: ModelOwner, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("lightning")

    with monkeypatch.context() as patch:
        patch.setattr(owner._scheduler, method, fail)
        readers = [Reader(owner, question("hi")) for _ in range(3)]
        assert [str(reader.read()[-1].error) for reader in readers] == ["lightning"] * 3
    assert Reader(owner, question("hi")).read()[-1].finish_reason == "length"


def test_an_answer_sent_back_as_text_is_the_one_that_was_generated(owner: ModelOwner) -> None:
    first = Reader(owner, question("hi"), owner="a").read()[-1].answer
    until(lambda: not owner.running)
    again = Dialogue((Exchange("hi", answer=first.text), Exchange("and?")))
    for name, cached in (("a", True), ("b", False)):
        second = Reader(owner, again, owner=name).read()[-1].answer
        assert (second.prompt.cached_tokens >= first.prompt.tokens + len(first.token_ids) - 1) == cached


def test_the_memory_forgets_the_answer_that_was_not_used_for_the_longest_time(tiny7_pipeline: Pipeline) -> None:
    answers = [tiny7_pipeline.generate(Request(question=text), SHORT) for text in "abc"]
    memory = AnswerMemory(limit=2)

    def remembered(number: int) -> bool:
        dialogue = Dialogue((Exchange("abc"[number], answer=answers[number].text), Exchange("?")))
        return memory.recall("", dialogue).exchanges[0].answer_ids == answers[number].token_ids

    memory.keep("", Exchange("a"), answers[0])
    memory.keep("", Exchange("b"), answers[1])
    assert remembered(0)
    memory.keep("", Exchange("c"), answers[2])
    assert [remembered(number) for number in range(3)] == [True, False, True]
