"""Stream answers to a web client as server-sent events: open http://localhost:8000/?question=hello.

python examples/web_stream.py [PORT] [MODEL_PATH]
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from vita_demo import GenerationOptions, Pipeline, Request


class Handler(BaseHTTPRequestHandler):
    """Answers GET /?question=… with one event for each piece of text."""

    pipeline: Pipeline

    def do_GET(self) -> None:
        question = parse_qs(urlsplit(self.path).query).get("question", ["hello"])[0]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        # Leaving the block, because the client has gone say, ends the generation.
        with self.pipeline.iterate(Request(question=question), GenerationOptions(max_new_tokens=64)) as texts:
            for text in texts:
                self.wfile.write(f"data: {json.dumps(text, ensure_ascii=False)}\n\n".encode())
                self.wfile.flush()


def serve(port: int = 8000, model_path: str = "embedded") -> ThreadingHTTPServer:
    """Load the model and bind the port."""
    Handler.pipeline = Pipeline.load(model_path)
    return ThreadingHTTPServer(("localhost", port), Handler)


if __name__ == "__main__":
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8000, *sys.argv[2:]).serve_forever()
