"""The flowchart is one that Mermaid reads, whatever stands in titles and ids."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lark import Lark, Token, UnexpectedInput

from operations.trace.graph import TraceGraph
from operations.trace.mermaid import LABEL_MAX, escaped, mermaid_of
from tests.trace.samples import HOSTILE, graph

# What of Mermaid's flowcharts is used: every line is one of these, and a label ends at its quote.
GRAMMAR = Lark(
    r"""
    start: "flowchart LR" _NL (line _NL)*
    line: COMMENT | node | edge | style
    node: ID shape
    shape: "[" label "]" | "([" label "])" | "[[" label "]]" | "[/" label "/]"
        | "((" label "))" | "{{" label "}}"
    edge: ID "-->|" label "|" ID
    style: "style" ID "stroke-width:4px"
    label: "\"" TEXT "\""
    ID: /n\d+/
    TEXT: /([^"\n\r`<>]|<br\/>)+/
    COMMENT: /%% [a-z_]+: \d+ of \d+ shown/
    _NL: /\n/
    %ignore / +/
    """,
    parser="earley",
)
ENTITY = re.compile(r"#(\d+);")


def read(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return labels by node and edges, as Mermaid would draw them."""
    labels: dict[str, str] = {}
    edges = []
    for found in GRAMMAR.parse(text).iter_subtrees():
        ids = [each for each in found.children if isinstance(each, Token) and each.type == "ID"]
        if found.data == "node":
            (label,) = [
                str(token)
                for token in found.scan_values(lambda v: isinstance(v, Token) and v.type == "TEXT")
            ]
            labels[str(ids[0])] = label
        elif found.data == "edge":
            edges.append((str(ids[0]), str(ids[1])))
    return labels, edges


def drawn(label: str) -> str:
    return ENTITY.sub(lambda found: chr(int(found[1])), label)


def test_a_thread_is_drawn_with_all_its_nodes_and_edges() -> None:
    found: TraceGraph = graph("ERP rollout", "Support")
    text = mermaid_of(found)
    labels, edges = read(text)
    assert len(labels) == len(found.nodes)
    assert sorted(edges) == [("n0", "n1"), ("n0", "n2"), ("n1", "n3"), ("n2", "n3")]
    assert drawn(labels["n0"]) == "client 001<br/>Müller & Söhne"
    assert "part settled, net 1,234,567.89 EUR" in drawn(labels["n3"])
    assert "%% deal: 2 of 5000 shown" in text


@pytest.mark.parametrize("title", HOSTILE)
def test_no_word_of_others_breaks_out_of_its_label(title: str) -> None:
    labels, edges = read(mermaid_of(graph(title)))
    assert set(labels) == {"n0", "n1", "n2"}
    assert len(edges) == 2
    visible = "".join(each if each.isprintable() else " " for each in title)
    shown = visible if len(visible) <= LABEL_MAX else visible[: LABEL_MAX - 1]
    assert shown in drawn(labels["n1"])


@given(st.text())
def test_a_label_says_what_it_was_given_and_nothing_in_it_is_markup(text: str) -> None:
    label = escaped(text)
    assert not set(label) & set('"`<>[]{}|\\;#\n\r\x1b&') - {"#", ";"}
    assert html.unescape(label) == label
    cut = text if len(text) <= LABEL_MAX else f"{text[: LABEL_MAX - 1]}…"
    assert drawn(label) == "".join(each if each.isprintable() else " " for each in cut)


def test_the_grammar_can_fail() -> None:
    broken = mermaid_of(graph("plain")).replace("plain", 'x"]; click n0 "')
    with pytest.raises(UnexpectedInput):
        GRAMMAR.parse(broken)
