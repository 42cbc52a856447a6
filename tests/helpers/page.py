"""An HTML page as a browser would take it apart."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Collects tags, text, and every address that a browser would fetch."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        """The text with ordinary spaces."""
        return self.text.replace("\N{NO-BREAK SPACE}", " ")
