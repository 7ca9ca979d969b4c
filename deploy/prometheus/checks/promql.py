"""What of a PromQL expression can be compared with the world: its selectors.

Prometheus itself says whether an expression is one; here names and label matchers are picked out of those it takes.
Refuses nothing: what is no selector is passed over.
"""

import re
from dataclasses import dataclass

WORDS = {
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "inf",
    "nan",
    "sum",
    "min",
    "max",
    "avg",
    "count",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "quantile",
    "count_values",
    "atan2",
}
TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<range>\[[^\]]*\])|(?P<braces>\{)|(?P<close>\})"""
    r"""|(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)|(?P<number>[0-9.][0-9a-zA-Z.]*)|(?P<open>\()|(?P<end>\))|(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
MATCHER = re.compile(r"""([A-Za-z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)\"""")


@dataclass(frozen=True)
class Selector:
    """A metric with its matchers, (label, operator, value) each."""

    metric: str
    matchers: tuple = ()

    def __str__(self):
        inside = ",".join(f'{label}{operator}"{value}"' for label, operator, value in self.matchers)
        return self.metric + (f"{{{inside}}}" if inside else "")


def selectors(expression):
    """All selectors of an expression, each once, in order."""
    found, tokens = [], [t for t in TOKEN.finditer(expression) if not t.group().isspace()]
    i = 0
    while i < len(tokens):
        token = tokens[i]
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        i += 1
        if token.lastgroup != "name":
            continue
        word = token.group()
        opens = following is not None and following.lastgroup == "open"
        if word.lower() in ("by", "without", "on", "ignoring", "group_left", "group_right"):
            # Labels in parentheses are no metrics.
            while opens and tokens[i].lastgroup != "end":
                i += 1
            continue
        if word.lower() in WORDS or opens:
            continue
        matchers = ()
        if following is not None and following.lastgroup == "braces":
            start = following.end()
            while tokens[i].lastgroup != "close":
                i += 1
            matchers = tuple(m.groups() for m in MATCHER.finditer(expression[start : tokens[i].start()]))
        found.append(Selector(word, matchers))
    return list(dict.fromkeys(found))


def named_values(matcher):
    """The values that a matcher names: one, or those of `a|b|c`; none for a real pattern."""
    _, operator, value = matcher
    if operator in ("=", "!="):
        return [value] if value else []
    values = value.split("|")
    return values if all(re.fullmatch(r"\w+", v) for v in values) else []
