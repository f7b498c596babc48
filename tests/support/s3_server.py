"""An S3 server of one's own: moto's, which answers for nothing else and need not look whom a request is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread


@contextmanager
def s3_server(port: int = 0) -> Iterator[str]:
    """Its address, as long as it runs; at a port of its own unless one is named."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", port, create_backend_app("s3"), True, request_handler=MotoRequestHandler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
