# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Manual pages by Sphinx: each file here names the parts of the pages of doc/ that it is made of.

``make man`` runs it (tools/man.py). What reads well in a browser is given the form of a manual page: what comes before
the first heading is the synopsis or the description, tables are lists, and links to other pages are references such as
flux-sched-rdl(5).
"""
from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.writers.manpage import ManualPageTranslator

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(TOP))
import configure  # noqa: E402

project = "flux-sched"
author = "The flux-sched authors"
version = release = f"flux-sched {configure.project_version()}"
today = re.search(r"^## .*?(\d{4}-\d\d-\d\d)", (TOP / "CHANGELOG.md").read_text(), re.M)
today = today[1] if today else " "
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
root_doc = "flux-sched.1"
# Parts of a page begin at any level of heading.
suppress_warnings = ["myst.header", "toc.not_included"]
smartquotes = False
man_make_section_directory = True

# The file of a page, what it says below NAME, and other names under which it is found (of the session, if not whole).
PAGES = {
    "flux-sched.1": ("ask the flux-sched scheduler, and tools", ("sched",)),
    "flux-sched-generate-trace.1": ("make a synthetic job trace", ()),
    "flux-sched-plugin.1": ("build and check scheduling policies", ()),
    "flux-sched-rdl.1": ("show what an RDL file describes", ()),
    "flux-sched-replay.1": ("replay what a scheduler has recorded", ()),
    "flux-sched-simulate.1": ("replay a job trace in virtual time", ()),
    "flux-sched-why.1": (
        "why a job waits, and when it will start",
        ("flux-sched-when", "flux-sched-plan", "flux-sched-whatif", "flux-sched-shadow", "flux-sched-queue",
         "flux-sched-stats"),
    ),
    "flux-waitjob.1": ("wait until a job is over", ()),
    "flux-wreckrun.1": ("run a program on resources that the scheduler gives", ()),
    "flux-session.1": (
        "schedule jobs on one machine without flux-core", ("start", "enable", "disable", "status", "env"),
    ),
    "flux-session-submit.1": (
        "submit jobs to an embedded session",
        ("run", "bulksubmit", "wreckrun", "batch", "alloc", "pstree", "proxy", "uri", "shutdown"),
    ),
    "flux-session-jobs.1": ("list the jobs of an embedded session", ("top",)),
    "flux-session-job.1": ("control the jobs of an embedded session", ("cancel", "waitjob", "update")),
    "flux-session-python.7": ("the module flux of an embedded session", ()),
    "flux-session-resource.1": ("resources and queues of an embedded session", ("queue",)),
    "flux-session-module.1": (
        "scheduler, log and keys of an embedded session",
        ("dmesg", "kvs", "getattr", "exec", "uptime", "version", "completion", "help"),
    ),
    "flux-sched-config.5": ("configuration of the module and of the embedded session", ()),
    "flux-sched-rdl.5": ("language that describes resources", ()),
    "flux-sched-traces.5": ("job traces for the simulator", ()),
    "flux-sched.7": ("scheduler module for Flux", ()),
    "flux-sched-plugins.7": ("how a scheduling policy is written", ()),
}

# What the pages of doc/ are in the manual.
REFERENCES = {
    "architecture": "doc/architecture.md",
    "commands": "flux-session(1)",
    "module": "flux-sched(7)",
    "plugins": "flux-sched-plugins(7)",
    "python": "flux-session-python(7)",
    "rdl": "flux-sched-rdl(5)",
    "simulate": "flux-sched-simulate(1)",
    "traces": "flux-sched-traces(5)",
    "twin": "flux-sched-replay(1)",
    "why": "flux-sched-why(1)",
}
PAGE = re.compile(r"\bdoc/(\w+)\.md\b")


def _entries() -> list[tuple[str, str, str, list[str], int]]:
    found = []
    for file, (summary, aliases) in PAGES.items():
        name, section = file.rsplit(".", 1)
        for alias in (name, *(alias if alias.startswith("flux-") else f"flux-session-{alias}" for alias in aliases)):
            found.append((file, alias, summary, [], int(section)))
    return found


man_pages = _entries()


class Links(SphinxTransform):
    """A link to a page of doc/ becomes its name in the manual; of a link to a file the path."""

    default_priority = 690

    def apply(self, **kwargs: object) -> None:
        """Replace every link to something in the tree."""
        for link in list(self.document.findall(addnodes.pending_xref)):
            page = link["reftarget"].removesuffix(".md")
            if page in REFERENCES:
                link.replace_self(self._reference(REFERENCES[page]))
            else:
                link.replace_self(nodes.literal("", link.astext()))
        blocks = self.document.findall(nodes.literal_block)
        for text in [text for block in blocks for text in block.findall(nodes.Text)]:
            text.parent.replace(text, nodes.Text(PAGE.sub(lambda match: REFERENCES[match[1]], text.astext())))

    @staticmethod
    def _reference(name: str) -> list[nodes.Node]:
        name, bracket, section = name.partition("(")
        return [nodes.strong("", name), nodes.Text(bracket + section)]


class Pictures(SphinxTransform):
    """A manual page shows no pictures."""

    default_priority = 695

    def apply(self, **kwargs: object) -> None:
        """Remove them, with the paragraphs that hold nothing else."""
        for image in list(self.document.findall(nodes.image)):
            paragraph = image.parent
            paragraph.remove(image)
            if not paragraph.astext().strip():
                paragraph.parent.remove(paragraph)


class Tables(SphinxTransform):
    """A table becomes a list: its first column are the terms, the rest says what they mean."""

    default_priority = 700

    def apply(self, **kwargs: object) -> None:
        """Replace every table of the page."""
        for table in list(self.document.findall(nodes.table)):
            heads, rows = self._cells(table)
            items = nodes.definition_list()
            for term, *others in rows:
                item = nodes.definition_list_item("", nodes.term("", "", *self._inline(term)))
                item += nodes.definition("", *self._meaning(heads[1:], others))
                items += item
            table.replace_self(items)

    def _meaning(self, heads: list[str], cells: list[nodes.entry]) -> list[nodes.paragraph]:
        """A paragraph of the second column with the others in brackets, or one for each where it says no meaning."""
        told = [(head, self._inline(cell)) for head, cell in zip(heads, cells) if cell.astext().strip(" –")]
        if not told:
            return []
        if heads[0] != "meaning" and len(cells) > 1:
            return [nodes.paragraph("", "", nodes.Text(f"{head}: "), *text) for head, text in told]
        text = told[0][1]
        for head, more in told[1:]:
            text += [nodes.Text(f" ({head}: "), *more, nodes.Text(")")]
        return [nodes.paragraph("", "", *text)]

    @staticmethod
    def _cells(table: nodes.table) -> tuple[list[str], list[list[nodes.entry]]]:
        heads = [entry.astext() for head in table.findall(nodes.thead) for entry in head.findall(nodes.entry)]
        bodies = table.findall(nodes.tbody)
        rows = [list(row.findall(nodes.entry)) for body in bodies for row in body.findall(nodes.row)]
        return heads, rows

    @staticmethod
    def _inline(entry: nodes.entry) -> list[nodes.Node]:
        return [node.deepcopy() for paragraph in entry.findall(nodes.paragraph) for node in paragraph.children]


class Opening(SphinxTransform):
    """What stands before the first heading is the synopsis, if it is a block of commands, or the description."""

    default_priority = 710

    def apply(self, **kwargs: object) -> None:
        """Put it below such headings."""
        page = next(iter(self.document.findall(nodes.section)), None)
        if page is None:
            return
        opening = []
        for child in list(page.children[1:]):
            if isinstance(child, nodes.section):
                break
            opening.append(child)
            page.remove(child)
        sections: list[nodes.section] = []
        if opening and isinstance(opening[0], nodes.literal_block):
            sections.append(self._section("Synopsis", opening[:1]))
            opening = opening[1:]
        if opening:
            sections.append(self._section("Description", opening))
        for section in reversed(sections):
            page.insert(1, section)

    @staticmethod
    def _section(title: str, children: list[nodes.Node]) -> nodes.section:
        return nodes.section("", nodes.title("", title), *children, ids=[title.lower()])


class Writer(ManualPageTranslator):
    """Breaks no words, which may be options or names."""

    def header(self) -> str:
        """The beginning of a page."""
        return super().header().replace("\n", "\n.nr HY 0\n.nh\n.ad l\n", 1)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_transform(Links)
    app.add_transform(Pictures)
    app.add_transform(Tables)
    app.add_transform(Opening)
    app.set_translator("man", Writer)
