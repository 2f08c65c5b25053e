"""Loads a folder of YAML files as one immutable, hashed bundle, or says all that is wrong."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Self, TypeAlias, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from canonical.deal import ContractLineType
from canonical.ids import Role
from canonical.saga import Route
from policies.alerting import alerting_disagreements
from policies.schema import Head, Policies, disagreements

DEFAULT_BUNDLE: Final = Path(__file__).parent / "bundles" / "default"
FILE_BYTES_MAX: Final = 1_000_000
HEAD: Final = "bundle"
FILES: Final = tuple(name for name in Policies.model_fields if name != "effective")

_Path: TypeAlias = Sequence[str | int]


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
    """SHA-256 of the content in canonical JSON: comments and order do not count."""
    crm: str = ""
    """Where it is used for one installation's own connection names; empty: as written."""
    psa: str = ""
    erps: tuple[tuple[str, str], ...] = ()
    hcm: str = ""
    billing_engine: str = ""

    def with_connections(
        self,
        *,
        crm: str,
        psa: str,
        erp: Mapping[str, str],
        hcm: str = "",
        billing_engine: str = "",
    ) -> Self:
        """Return the same policies for connections of other names; the hash stays."""
        return replace(
            self,
            crm=crm,
            psa=psa,
            erps=tuple(sorted(erp.items())),
            hcm=hcm,
            billing_engine=billing_engine,
        )

    @property
    def effective(self) -> date:
        """The first day on which this bundle decides."""
        return self.policies.effective

    @property
    def psa_connection(self) -> str:
        """The PSA that delivers."""
        return self.psa or self.policies.routing.psa

    @property
    def hcm_connection(self) -> str:
        """The HCM that keeps the people; empty where none is connected."""
        return self.hcm or self.policies.routing.hcm

    @property
    def billing_engine_connection(self) -> str:
        """The billing engine beside the ERP; empty where none is connected."""
        return self.billing_engine or self.policies.routing.billing_engine

    def erp_connection(self, entity: str) -> str:
        """The ERP that keeps the books of a legal entity."""
        named = self.policies.legal_entities[entity].erp
        return dict(self.erps).get(named, named)

    def zone(self, entity: str) -> str:
        """The time zone in which a legal entity's cutoffs and days are meant."""
        return self.policies.billing.entities[entity].zone

    def route(self, role: Role, connection: str) -> Route:
        """Return how calls to a connection are made."""
        budget = self.policies.budgets[role]
        return Route(connection=connection, queue=f"vendor.{connection}", **budget.model_dump())


def load_bundle(folder: Path | None = None) -> Bundle:
    """Load the bundle in `folder`; None takes the one that Dealthread brings along.

    Raises:
        BundleInvalid: with every problem found.
    """
    return _Loader(folder or DEFAULT_BUNDLE).load()


class _Loader:
    """Reads one folder and remembers every problem on the way."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._problems: list[str] = []
        self._trees: dict[str, Any] = {}
        self._read: dict[str, Any] = {}

    def load(self) -> Bundle:
        """Return the bundle, or raise `BundleInvalid` with all problems."""
        for name in (HEAD, *FILES):
            self._file(name)
        self._compare()
        if self._problems:
            raise BundleInvalid(self._problems)
        head = self._read.pop(HEAD)
        policies = Policies(effective=head.effective, **self._read)
        content = json.dumps(policies.model_dump(mode="json"), sort_keys=True)
        return Bundle(policies, hashlib.sha256(content.encode()).hexdigest())

    def _file(self, name: str) -> None:
        path = self._root / f"{name}.yaml"
        try:
            self._trees[name] = _tree(path)
        except BundleInvalid as error:
            self._problems += error.problems
            return
        shape = _shape(name)
        try:
            self._read[name] = TypeAdapter[Any](shape).validate_python(self._trees[name])
        except ValidationError as error:
            for each in error.errors(include_input=False, include_url=False):
                where = [part for part in each["loc"] if part != "[key]"]
                self._problem(name, where, _sentence(each, shape))

    def _compare(self) -> None:
        read = self._read
        differences = disagreements(
            read.get("legal_entities"),
            read.get("tax"),
            read.get("rate_cards"),
            read.get("approvals"),
            read.get("billing"),
            read.get("invoicing"),
        )
        for (file, *where), text in differences:
            self._problem(file, where, text)
        if "legal_entities" in read:
            for (file, *where), text in alerting_disagreements(
                read.get("alerts"), read["legal_entities"]
            ):
                self._problem(file, where, text)
        for role in Role:
            if "budgets" in read and role not in read["budgets"]:
                self._problem("budgets", (), f"{role} is missing; needed: {', '.join(Role)}")
        for type_ in ContractLineType:
            if "contract_types" in read and type_ not in read["contract_types"].types:
                self._problem("contract_types", ("types",), f"{type_} is missing")

    def _problem(self, file: str, where: _Path, text: str) -> None:
        line = _line(self._trees[file], where)
        field = ".".join(str(part) for part in (file, *where))
        self._problems.append(f"{self._root / file}.yaml:{line}: {field}: {text}.")


def _shape(file: str) -> Any:  # noqa: ANN401 - a type, as pydantic names it
    return Head if file == HEAD else Policies.model_fields[file].annotation


def _tree(path: Path) -> Any:  # noqa: ANN401 - YAML is anything until the schema has seen it
    try:
        size = path.stat().st_size
    except OSError:
        raise BundleInvalid(
            [f"{path}:1: {path.stem}: there is no such file; a bundle needs {path.name}."]
        ) from None
    if size > FILE_BYTES_MAX:
        text = f"it has {size} bytes, allowed are {FILE_BYTES_MAX}"
        raise BundleInvalid([f"{path}:1: {path.stem}: {text}."])
    try:
        return YAML(typ="rt").load(path)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        what = str(error.problem).partition(" with value ")[0]
        raise BundleInvalid([f"{path}:{line}: {path.stem}: {what}."]) from None
    except (YAMLError, OSError, UnicodeDecodeError, RecursionError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise BundleInvalid([f"{path}:1: {path.stem}: this is not YAML: {what}."]) from None


def _sentence(error: ErrorDetails, shape: Any) -> str:  # noqa: ANN401 - a type
    if error["type"] == "extra_forbidden":
        return f"there is no such field; allowed: {', '.join(_fields(shape, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return "it is missing"
    text = error["msg"].removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _fields(shape: Any, path: _Path) -> tuple[str, ...]:  # noqa: ANN401 - a type
    """Return the fields of the model at `path` below the type `shape`."""
    for part in path:
        while get_origin(shape) in {Annotated, UnionType}:
            shape = get_args(shape)[0]
        if isinstance(shape, type) and issubclass(shape, BaseModel):
            shape = shape.model_fields[str(part)].annotation
        else:
            shape = get_args(shape)[-1]
    return tuple(shape.model_fields)


def _line(node: Any, path: _Path) -> int:  # noqa: ANN401 - a parsed YAML tree
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
