"""The page in a browser: headless Chromium with a false camera and microphone, and a server of its own."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="needs playwright: pip install playwright")
pytest.importorskip("fastapi", reason="needs the extra serve: pip install 'vita-demo[serve]'")
pytest.importorskip("vita_demo.serving.run")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect, sync_playwright  # noqa: E402

# How long a busy machine takes is nobody's fault.
WAIT_MS = 240_000
expect.set_options(timeout=WAIT_MS)
ASSETS = Path(__file__).parents[2] / "assets"
# The miniature answers in some ten milliseconds; to stop it in the middle, each of its steps takes a while.
SERVER = """
import time
from vita_demo.model.decode.slots import Slots
step = Slots.step
Slots.step = lambda *arguments: (time.sleep(0.03), step(*arguments))[1]
from vita_demo.cli import main
main()
"""
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
# What reaches out of the window, or out of what hides the rest.
CUT_OFF = """[...document.querySelectorAll("body *")].filter((one) => {
    const box = one.getBoundingClientRect();
    const dialog = one.closest("dialog")?.getBoundingClientRect() ?? {left: 0, right: innerWidth};
    const outside = box.left < dialog.left - 1 || box.right > dialog.right + 1;
    return one.checkVisibility({visibilityProperty: true}) && outside;
}).map((one) => one.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a server of the embedded model listens."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, "serve", "--port", "0", "--device", "cpu", "--parallel", "2"],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    try:
        line = process.stdout.readline()
        found = re.match(r"http://\S+", line)
        assert found, line
        yield found.group()
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    flags = ("--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    speech = f"--use-file-for-fake-audio-capture={ASSETS / 'question.wav'}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*flags, speech])
        yield browser
        browser.close()


class Visit:
    """A page that is open, what it asked the server for, and what went wrong."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.bodies: list[dict] = []
        self.cancelled: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._see)
        page.goto(address)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _see(self, request: Request) -> None:
        if request.url.startswith(("blob:", "data:")):
            return
        if not request.url.startswith(self.address):
            self.elsewhere.append(request.url)
        elif request.url.endswith("/chat/completions"):
            self.bodies.append(json.loads(request.post_data or "{}"))
        elif request.url.endswith("/cancel"):
            self.cancelled.append(request.url)

    def attach(self, *files: Path) -> None:
        self.page.set_input_files("#files", list(files))
        self.page.locator("#attached .medium").nth(len(files) - 1).wait_for()

    def ask(self, question: str) -> str:
        self.page.fill("#text", question)
        self.page.keyboard.press("Enter")
        return self.answer()

    def answer(self) -> str:
        """Wait for the end of the last answer and return its text."""
        self.page.locator(".exchange:last-child .foot .tools button").first.wait_for()
        return self.page.locator(".exchange:last-child .said").inner_text()

    @property
    def hand(self) -> str:
        return self.page.locator(".exchange:last-child .hand").inner_text()

    @property
    def parts(self) -> list[dict]:
        """The last question as it was sent."""
        return self.bodies[-1]["messages"][-1]["content"]


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """A page in a new window; nothing may go wrong in it, and it may ask nobody else."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write", "camera", "microphone"], origin=address)
    context.set_default_timeout(WAIT_MS)
    visit = Visit(context.new_page(), address)
    yield visit
    context.close()
    assert visit.errors == []
    assert visit.elsewhere == []


@pytest.mark.parametrize("kinds", [["dragenter", "dragover", "drop"], ["paste"]], ids=["dropped", "pasted"])
def test_a_picture_is_shown_and_answered_and_its_numbers_are_there(visit: Visit, kinds: list[str]) -> None:
    data = base64.b64encode((ASSETS / "scene.png").read_bytes()).decode()
    visit.page.evaluate(GIVE, [kinds, "scene.png", "image/png", data])
    visit.page.wait_for_selector("#attached img")
    answer = visit.ask("Describe this image.")
    for thing in ("blue square", "red circle", "yellow star"):
        assert thing in answer
    assert visit.hand == "☜"
    assert visit.parts[0]["image_url"]["url"] == f"data:image/png;base64,{data}"
    page = visit.page
    assert page.locator(".exchange .question img").evaluate("image => image.naturalWidth") == 640
    assert page.inner_text("#stage") == "Done"
    assert re.fullmatch(r"[\d.]+\s*s", page.inner_text("#first"))
    assert re.fullmatch(r"[\d.,]+\s*/s", page.inner_text("#average"))
    # The same picture may have been seen for another window: its positions are then in the cache.
    assert {"Prefill", "Decode"} <= set(page.locator("#stages-legend dt").all_inner_texts())
    assert page.locator("#gaps-path").get_attribute("d")
    assert page.locator("#drop").is_hidden()
    assert re.search(r"160 text \+ 117 image", page.inner_text("#prompt-text"))


