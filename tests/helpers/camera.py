"""A double of OpenCV's camera."""

import time

import numpy as np


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
