"""`--group-by`: which images belong together, by a column, by their folder or by a pattern of their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fervit.errors import ConfigError, DataError, quoted

FOLDER = "folder"


@dataclass(frozen=True)
class Grouping:
    """What the images of a group have in common.

    Attributes:
        text: as the user said it.
        pattern: finds the group in the image's name, as its one group; None for a folder or a column.
    """

    text: str
    pattern: re.Pattern[str] | None = None

    @property
    def column(self) -> str | None:
        """The name of the column, in lower case, or None where it is a folder or a pattern."""
        return None if self.pattern is not None or self.text == FOLDER else self.text.lower()


def read_grouping(text: object) -> Grouping | None:
    r"""Read `folder`, the name of a column, or a regular expression with one group; None stays None.

    >>> read_grouping(r"S(\d+)_").pattern.search("S005_001.png")[1]
    '005'

    Raises:
        ConfigError: it is none of these.
    """
    if text is None:
        return None
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(
            f"--group-by takes a column, `folder`, or a regular expression with one group; got {quoted(text)}"
        )
    text = text.strip()
    if "(" not in text:
        return Grouping(text.lower() if text.lower() == FOLDER else text)
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ConfigError(f"--group-by {quoted(text)} is no regular expression ({error})") from error
    if pattern.groups != 1:
        raise ConfigError(
            f"--group-by {quoted(text)} has {pattern.groups} groups; expected one pair of brackets around what names "
            "the person or the scene, such as '(S[0-9]+)_'"
        )
    return Grouping(text, pattern)


def group_names(grouping: Grouping, sources: Sequence[str], targets: Sequence[int], where: str) -> list[str]:
    """Return the group of each image by its name; empty where the pattern finds none.

    Args:
        grouping: a folder or a pattern.
        sources: the image's names, with `/` between folders.
        targets: their labels.
        where: the source, for messages.

    Raises:
        DataError: there are no such groups, or every label is one group.
    """
    if grouping.column is not None:
        raise DataError(
            f"{where} has no column {quoted(grouping.text)}; --group-by takes a column of the csv or parquet file, "
            "`folder`, or a regular expression with one group, such as '(S[0-9]+)_'"
        )
    if grouping.pattern is None:
        groups = [source.rpartition("/")[0] for source in sources]
    else:
        found = [grouping.pattern.search(source) for source in sources]
        groups = [(match[1] or "") if match else "" for match in found]
    if not any(groups):
        example = f"the first is {sources[0]}" if len(sources) else "there is none"
        raise DataError(f"{where}: --group-by {quoted(grouping.text)} fits no image's name; {example}")
    labels = {group: {t for g, t in zip(groups, targets, strict=True) if g == group} for group in set(groups)}
    if 1 < len(set(targets)) == len(labels) and all(len(each) == 1 for each in labels.values()):
        raise DataError(
            f"{where}: --group-by {grouping.text} makes one group of each label, so that nothing can be divided; "
            "expected several groups in each label, such as angry/clip1/x.jpg"
        )
    return groups
