"""Events as JSON: what ``--jsonl`` prints, what a saved run keeps, and what a server sends to ``--server``."""

from collections.abc import Mapping
from typing import Any

from vita_demo.generation.events import Event


def event_record(event: Event) -> dict[str, Any]:
    """Return an event as what one line of JSON says."""
    if event.finish_reason is not None:
        return {"event": "end", "finish_reason": event.finish_reason, "text": event.text, "clock_s": event.time_s}
    record = {"event": "token", "step": event.step, "id": event.token_id, "text": event.text, "clock_s": event.time_s}
    state = {} if event.state is None else {"state": event.state}
    return {**record, **state, **({} if event.logprob is None else logprob_record(event))}


def logprob_record(event: Event) -> dict[str, Any]:
    """Return a token's log-probability, and the likeliest tokens where these were asked for."""
    alternatives = [{"id": token_id, "logprob": logprob} for token_id, logprob in event.alternatives]
    return {"logprob": event.logprob, **({"alternatives": alternatives} if alternatives else {})}


def token_event(record: Mapping[str, Any], offset_s: float = 0.0) -> Event:
    """Return the event of a token's record; ``offset_s`` is added to its clock.

    Raises:
        KeyError: when it is no token's.
    """
    alternatives = tuple((each["id"], each["logprob"]) for each in record.get("alternatives", ()))
    return Event(
        record["text"],
        record["clock_s"] + offset_s,
        record["step"],
        record["id"],
        record.get("state"),
        record.get("logprob"),
        alternatives,
    )
