"""`Settings`: every limit of the service, with its safe default."""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from fervit.errors import ConfigError, reason, unknown
from fervit.inference.recognizer import MAX_WORKERS
from fervit.runtime.devices import AUTO, read_device
from fervit.runtime.ort import cores

MB = 1_000_000
FORMATS = ("JPEG", "PNG", "WebP", "AVIF", "HEIC")  # the last two where this Python decodes them
SEGMENTS = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")  # of a path prefix
MIN_TOKEN = 16  # characters; 96 bits when they are base64


@dataclass(frozen=True)
class Settings:
    """What the service runs and what it refuses; it crosses into worker processes by pickle.

    Attributes:
        model: ONNX file, model folder, name or Hub id; None takes the shipped model.
        runtime: `onnxruntime`, which starts at once, `openvino`, or `auto`.
        device: where the classifier runs, as for `fervit.load`; of several `workers`, each has its model there.
        min_confidence: probability below which a face's label is `uncertain`, 0..1.
        detector: `auto` or a key of `fervit.faces.detectors.DETECTORS`.
        host: address to bind; other than loopback needs a token, or `insecure`.
        port: TCP port; 0 lets the system choose.
        token: bearer token of `/v1/*` and `/metrics`, or None.
        insecure: allow other addresses without a token.
        allow_origins: origins of foreign web pages that may call the service (CORS).
        allow_hosts: host names that a service on loopback responds to besides loopback ones.
        trusted_proxies: addresses and networks (10.0.0.0/8) of proxies whose `X-Forwarded-For`, `-Proto` and
            `-Prefix` are believed.
        root_path: path prefix under which a proxy shows the service, such as `/faces`; a proxy's
            `X-Forwarded-Prefix` goes before it.
        workers: server processes; each has its own model, queue and rate buckets.
        image_workers: processes that decode and detect, per server process; None takes the cores, 0
            stays in the server's own process (slower: detection holds Python's lock).
        threads: CPU threads of the classifier; None takes all cores.
        max_body: bytes of one image's request, or of one frame.
        max_batch_body: bytes of a batch request.
        max_buffered: bytes of all request bodies held at once.
        max_images: images in a batch request.
        max_pixels: width x height, checked before decoding.
        formats: a subset of `FORMATS`.
        max_faces: faces returned per image, the most confident ones.
        max_connections: open connections; more are closed at once.
        max_streams: live streams at once.
        queue: images in work or waiting at once; more get 503.
        rate: requests per second and client on average, 0 for no limit; more get 429.
        burst: requests that a client may make at once.
        read_timeout_s: seconds for the head, and again for the body, of a request.
        timeout_s: seconds from a read request to its response.
        idle_timeout_s: seconds that a stream may go without a frame.
        drain_s: seconds that requests get to end after SIGTERM.
        window_s: seconds that a batch of faces waits for the images being decoded.
        max_batch: faces classified at once.
        revision: branch, tag or commit of a model of the Hub.
        label_map: names of the model's outputs, see `fervit.inference.naming.name_labels`.
    """

    model: Path | None = None
    runtime: str = "onnxruntime"
    min_confidence: float = 0.0
    detector: str = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    insecure: bool = False
    allow_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    root_path: str = ""
    workers: int = 1
    image_workers: int | None = None
    threads: int | None = None
    device: str = AUTO
    max_body: int = 10 * MB  # a 24-megapixel phone photo has 3 to 8
    max_batch_body: int = 40 * MB
    max_buffered: int = 256 * MB
    max_images: int = 16
    max_pixels: int = 25 * MB  # 75 MB decoded
    formats: tuple[str, ...] = FORMATS
    max_faces: int = 64
    max_connections: int = 512
    max_streams: int = 8
    queue: int = 64
    rate: float = 20.0
    burst: int = 40
    read_timeout_s: float = 10.0
    timeout_s: float = 20.0
    idle_timeout_s: float = 60.0
    drain_s: float = 25.0
    window_s: float = 0.004
    max_batch: int = 32
    revision: str | None = None
    label_map: tuple[str, ...] = ()

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)

    def processes(self) -> int:
        """Return how many processes decode and detect."""
        if self.image_workers is not None:
            return self.image_workers
        return max(1, min(MAX_WORKERS, cores() // self.workers))

    def check(self) -> "Settings":
        """Return itself when it is safe to run.

        Raises:
            ConfigError: it would be open to the network without a token, a limit makes no sense, or there is no such
                device.
        """
        read_device(self.device)
        if not (self.loopback or self.token or self.insecure):
            raise ConfigError(
                f"--host {self.host} can be reached from other machines: add --token-file FILE, or --insecure "
                "when something in front of it checks who may call"
            )
        if self.token is not None and (
            len(self.token) < MIN_TOKEN or not self.token.isascii() or not self.token.isprintable()
        ):
            raise ConfigError(
                f"expected a token of at least {MIN_TOKEN} printable ASCII characters; make one with "
                "`python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
            )
        for proxy in self.trusted_proxies:
            if not is_network(proxy):
                raise ConfigError(f"expected --trusted-proxy ADDRESS or NETWORK such as 10.0.0.0/8, got {proxy!r}")
        if self.root_path and clean_prefix(self.root_path) != self.root_path:
            raise ConfigError(
                f"expected --root-path PREFIX such as /faces, without a slash at its end, got {self.root_path!r}"
            )
        for name in self.formats:
            if name not in FORMATS:
                raise ConfigError(unknown("image format", name, FORMATS))
        for origin in self.allow_origins:
            scheme, separator, rest = origin.partition("://")
            if origin == "*" or scheme not in ("http", "https") or not separator or not rest or "/" in rest:
                raise ConfigError(f"expected an origin such as https://example.org, got {origin!r}")
        if self.max_images > self.queue:
            raise ConfigError(f"--max-images {self.max_images} exceeds --queue {self.queue}: no batch would fit")
        return self


def is_loopback(host: str) -> bool:
    """Return whether a host name or address means this machine only.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_network(text: str) -> bool:
    """Return whether a text is an IP address, or a network without host bits.

    >>> [is_network(text) for text in ("10.0.0.0/8", "::1", "10.0.0.1/8", "*", "proxy.example")]
    [True, True, False, False, False]
    """
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def read_token(path: Path) -> str:
    """Return the token in a file's first line.

    Raises:
        ConfigError: the file cannot be read or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n", 1)
    except (OSError, UnicodeDecodeError) as error:
        what = reason(error) if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"cannot read the token file {path}: {what}") from error
    if not lines[0].strip():
        raise ConfigError(f"the token file {path} is empty")
    return lines[0].strip()


def clean_prefix(prefix: str) -> str | None:
    """Return a path prefix without a slash at its end, "" for none; None if it is not the path of an address.

    >>> [clean_prefix(prefix) for prefix in ("/faces/", "/a/b", "/", "", "faces", "//evil.example", "/a/..")]
    ['/faces', '/a/b', '', '', None, None, None]
    """
    prefix = prefix.removesuffix("/")
    return prefix if not prefix or SEGMENTS.fullmatch(prefix) else None