def test_a_second_turn_sends_all_before_it_and_finds_it_in_the_cache(visit: Visit) -> None:
    visit.attach(ASSETS / "scene.png")
    first = visit.ask("Describe this image.")
    assert "blue" in visit.ask("What colour is the square?")
    roles = [message["role"] for message in visit.bodies[1]["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert visit.bodies[1]["messages"][0]["content"][0]["type"] == "image_url"
    assert visit.bodies[1]["messages"][1]["content"] == first
    assert "From the cache" in visit.page.locator("#positions-legend dt").all_inner_texts()


def test_a_picture_and_a_clip_of_the_camera_are_answered(visit: Visit) -> None:
    visit.page.click("#open-camera")
    visit.page.click("#picture")
    visit.page.wait_for_selector("#attached img")
    assert visit.ask("Describe this image.")
    assert visit.parts[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    visit.page.click("#open-camera")
    visit.page.click("#clip")
    visit.page.wait_for_selector("#attached video")
    assert visit.ask("What happens in the video?")
    assert visit.parts[0]["video_url"]["url"].startswith("data:video/webm;base64,")


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_a_spoken_question_is_sent_as_wav_when_the_button_is_let_go(visit: Visit, how: str) -> None:
    page = visit.page
    visit.attach(ASSETS / "scene.png")
    box = page.locator("#talk").bounding_box()
    page.mouse.move(box["x"] + 8, box["y"] + 8)
    page.focus("#talk")
    press, release = (
        (page.mouse.down, page.mouse.up)
        if how == "mouse"
        else (lambda: page.keyboard.down(" "), lambda: page.keyboard.up(" "))
    )
    press()
    expect(page.locator("#talk-label")).to_have_text("0:02")
    release()
    assert visit.answer()
    assert visit.hand in "☞☟"
    sound = visit.parts[1]["input_audio"]
    wav = base64.b64decode(sound["data"])
    assert sound["format"] == "wav"
    assert wav[:4] == b"RIFF"
    channels, rate_hz = int.from_bytes(wav[22:24], "little"), int.from_bytes(wav[24:28], "little")
    assert (channels, rate_hz) == (1, 16000)
    assert len(wav) > 2 * 16000


def test_a_press_of_the_button_begins_and_escape_drops_what_was_said(visit: Visit) -> None:
    visit.page.click("#talk")
    expect(visit.page.locator("#note")).to_contain_text("Press again to send")
    expect(visit.page.locator("#talk-label")).to_have_text("0:00")
    visit.page.keyboard.press("Escape")
    assert visit.page.inner_text("#note") == "Dropped."
    assert visit.page.inner_text("#talk-label") == "Hold to talk"
    assert visit.bodies == []


def test_a_recorded_question_is_heard_and_noise_is_shown_as_noise(visit: Visit) -> None:
    visit.attach(ASSETS / "scene.png", ASSETS / "question.wav")
    visit.page.click("#send")
    assert visit.answer() == "There are three shapes."
    assert visit.hand == "☞"
    visit.attach(ASSETS / "noise.wav")
    visit.page.click("#send")
    visit.answer()
    assert visit.hand == "☟"
    assert "Not meant for the model" in visit.page.inner_text(".exchange:last-child .remark")


def test_an_answer_stopped_in_the_middle_stays_and_can_be_asked_again(visit: Visit) -> None:
    visit.page.click("#sample")
    visit.page.wait_for_selector("#attached img")
    visit.page.fill("#text", "Describe this image.")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".said")).to_have_text(re.compile(".{20}"))
    visit.page.keyboard.press("Escape")
    part = visit.answer()
    assert len(visit.cancelled) == 1
    assert visit.page.inner_text(".exchange .remark") == "Stopped."
    visit.page.get_by_role("button", name="Again").click()
    whole = visit.answer()
    assert whole.startswith(part)
    assert len(whole) > len(part)
    assert visit.page.locator(".exchange").count() == 1


def test_a_page_reloaded_in_the_middle_begins_anew(visit: Visit) -> None:
    example = visit.page.get_by_role("button", name="Describe this image.")
    example.click()
    expect(visit.page.locator(".said")).to_have_text(re.compile(".{20}"))
    visit.page.reload()
    assert visit.page.locator(".exchange").count() == 0
    assert visit.ask("What can you do?")
    assert len(visit.bodies[-1]["messages"]) == 1


def test_the_sample_picture_is_one_that_the_miniature_reads(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Describe this image.").click()
    answer = visit.answer()
    for thing in ("red circle is at the left", "blue square is at the right", "yellow star is at the bottom"):
        assert thing in answer


def test_a_keyboard_is_enough(visit: Visit) -> None:
    page = visit.page
    page.keyboard.type("What can you do?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Enter")
    assert visit.answer()
    assert visit.bodies[0]["messages"] == [{"role": "user", "content": "What can you do?"}]
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.textContent") == "Python"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_contain_text("Copied")


def test_settings_go_into_the_request_and_outlive_a_reload(visit: Visit) -> None:
    page = visit.page
    page.click("#open-settings")
    page.fill("#temperature", "0")
    page.fill("#max-tokens", "3")
    page.fill("#system", "You know shapes.")
    page.get_by_role("button", name="Done").click()
    page.reload()
    visit.ask("What can you do?")
    body = visit.bodies[-1]
    assert (body["temperature"], body["max_tokens"]) == (0, 3)
    assert body["messages"][0] == {"role": "system", "content": "You know shapes."}
    assert page.inner_text(".exchange .remark") == "Cut off at the most tokens allowed."


@pytest.mark.parametrize("program", ["curl", "Python"])
def test_a_copied_request_runs_and_gives_the_same_answer(visit: Visit, program: str, tmp_path: Path) -> None:
    if program == "Python":
        pytest.importorskip("openai", reason="needs openai: pip install openai")
    named = tmp_path / "a 'scene' at $HOME.png"
    shutil.copy(ASSETS / "scene.png", named)
    visit.attach(named)
    visit.ask("Describe this image.")
    question = 'What colour is the "square"? `$HOME` \\n'
    answer = visit.ask(question)
    visit.page.get_by_role("button", name=program, exact=True).last.click()
    expect(visit.page.locator("#note")).to_contain_text("Copied. It reads a 'scene' at $HOME.png")
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert len(copied) < 3000
    command = ["bash", "-c", copied] if program == "curl" else [sys.executable, "-c", copied]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    told = json.loads(run.stdout)["choices"][0]["message"]["content"] if program == "curl" else run.stdout.rstrip("\n")
    assert told == answer


def test_a_small_medium_is_copied_with_the_request(visit: Visit, tmp_path: Path) -> None:
    visit.page.get_by_role("button", name="Where is the blue square?").click()
    answer = visit.answer()
    visit.page.get_by_role("button", name="curl", exact=True).click()
    expect(visit.page.locator("#note")).to_have_text("Copied.")
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    run = subprocess.run(["bash", "-c", copied], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert json.loads(run.stdout)["choices"][0]["message"]["content"] == answer


def refuse(status: int, message: str, **headers: str) -> Callable[[Route], None]:
    body = json.dumps({"error": {"message": message, "type": "error", "param": None, "code": None}})
    return lambda route: route.fulfill(status=status, headers=headers, content_type="application/json", body=body)


def forget(errors: list[str], status: int) -> None:
    """Drop what the browser itself writes about a status that was meant."""
    errors[:] = [error for error in errors if f"status of {status}" not in error]


def test_a_busy_server_is_asked_again_after_the_time_that_it_says(visit: Visit) -> None:
    page = visit.page
    page.route("**/chat/completions", refuse(503, "the queue is full", **{"retry-after": "1"}), times=1)
    page.fill("#text", "What can you do?")
    page.keyboard.press("Enter")
    page.get_by_text("Busy, trying again in 1 s.").wait_for()
    assert visit.answer()
    assert len(visit.bodies) == 2
    assert page.locator(".trouble").is_hidden()
    forget(visit.errors, 503)


def test_a_refusal_is_one_line_with_a_button_to_try_again(visit: Visit) -> None:
    page = visit.page
    page.route("**/chat/completions", refuse(400, "max_tokens must be at least 1"), times=1)
    visit.ask("What can you do?")
    assert page.inner_text(".trouble span") == "max_tokens must be at least 1."
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".trouble", state="hidden")
    assert visit.answer()
    forget(visit.errors, 400)


def test_an_error_in_the_stream_leaves_what_was_said(visit: Visit) -> None:
    chunk = {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": "There are"}, "finish_reason": None}]}
    error = {"error": {"message": "the time is up", "type": "server_error", "param": None, "code": None}}
    body = f"data: {json.dumps(chunk)}\n\ndata: {json.dumps(error)}\n\ndata: [DONE]\n\n"
    visit.page.route(
        "**/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=body), times=1
    )
    assert visit.ask("What can you do?") == "There are"
    assert visit.page.inner_text(".trouble span") == "The time is up."


def test_a_stream_that_breaks_off_is_no_whole_answer(visit: Visit) -> None:
    chunk = {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": "There are"}, "finish_reason": None}]}
    body = f"data: {json.dumps(chunk)}\n\n"
    visit.page.route("**/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    assert visit.ask("What can you do?") == "There are"
    assert visit.page.inner_text(".trouble span") == "The connection to the server was lost."


def test_what_is_no_medium_is_named_and_left_out(visit: Visit) -> None:
    data = base64.b64encode(b"shapes").decode()
    visit.page.evaluate(GIVE, [["drop"], "notes.txt", "text/plain", data])
    expect(visit.page.locator("#note")).to_have_text("notes.txt is neither a picture nor a clip nor a sound.")
    assert visit.page.locator("#attached").is_hidden()


def test_a_server_with_keys_is_given_the_one_that_was_entered(visit: Visit) -> None:
    page = visit.page
    keys = []

    def check(route: Route) -> None:
        keys.append(route.request.headers.get("authorization"))
        if keys[-1] == "Bearer secret":
            route.continue_()
        else:
            refuse(401, "the API key is missing or wrong")(route)

    page.route("**/v1/**", check)
    page.reload()
    page.get_by_role("button", name="Enter it").click()
    page.fill("#key", "secret")
    page.keyboard.press("Enter")
    page.get_by_text("vita-tiny").wait_for()
    assert visit.ask("What can you do?")
    assert keys[-1] == "Bearer secret"
    assert page.evaluate("[sessionStorage.getItem('key'), localStorage.length]") == ["secret", 0]
    forget(visit.errors, 401)


def test_what_is_typed_and_said_is_text_and_never_markup(visit: Visit) -> None:
    markup = "<img src=x onerror=alert(1)><b>bold</b>"
    chunk = {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": markup}, "finish_reason": None}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    body = "".join(f"data: {data}\n\n" for data in (json.dumps(chunk), json.dumps(end), "[DONE]"))
    visit.page.route("**/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    assert visit.ask(markup) == markup
    assert visit.page.locator(".trouble").is_hidden()
    assert visit.page.locator(".exchange img, .exchange b").count() == 0


def test_without_a_secure_origin_a_line_says_why_microphone_and_camera_are_off(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.route("http://vita.test/**", lambda route: route.fulfill(response=route.fetch(url=f"{address}/")))
    page.goto("http://vita.test/")
    assert "https or localhost only" in page.inner_text("#promise")
    assert page.locator("#talk").is_disabled()
    assert page.locator("#open-camera").is_disabled()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_at_320_pixels(visit: Visit, scheme: str) -> None:
    page = visit.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 320, "height": 640})
    page.get_by_role("button", name="Describe this image.").click()
    visit.answer()
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
