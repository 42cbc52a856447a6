"""Doubles of cameras: OpenCV's, and one with an address."""

import http.server
import io
import time

import numpy as np
from PIL import Image


class Camera:
    """Gives `count` frames of the astronaut, one every `pause_s`, and is unplugged then."""

    count, pause_s, image = 12, 0.02, np.zeros((48, 64, 3), np.uint8)

    def __init__(self, device: int):
        self.given, self.released = 0, False

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(self.pause_s)
        self.given += 1
        return (True, self.image) if self.given <= self.count else (False, None)

    def release(self) -> None:
        self.released = True


class MjpegHandler(http.server.BaseHTTPRequestHandler):
    """A camera with an address: each connection gives `frames` frames; after `connections` there are no more."""

    frames, connections, served = 6, 2, 0

    def do_GET(self) -> None:
        kind = type(self)
        if kind.served >= kind.connections:
            self.send_error(503)
            return
        kind.served += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for k in range(kind.frames):
            data = io.BytesIO()
            Image.new("RGB", (64, 48), (40 * kind.served, 40 * k, 0)).save(data, "JPEG")
            jpeg = data.getvalue()
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
            self.wfile.write(jpeg + b"\r\n")
            time.sleep(0.03)

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay quiet."""
