"""Hooks of mkdocs: what stands elsewhere in the repository becomes pages of the site, and the references are made.

Pages link to files of the repository, as GitHub shows them. Here each such link leads to the page that the file has
become, or to a copy of the file: the site needs no address of the repository.
"""

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from scripts.references import api_pages, cli_page

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "project/contributing.md", "CHANGELOG.md": "project/changelog.md"}
CARDS = ("models/*/README.md", "src/fervit/assets/*/README.md")
COPIES = "files"  # the folder of the site with files that pages link to
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^\s*(```|~~~)")


@functools.cache
def repository_pages() -> dict[str, str]:
    """Return the pages that stand outside of docs/: their paths in the repository, and in the site."""
    found = {path: page for path, page in PAGES.items() if (ROOT / path).is_file()}
    for pattern in CARDS:
        for path in sorted(ROOT.glob(pattern)):
            found.setdefault(path.relative_to(ROOT).as_posix(), f"models/{path.parent.name}.md")
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the parts of the navigation that the code decides."""
    python = [{title: f"reference/python/{_slug(title)}.md"} for title in api_pages()]
    cards = [{name: f"models/{name}.md"} for name in _card_names()]
    models = [{"All models": "models/index.md"}, *cards]
    config.nav = _filled(config.nav, {"reference/python": python, "models": models})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from elsewhere, the references, and the files that pages link to."""
    made = {site: (ROOT / path).read_text(encoding="utf-8") for path, site in _unique(repository_pages()).items()}
    made["reference/cli.md"] = cli_page()
    made |= {f"reference/python/{_slug(title)}.md": page for title, page in api_pages().items()}
    made["models/index.md"] = models_page((ROOT / "README.md").read_text(encoding="utf-8"))
    made["runs/index.md"] = _runs_page()
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=without_front_matter(content)))
    for path in sorted(linked_files(files)):
        files.append(File.generated(config, f"{COPIES}/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links of the site."""
    return relinked(markdown, page.file.src_uri)


def relinked(markdown: str, uri: str) -> str:
    """Return a page's text with links that hold in the site; code is left as it is."""
    origin = source_of(uri)

    def replace(match: re.Match[str]) -> str:
        target, anchor, heading = match[2].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        wanted = normpath(str(PurePosixPath(origin).parent / target))
        found = site_uri(wanted)
        return f"{match[1]}{relpath(found, str(PurePosixPath(uri).parent))}{anchor}{heading}{match[3]}"

    return "".join(line if code else LINK.sub(replace, line) for line, code in lines_of(markdown))


def source_of(uri: str) -> str:
    """Return the path in the repository of the text of a page of the site."""
    if uri == "models/index.md":
        return "README.md"
    elsewhere = {site: path for path, site in _unique(repository_pages()).items()}
    return elsewhere.get(uri, f"docs/{uri}")


def site_uri(path: str) -> str:
    """Return where the site has a file of the repository."""
    pages = repository_pages()
    if path in pages:
        return pages[path]
    if path.startswith("docs/"):
        inside = path.removeprefix("docs/")
        return "runs/index.md" if (ROOT / path).is_dir() and inside.startswith("runs") else inside
    return f"{COPIES}/{path}"


def linked_files(files: Files) -> Iterator[str]:
    """Yield the files outside of docs/ that pages link to and that are no pages themselves, each once."""
    seen = set()
    for file in files.documentation_pages():
        origin = PurePosixPath(source_of(file.src_uri)).parent
        for line, code in lines_of(file.content_string):
            for _, link, _ in [] if code else LINK.findall(line):
                path = normpath(str(origin / link.partition("#")[0]))
                if "://" not in link and site_uri(path).startswith(f"{COPIES}/") and (ROOT / path).is_file():
                    seen.add(path)
    yield from seen


def lines_of(markdown: str) -> Iterator[tuple[str, bool]]:
    """Yield the lines of a page, and whether each is in a block of code."""
    fenced = False
    for line in markdown.splitlines(keepends=True):
        fence = bool(FENCE.match(line))
        yield line, fenced or fence
        fenced ^= fence


def without_front_matter(markdown: str) -> str:
    """Return a model card without its metadata, which is for the Hub."""
    return re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)


def models_page(readme: str) -> str:
    """Return the page of all models: the section of README."""
    section = readme.split("\n## Models\n")[1].split("\n## ")[0]
    return f"# Models\n{section.rstrip()}\n\nEach name leads to the model's card: data, figures, limits, licence.\n"


def _runs_page() -> str:
    rows = [
        "# Training logs",
        "",
        "Loss and figures of every epoch of the released runs, as `fervit train` wrote them.",
        "",
    ]
    for path in sorted((ROOT / "docs" / "runs").rglob("metrics.csv")):
        name = path.parent.relative_to(ROOT / "docs" / "runs").as_posix()
        rows.append(f"- [{name}]({name}/metrics.csv)")
    return "\n".join([*rows, ""])


def _card_names() -> list[str]:
    return [Path(site).stem for site in _unique(repository_pages()).values() if site.startswith("models/")]


def _unique(pages: dict[str, str]) -> dict[str, str]:
    """Keep the first of several files that would become the same page, as a bundled model's second card."""
    first: dict[str, str] = {}
    for path, site in pages.items():
        if site not in first.values():
            first[path] = site
    return first


def _filled(nav: object, parts: dict[str, list[dict[str, str]]]) -> list[object]:
    assert isinstance(nav, list)
    return [_filled_entry(entry, lambda value: parts.get(value, value)) for entry in nav]


def _filled_entry(entry: object, fill: Callable[[str], object]) -> object:
    if isinstance(entry, str):
        return fill(entry)
    if isinstance(entry, list):
        return [_filled_entry(item, fill) for item in entry]
    assert isinstance(entry, dict)
    return {title: _filled_entry(value, fill) for title, value in entry.items()}


def _slug(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")
