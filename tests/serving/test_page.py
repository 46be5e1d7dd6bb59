"""The page in a browser: headless Chromium with a false camera and microphone, before servers that run."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ASSETS
from tests.serving.fakes import FakeOwner
from tests.serving.running import Running, data_url, eventually
from vita_demo.errors import GenerationError
from vita_demo.scheduling.dialogue import Exchange

pytest.importorskip("playwright", reason="needs playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

from playwright.sync_api import Browser, ConsoleMessage, Download, Page, Request, Route, expect, sync_playwright  # noqa: E402

# Only ends what hangs.
WAIT_MS = 120_000
expect.set_options(timeout=WAIT_MS)
# Drops a file on the page, or pastes it.
GIVE = """([kinds, name, type, data]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, {type}));
    for (const kind of kinds) {
        const more = {bubbles: true, cancelable: true};
        const event = kind === "paste"
            ? new ClipboardEvent(kind, {clipboardData: dataTransfer, ...more})
            : new DragEvent(kind, {dataTransfer, ...more});
        document.body.dispatchEvent(event);
    }
}"""
# What reaches out of the window, or out of the dialog that it is in.
CUT_OFF = """[...document.querySelectorAll("body *")].filter((one) => {
    const box = one.getBoundingClientRect();
    const {left, right} = one.closest("dialog")?.getBoundingClientRect() ?? {left: 0, right: innerWidth};
    return one.checkVisibility({visibilityProperty: true}) && (box.left < left - 1 || box.right > right + 1);
}).map((one) => one.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    flags = ("--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    speech = f"--use-file-for-fake-audio-capture={ASSETS / 'question.wav'}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*flags, speech])
        yield browser
        browser.close()


