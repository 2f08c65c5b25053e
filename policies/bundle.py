"""Loads a folder of YAML files as one immutable, hashed bundle, or says all that is wrong."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from canonical.ids import Role
from canonical.saga import Route
from policies.schema import Policies

DEFAULT_BUNDLE: Final = Path(__file__).parent / "bundles" / "default"
FILE_BYTES_MAX: Final = 1_000_000
FILES: Final = tuple(name for name in Policies.model_fields if name != "effective")


class BundleInvalid(Exception):
    """The policy bundle cannot be used; one problem a line, with file, line and field."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Bundle:
    """One approved version of the policies; a plan pins it by its hash."""

    policies: Policies
    hash: str
    crm: str = ""
    """Where it is used for one installation's own connection names; empty: as written."""
    psa: str = ""
    erps: tuple[tuple[str, str], ...] = ()

    def with_connections(self, *, crm: str, psa: str, erp: Mapping[str, str]) -> Self:
        """Return the same policies for connections of other names; the hash stays."""
        return replace(self, crm=crm, psa=psa, erps=tuple(sorted(erp.items())))

    @property
    def psa_connection(self) -> str:
        """The PSA that delivers."""
        return self.psa or self.policies.routing.psa

    def erp_connection(self, entity: str) -> str:
        """The ERP that keeps the books of a legal entity."""
        named = self.policies.legal_entities[entity].erp
        return dict(self.erps).get(named, named)

    def route(self, role: Role, connection: str) -> Route:
        """Return how calls to a connection are made."""
        budget = self.policies.budgets[role]
        return Route(connection=connection, queue=f"vendor.{connection}", **budget.model_dump())


def load_bundle(folder: Path | None = None) -> Bundle:
    """Load the bundle in `folder`; None takes the one that Dealthread brings along.

    Raises:
        BundleInvalid: with every problem found.
    """
    root = folder or DEFAULT_BUNDLE
    problems: list[str] = []
    trees: dict[str, Any] = {}
    for name in ("bundle", *FILES):
        path = root / f"{name}.yaml"
        try:
            trees[name] = _read(path)
        except BundleInvalid as error:
            problems += error.problems
    if problems:
        raise BundleInvalid(problems)
    head = trees.pop("bundle")
    content = {**(head if isinstance(head, dict) else {}), **trees}
    try:
        policies = Policies.model_validate(content)
    except ValidationError as error:
        raise BundleInvalid(list(_sentences(error, root, trees))) from None
    canonical = json.dumps(policies.model_dump(mode="json"), sort_keys=True)
    return Bundle(policies, hashlib.sha256(canonical.encode()).hexdigest())


def _read(path: Path) -> Any:  # noqa: ANN401 - YAML is anything until the schema has seen it
    if not path.is_file():
        raise BundleInvalid([f"{path}: there is no such file; a bundle has {path.name}."])
    if path.stat().st_size > FILE_BYTES_MAX:
        raise BundleInvalid([f"{path}: it is larger than {FILE_BYTES_MAX} bytes."])
    try:
        return YAML(typ="rt").load(path)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BundleInvalid([f"{path}:{line}: {error.problem}."]) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise BundleInvalid([f"{path}: this is not YAML: {error}."]) from None


def _sentences(error: ValidationError, root: Path, trees: Mapping[str, Any]) -> Iterator[str]:
    for each in error.errors(include_input=False, include_url=False):
        where = [str(part) for part in each["loc"] if part != "[key]"]
        file = where[0] if where and where[0] in trees else "bundle"
        field = ".".join(where) or "bundle"
        line = _line(trees.get(file), [part for part in each["loc"][1:] if part != "[key]"])
        for message in each["msg"].removeprefix("Value error, ").split("; "):
            yield f"{root / file}.yaml:{line}: {field}: {message}."


def _line(node: Any, path: list[Any]) -> int:  # noqa: ANN401 - a parsed YAML tree
    """Return the line of the deepest part of `path` that is there."""
    line = 1
    for part in path:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    return line
