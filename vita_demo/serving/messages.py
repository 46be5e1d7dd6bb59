"""Messages with roles, as clients send them, to questions and answers, as the model knows them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vita_demo.serving.fields import Fields, bad_request, join, read_fields
from vita_demo.serving.parts import PartReader
from vita_demo.serving.query import Question

_ROLES = ("system", "developer", "user", "assistant")


class _Message(Fields):
    role: str
    content: Any = None
    tool_calls: Any = None
    function_call: Any = None


def read_messages(
    messages: Sequence[Any], parts: PartReader, where: str = "messages"
) -> tuple[str | None, tuple[Question, ...]]:
    """Return the system prompt and the questions, the last of them open.

    Messages of the user that follow one another are one question, whose lines they are.

    Raises:
        ApiError: 400 for roles and orders that the model's template has no place for.
    """
    systems: list[str] = []
    questions: list[Question] = []
    for number, content in enumerate(messages):
        place = join(where, number)
        message = _read_message(content, place)
        parts.ignored += [join(place, name) for name in message.unknown if name not in ("type", "id", "status")]
        text, attachments = parts.read(message.content, join(place, "content"))
        if message.role != "user" and attachments:
            raise bad_request(f"{place} is the {message.role}'s and has media; only a user's may", place)
        if message.role == "assistant":
            _answer(questions, text, place)
        elif message.role == "user":
            _ask(questions, Question(text, attachments), place)
        elif questions:
            raise bad_request(f"{place} is a {message.role} message after the first question; put it first", place)
        else:
            systems.append(text)
    if not questions or questions[-1].answer is not None:
        raise bad_request(f"the last of {where} is no user's; end with the question to answer", where)
    return "\n".join(systems) if systems else None, tuple(questions)


def _read_message(content: Any, place: str) -> _Message:
    message = read_fields(_Message, content, place)
    if message.role not in _ROLES:
        raise bad_request(
            f"{place} has the role {message.role!r:.60}, which is not supported; roles are {', '.join(_ROLES)}",
            join(place, "role"),
        )
    for name in ("tool_calls", "function_call"):
        if getattr(message, name):
            param = join(place, name)
            raise bad_request(f"{param} is not supported by this model; leave it out", param, "unsupported_parameter")
    return message


def _answer(questions: list[Question], text: str, place: str) -> None:
    if not questions or questions[-1].answer is not None:
        raise bad_request(f"{place} is an assistant's message that follows no user's; leave it out", place)
    questions[-1] = replace(questions[-1], answer=text)


def _ask(questions: list[Question], question: Question, place: str) -> None:
    if questions and questions[-1].answer is None:
        first = questions.pop()
        lines = "\n".join(text for text in (first.text, question.text) if text)
        question = Question(lines, first.attachments + question.attachments)
    kinds = [attachment.kind for attachment in question.attachments]
    if kinds.count("audio") > 1:
        raise bad_request(
            f"{place} has {kinds.count('audio')} sounds; a question takes one: ask about them in turns", place
        )
    if not question.text.strip() and "audio" not in kinds:
        raise bad_request(f"{place} asks nothing; give a text or a sound", place)
    questions.append(question)