class Visit:
    """A page that is open, what it asked its server for, and what went wrong."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._see)
        page.goto(address)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _see(self, request: Request) -> None:
        if not request.url.startswith((self.address, "blob:", "data:")):
            self.elsewhere.append(request.url)
        if request.url.endswith("/chat/completions"):
            self.bodies.append(json.loads(request.post_data or "{}"))

    def forget(self, status: int) -> None:
        """Drop what the browser itself writes about a status that a test wanted."""
        self.errors = [error for error in self.errors if f"status of {status}" not in error]

    def attach(self, *names: str | Path) -> None:
        self.page.set_input_files("#files", [ASSETS / name for name in names])
        self.page.locator("#attached .medium").nth(len(names) - 1).wait_for()

    def begin(self, question: str) -> None:
        self.page.fill("#text", question)
        self.page.keyboard.press("Enter")

    def ask(self, question: str) -> str:
        self.begin(question)
        return self.answer()

    def answer(self) -> str:
        """Wait for the end of the last answer and return its text."""
        self.page.locator(".exchange:last-child .foot .tools button").first.wait_for()
        return self.last(".said")

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that happens here because of the page; its events come while it is asked something."""
        eventually(lambda: self.page.evaluate("true") and holds())

    def last(self, selector: str) -> str:
        """The text of a part of the last exchange."""
        return self.page.locator(f".exchange:last-child {selector}").inner_text()

    def copied(self, program: str) -> str:
        """Copy the last request."""
        self.page.get_by_role("button", name=program, exact=True).last.click()
        expect(self.page.locator("#note")).to_contain_text("Copied.")
        return self.page.evaluate("navigator.clipboard.readText()")

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation as it was last sent."""
        return self.bodies[-1]["messages"]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[[Running], Visit]]:
    """Open the page of a server; nothing may go wrong in it, and it may ask nobody else."""
    visits = []

    def open_page(server: Running) -> Visit:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(WAIT_MS)
        context.grant_permissions(["clipboard-read", "clipboard-write", "camera", "microphone"], origin=server.url)
        visits.append(Visit(context.new_page(), server.url))
        return visits[-1]

    yield open_page
    for each in visits:
        each.page.context.close()
        assert each.errors == []
        assert each.elsewhere == []


@pytest.fixture
def visitor(visit: Callable[[Running], Visit], server: Running) -> Visit:
    """The page of a server with the embedded model."""
    return visit(server)


# What is asked


@pytest.mark.parametrize("kinds", [["dragenter", "dragover", "drop"], ["paste"]], ids=["dropped", "pasted"])
def test_a_picture_is_shown_and_answered_and_its_numbers_are_there(visitor: Visit, kinds: list[str]) -> None:
    page = visitor.page
    url = data_url(ASSETS / "scene.png")
    page.evaluate(GIVE, [kinds, "scene.png", "image/png", url.partition(",")[2]])
    page.wait_for_selector("#attached img")
    assert page.locator("#drop").is_hidden()
    answer = visitor.ask("Describe this image.")
    for thing in ("blue square", "red circle", "yellow star"):
        assert thing in answer
    assert visitor.last(".hand") == "☜"
    assert visitor.messages[0]["content"][0]["image_url"]["url"] == url
    assert page.locator(".exchange .question img").evaluate("image => image.naturalWidth") == 640
    assert page.inner_text("#stage") == "Done"
    assert re.fullmatch(r"[\d.]+\s*s", page.inner_text("#first"))
    assert re.fullmatch(r"[\d.,]+\s*/s", page.inner_text("#average"))
    # The same picture may have been seen for another window: its positions are then in the cache.
    assert {"Prefill", "Decode"} <= set(page.locator("#stages-legend dt").all_inner_texts())
    assert "160 text + 208 image" in page.inner_text("#prompt-text")


def test_a_second_turn_sends_all_before_it_and_finds_it_in_the_cache(visitor: Visit) -> None:
    visitor.attach("scene.png")
    first = visitor.ask("Describe this image.")
    assert "blue" in visitor.ask("What colour is the square?")
    assert [message["role"] for message in visitor.messages] == ["user", "assistant", "user"]
    assert visitor.messages[0]["content"][0]["type"] == "image_url"
    assert visitor.messages[1]["content"] == first
    assert "From the cache" in visitor.page.locator("#positions-legend dt").all_inner_texts()


def test_a_picture_and_a_clip_of_the_camera_are_answered(visitor: Visit) -> None:
    visitor.page.click("#open-camera")
    visitor.page.click("#picture")
    visitor.page.wait_for_selector("#attached img")
    assert visitor.ask("Describe this image.")
    assert visitor.messages[-1]["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    visitor.page.click("#open-camera")
    visitor.page.click("#clip")
    visitor.page.wait_for_selector("#attached video")
    assert visitor.ask("What happens in the video?")
    assert visitor.messages[-1]["content"][0]["video_url"]["url"].startswith("data:video/webm;base64,")


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_a_spoken_question_is_sent_as_wav_when_the_button_is_let_go(visitor: Visit, how: str) -> None:
    page = visitor.page
    visitor.attach("scene.png")
    if how == "mouse":
        page.hover("#talk")
        page.mouse.down()
    else:
        page.focus("#talk")
        page.keyboard.down(" ")
    expect(page.locator("#talk-label")).to_have_text("0:02")
    if how == "mouse":
        page.mouse.up()
    else:
        page.keyboard.up(" ")
    assert visitor.answer()
    assert visitor.last(".hand") in "☞☟"
    sound = visitor.messages[-1]["content"][1]["input_audio"]
    wav = base64.b64decode(sound["data"])
    assert (sound["format"], wav[:4]) == ("wav", b"RIFF")
    channels, rate_hz = int.from_bytes(wav[22:24], "little"), int.from_bytes(wav[24:28], "little")
    assert (channels, rate_hz) == (1, 16000)
    assert len(wav) > 2 * rate_hz


def test_a_press_of_the_button_begins_and_escape_drops_what_was_said(visitor: Visit) -> None:
    visitor.page.click("#talk")
    expect(visitor.page.locator("#note")).to_contain_text("Press again to send")
    expect(visitor.page.locator("#talk-label")).to_have_text("0:00")
    visitor.page.keyboard.press("Escape")
    assert visitor.page.inner_text("#note") == "Dropped."
    assert visitor.page.inner_text("#talk-label") == "Hold to talk"
    assert visitor.bodies == []


def test_a_question_in_a_file_is_heard_and_noise_is_shown_as_noise(visitor: Visit) -> None:
    visitor.attach("noise.wav")
    visitor.page.click("#send")
    visitor.answer()
    assert visitor.last(".hand") == "☟"
    assert "Not meant for the model" in visitor.last(".remark")
    visitor.attach("scene.png", "question.wav")
    visitor.page.click("#send")
    assert visitor.answer() == "There are three shapes."
    assert visitor.last(".hand") == "☞"


def test_the_sample_picture_is_one_that_the_miniature_reads(visitor: Visit) -> None:
    visitor.page.get_by_role("button", name="Describe this image.").click()
    answer = visitor.answer()
    for thing in ("red circle is at the left", "blue square is at the right", "yellow star is at the bottom"):
        assert thing in answer


def test_a_large_picture_is_scaled_before_it_is_sent(
    visit: Callable[[Running], Visit], answering: Running, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 2400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png", compress_level=0)
    visitor = visit(answering)
    visitor.attach(tmp_path / "large.png")
    visitor.ask("What is this?")
    url = visitor.messages[0]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size == (2048, 1024)


def test_what_is_no_medium_is_named_and_left_out(visitor: Visit) -> None:
    visitor.page.evaluate(GIVE, [["drop"], "notes.txt", "text/plain", base64.b64encode(b"shapes").decode()])
    expect(visitor.page.locator("#note")).to_have_text("notes.txt is neither a picture nor a clip nor a sound.")
    assert visitor.page.locator("#attached").is_hidden()


def test_a_keyboard_is_enough(visitor: Visit) -> None:
    page = visitor.page
    page.keyboard.type("What can you do?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Enter")
    assert visitor.answer()
    assert visitor.messages == [{"role": "user", "content": "What can you do?"}]
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.textContent") == "Python"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_have_text("Copied.")


def test_settings_go_into_the_request_and_outlive_a_reload(visitor: Visit) -> None:
    page = visitor.page
    page.click("#open-settings")
    page.fill("#temperature", "0")
    page.fill("#max-tokens", "3")
    page.fill("#system", "You know shapes.")
    page.get_by_role("button", name="Done").click()
    page.reload()
    visitor.ask("What can you do?")
    assert (visitor.bodies[-1]["temperature"], visitor.bodies[-1]["max_tokens"]) == (0, 3)
    assert visitor.messages[0] == {"role": "system", "content": "You know shapes."}
    assert visitor.last(".remark") == "Cut off at the most tokens allowed."


# What is copied


@pytest.mark.parametrize("program", ["curl", "Python"])
def test_a_copied_request_runs_beside_the_saved_files_and_asks_the_same(
    visit: Callable[[Running], Visit], answering: Running, program: str, tmp_path: Path
) -> None:
    visitor = visit(answering)
    named = tmp_path / "a 'scene' at $HOME.png"
    shutil.copy(ASSETS / "scene.png", named)
    visitor.attach(named, "question.wav")
    visitor.ask('What is "it"? `date` $HOME ${media_0} \\n \\\\ é 图')
    visitor.ask("And why?")
    copied = visitor.copied(program)
    assert len(copied) < 3000
    assert f"It reads {named.name}, question.wav from the folder" in visitor.page.inner_text("#note")
    downloads: list[Download] = []
    visitor.page.on("download", lambda download: downloads.append(download))  # noqa: PLW0108 - it marks what it calls
    visitor.page.get_by_role("button", name="Save", exact=True).click()
    visitor.until(lambda: len(downloads) == 2)
    for download in downloads:
        download.save_as(tmp_path / "saved" / download.suggested_filename)
    assert run(program, copied, tmp_path / "saved") == "Hello there."
    asked, copied_asked = (ticket.dialogue.exchanges for ticket in answering.owner.tickets[-2:])
    assert [content_of(exchange) for exchange in copied_asked] == [content_of(exchange) for exchange in asked]


def content_of(exchange: Exchange) -> tuple[Any, ...]:
    """What is in an exchange, to be compared."""
    media = exchange.media
    arrays = [array if array is None else array.tobytes() for array in (media.tiles, media.fbank)]
    return exchange.question, exchange.answer, media.modality, *arrays


def test_a_small_medium_is_copied_with_the_request(visitor: Visit, tmp_path: Path) -> None:
    visitor.page.get_by_role("button", name="Where is the blue square?").click()
    answer = visitor.answer()
    assert run("curl", visitor.copied("curl"), tmp_path) == answer


def run(program: str, text: str, folder: Path) -> str:
    """Run what was copied and return the answer that it prints."""
    command = ["bash", "-c", text] if program == "curl" else [sys.executable, "-c", text]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=folder, check=True).stdout
    return json.loads(out)["choices"][0]["message"]["content"] if program == "curl" else out.rstrip("\n")


# How an answer comes


def test_the_place_in_the_queue_and_the_text_are_shown_as_they_come(
    visit: Callable[[Running], Visit], scripted: Running
) -> None:
    visitor = visit(scripted)
    visitor.begin("Hello?")
    ticket = scripted.owner.ticket()
    ticket.stage, ticket.place = "queued", 3
    expect(visitor.page.locator("#stage")).to_have_text("Queued · 3 before it")
    ticket.place = None
    ticket.say("Good", " morning")
    expect(visitor.page.locator(".said")).to_have_text("Good morning")
    expect(visitor.page.locator("#stage")).to_have_text("Answering")
    ticket.end(text="Good morning")
    assert visitor.answer() == "Good morning"


@pytest.mark.parametrize("how", ["Escape", "button"])
def test_an_answer_stopped_in_the_middle_stays_and_can_be_asked_again(
    visit: Callable[[Running], Visit], scripted: Running, how: str
) -> None:
    visitor = visit(scripted)
    visitor.begin("Hello?")
    ticket = scripted.owner.ticket()
    ticket.say("Good", " morning")
    expect(visitor.page.locator(".said")).to_have_text("Good morning")
    if how == "Escape":
        visitor.page.keyboard.press("Escape")
    else:
        visitor.page.get_by_role("button", name="Stop").click()
    visitor.until(lambda: ticket.cancelled)
    assert visitor.answer() == "Good morning"
    assert visitor.last(".remark") == "Stopped."
    visitor.page.get_by_role("button", name="Again").click()
    ticket = scripted.owner.ticket(count=2)
    ticket.say("Good evening")
    ticket.end(text="Good evening")
    expect(visitor.page.locator(".said")).to_have_text("Good evening")
    assert len(visitor.bodies[-1]["messages"]) == 1


def test_an_answer_stopped_in_the_queue_leaves_it(visit: Callable[[Running], Visit], scripted: Running) -> None:
    visitor = visit(scripted)
    visitor.begin("Hello?")
    ticket = scripted.owner.ticket()
    visitor.page.keyboard.press("Escape")
    visitor.until(lambda: ticket.cancelled)
    assert visitor.answer() == ""
    assert visitor.last(".remark") == "Stopped."


def test_a_page_reloaded_in_the_middle_leaves_the_answer_and_begins_anew(
    visit: Callable[[Running], Visit], scripted: Running
) -> None:
    visitor = visit(scripted)
    visitor.begin("Hello?")
    ticket = scripted.owner.ticket()
    ticket.say("Good", " morning")
    expect(visitor.page.locator(".said")).to_have_text("Good morning")
    visitor.page.reload()
    eventually(lambda: ticket.cancelled)
    assert visitor.page.locator(".exchange").count() == 0
    visitor.begin("Hello again?")
    ticket = scripted.owner.ticket(count=2)
    ticket.say("Hello")
    ticket.end(text="Hello")
    assert visitor.answer() == "Hello"
    assert len(visitor.messages) == 1


# What goes wrong


def test_a_busy_server_is_asked_again_after_the_time_that_it_says(
    visit: Callable[[Running], Visit], answering: Running
) -> None:
    visitor = visit(answering)
    answering.owner.waiting = answering.owner.limit
    visitor.begin("Hello?")
    expect(visitor.page.locator(".trouble")).to_contain_text(re.compile(r"Busy, trying again in \d s\."))
    answering.owner.waiting = 0
    assert visitor.answer() == "Hello there."
    assert visitor.page.locator(".trouble").is_hidden()
    visitor.forget(503)


def test_a_refusal_is_one_line_with_a_button_to_try_again(
    visit: Callable[[Running], Visit], answering: Running
) -> None:
    visitor = visit(answering)
    data = base64.b64encode(b"no picture").decode()
    visitor.page.evaluate(GIVE, [["drop"], "broken.png", "image/png", data])
    expect(visitor.page.locator("#attached .name")).to_have_text("broken.png")
    visitor.ask("What is this?")
    assert "not in a picture format" in visitor.last(".trouble span")
    assert "\n" not in visitor.last(".trouble span")
    visitor.page.get_by_role("button", name="Try again").click()
    visitor.until(lambda: len(visitor.bodies) == 2)
    visitor.answer()
    visitor.forget(400)


def test_an_error_in_the_stream_leaves_what_was_said(visit: Callable[[Running], Visit], scripted: Running) -> None:
    visitor = visit(scripted)
    visitor.begin("Hello?")
    ticket = scripted.owner.ticket()
    ticket.say("Good", " morning")
    expect(visitor.page.locator(".said")).to_have_text("Good morning")
    ticket.fail(GenerationError("the cache is full"))
    assert visitor.answer() == "Good morning"
    assert visitor.last(".trouble span") == "The cache is full."


def test_a_stream_that_breaks_off_is_no_whole_answer(visitor: Visit) -> None:
    answer_in_place(visitor, "There are", ended=False)
    assert visitor.ask("Hello?") == "There are"
    assert visitor.last(".trouble span") == "The connection to the server was lost."


def test_what_is_typed_and_said_is_text_and_never_markup(visitor: Visit) -> None:
    markup = "<img src=x onerror=alert(1)><b>bold</b>"
    answer_in_place(visitor, markup)
    assert visitor.ask(markup) == markup
    assert visitor.page.locator(".exchange img, .exchange b").count() == 0
    assert visitor.page.locator(".trouble").is_hidden()


def answer_in_place(visitor: Visit, text: str, ended: bool = True) -> None:
    """Answer with ``text`` in the server's place."""
    deltas = [({"content": text}, None), ({}, "stop")][: 2 if ended else 1]
    chunks = [
        {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + ("data: [DONE]\n\n" if ended else "")

    def fulfil(route: Route) -> None:
        route.fulfill(content_type="text/event-stream", body=body)

    visitor.page.route("**/chat/completions", fulfil)


def test_a_server_with_keys_is_given_the_one_that_was_entered(
    visit: Callable[[Running], Visit], serve: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text("sk-0123456789abcdef\n")
    with serve(lambda: FakeOwner(("Hello",)), api_key_file=file) as server:
        visitor = visit(server)
        page = visitor.page
        page.get_by_role("button", name="Enter it").click()
        page.fill("#key", "sk-0123456789abcdef")
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_contain_text("vita-tiny")
        assert visitor.ask("Hello?") == "Hello"
        assert page.evaluate("[sessionStorage.getItem('key'), localStorage.length]") == ["sk-0123456789abcdef", 0]
        assert "sk-0123456789abcdef" not in visitor.copied("curl") + visitor.copied("Python")
        visitor.forget(401)


def test_without_a_secure_origin_a_line_says_why_microphone_and_camera_are_off(
    browser: Browser, answering: Running
) -> None:
    page = browser.new_page()
    page.route("http://vita.test/**", lambda route: route.fulfill(response=route.fetch(url=f"{answering.url}/")))
    page.goto("http://vita.test/")
    assert "https or localhost only" in page.inner_text("#promise")
    assert page.locator("#talk").is_disabled()
    assert page.locator("#open-camera").is_disabled()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_at_320_pixels(visitor: Visit, scheme: str) -> None:
    page = visitor.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate(CUT_OFF) == []
    page.get_by_role("button", name="Describe this image.").click()
    visitor.answer()
    assert page.evaluate(CUT_OFF) == []
    for dialog in ("camera", "settings"):
        page.click(f"#open-{dialog}")
        page.wait_for_selector(f"#{dialog} .first:enabled")
        assert page.evaluate(CUT_OFF) == []
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Numbers").click()
    page.wait_for_selector("#stage")
    page.keyboard.press("Escape")
    page.wait_for_selector("#stage", state="hidden")
