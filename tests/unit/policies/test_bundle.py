"""The policy bundle: what the default one says, and what is said about a wrong one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from pydantic import ValidationError

from canonical.ids import Role
from policies.bundle import (
    DEFAULT_BUNDLE,
    FILE_BYTES_MAX,
    FILES,
    Bundle,
    BundleInvalid,
    load_bundle,
)

Edit: TypeAlias = Callable[[str, str, str], None]
TOO_DEEP = 600
"""More lists in lists than the parser follows; far more cost it far more time, and say the same."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the default bundle, to spoil."""
    return Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "policies"))


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Replaces a text that must be there in one of the copy's files."""

    def replace(file: str, old: str, new: str) -> None:
        path = folder / f"{file}.yaml"
        content = path.read_text()
        assert content.count(old) >= 1
        path.write_text(content.replace(old, new, 1))

    return replace


def problems(folder: Path) -> list[str]:
    """Return what the loader says, without the folder's own path."""
    with pytest.raises(BundleInvalid) as caught:
        load_bundle(folder)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.removeprefix(f"{folder}/") for problem in caught.value.problems]


class TestDefaultBundle:
    def test_the_entities_are_those_of_the_firm(self, bundle: Bundle) -> None:
        entities = bundle.policies.legal_entities
        assert {code: each.subsidiary for code, each in entities.items()} == {
            "US": "2",
            "DE": "3",
            "JP": "4",
        }
        assert [bundle.erp_connection(code) for code in entities] == ["netsuite"] * 3
        assert bundle.psa_connection == "kantata"

    def test_rate_cards_and_templates_are_those_of_the_psa(self, bundle: Bundle) -> None:
        assert bundle.policies.rate_cards == {"USD": "5", "EUR": "6", "GBP": "7", "JPY": "8"}
        templates = {name: each.psa for name, each in bundle.policies.templates.items()}
        assert templates == {"implementation": "77", "advisory": "78", "managed": "79"}

    def test_dimensions_follow_from_entity_and_template(self, bundle: Bundle) -> None:
        managed = bundle.policies.dimensions("JP", "managed")
        assert (managed.department, managed.business_class, managed.location) == ("12", "22", "32")

    @pytest.mark.parametrize("role", Role)
    def test_a_route_carries_queue_and_budget(self, bundle: Bundle, role: Role) -> None:
        route = bundle.route(role, "somewhere")
        assert (route.connection, route.queue) == ("somewhere", "vendor.somewhere")
        assert route.budget_seconds == bundle.policies.budgets[role].budget_seconds

    def test_other_connection_names_leave_the_hash(self, bundle: Bundle) -> None:
        other = bundle.with_connections(crm="c", psa="p", erp={"netsuite": "e"})
        assert (other.psa_connection, other.erp_connection("DE")) == ("p", "e")
        assert other.hash == bundle.hash

    def test_it_cannot_be_changed(self, bundle: Bundle) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            bundle.policies.routing = bundle.policies.routing  # type: ignore[misc]


class TestHash:
    def test_comments_and_order_do_not_count(self, bundle: Bundle, folder: Path) -> None:
        cards = folder / "rate_cards.yaml"
        cards.write_text('# reordered\nJPY: "8"\nGBP: "7"\nUSD: "5"\nEUR: "6"\n')
        assert load_bundle(folder).hash == bundle.hash

    @pytest.mark.parametrize(
        ("file", "old", "new"),
        [
            ("rate_cards", '"5"', '"9"'),
            ("bundle", "2025-01-01", "2025-01-02"),
            ("approvals", "new_client: false", "new_client: true"),
        ],
    )
    def test_any_value_counts(
        self, bundle: Bundle, folder: Path, edit: Edit, file: str, old: str, new: str
    ) -> None:
        edit(file, old, new)
        assert load_bundle(folder).hash != bundle.hash


WRONG: list[tuple[str, str, str, str]] = [
    # an unknown field, with those that are allowed
    (
        "routing",
        "psa: kantata",
        "psa: kantata\ncrm: salesforce",
        "routing.yaml:4: routing.crm: there is no such field; allowed: psa, hcm, billing_engine.",
    ),
    # an unknown field of a model inside a dictionary
    (
        "templates",
        'psa: "78"',
        'psa: "78"\n  colour: red',
        (
            "templates.yaml:8: templates.advisory.colour: there is no such field; "
            "allowed: psa, department, business_class."
        ),
    ),
    # a required field left out
    (
        "templates",
        '  psa: "77"\n',
        "",
        "templates.yaml:2: templates.implementation.psa: it is missing.",
    ),
    # a number where an id belongs
    (
        "rate_cards",
        '"5"',
        "5",
        "rate_cards.yaml:2: rate_cards.USD: input should be a valid string.",
    ),
    # no such currency
    (
        "legal_entities",
        "currency: EUR",
        "currency: EUX",
        (
            "legal_entities.yaml:19: legal_entities.DE.currency: 'EUX' is no currency; "
            "allowed are ISO 4217 codes such as EUR."
        ),
    ),
    # no such currency, as a key
    (
        "approvals",
        "EUR: 1000000",
        "EUR: 1000000\n  EUX: 1",
        (
            "approvals.yaml:7: approvals.value_over.EUX: 'EUX' is no currency; "
            "allowed are ISO 4217 codes such as EUR."
        ),
    ),
    # no such country
    (
        "legal_entities",
        "country: JP",
        "country: EU",
        (
            "legal_entities.yaml:30: legal_entities.JP.country: 'EU' is no country; "
            "allowed are ISO 3166-1 alpha-2 codes such as DE."
        ),
    ),
    # a limit below zero
    (
        "approvals",
        "USD: 1000000",
        "USD: -1",
        "approvals.yaml:5: approvals.value_over.USD: input should be greater than or equal to 0.",
    ),
    # a word that is no billing type
    (
        "contract_types",
        "mixed: charge_based",
        "mixed: barter",
        (
            "contract_types.yaml:8: contract_types.mixed: input should be 'time_and_materials', "
            "'fixed_bid_milestone', 'fixed_bid_interval' or 'charge_based'."
        ),
    ),
    # a duplicate key
    (
        "rate_cards",
        'EUR: "6"',
        'USD: "6"',
        'rate_cards.yaml:3: rate_cards: found duplicate key "USD".',
    ),
    # broken YAML
    (
        "routing",
        "psa: kantata",
        "psa: [kantata",
        "routing.yaml:4: routing: expected ',' or ']', but got ':'.",
    ),
    # tax of an entity that does not exist
    (
        "tax",
        "US:",
        "FR:\n  categories: [services-standard]\nUS:",
        "tax.yaml:2: tax.FR: there is no legal entity FR; allowed: DE, JP, US.",
    ),
    # an entity without tax
    (
        "tax",
        "JP:\n  categories: [services-standard, services-reduced]\n",
        "",
        "legal_entities.yaml:28: legal_entities.JP: tax.yaml has no entry for JP.",
    ),
    # a currency without a rate card
    (
        "rate_cards",
        'GBP: "7"\n',
        "",
        (
            "legal_entities.yaml:24: legal_entities.DE.sells_in: "
            "rate_cards.yaml has no card for GBP; allowed: EUR, JPY, USD."
        ),
    ),
    # a rate card that nobody can sell with
    (
        "rate_cards",
        'JPY: "8"',
        'JPY: "8"\nCHF: "9"',
        (
            "rate_cards.yaml:6: rate_cards.CHF: no legal entity sells in it; "
            "allowed: EUR, GBP, JPY, USD."
        ),
    ),
    # a currency without a limit, where others have one
    (
        "approvals",
        "  GBP: 800000\n",
        "",
        (
            "legal_entities.yaml:24: legal_entities.DE.sells_in: approvals.yaml has limits in "
            "value_over, but none for GBP."
        ),
    ),
    # a role without a budget
    (
        "budgets",
        "psa: {budget_seconds: 300, settle_seconds: 10, respond_seconds: 86400}\n",
        "",
        "budgets.yaml:1: budgets: psa is missing; needed: crm, psa, erp, billing_engine, hcm.",
    ),
    # a contract line type without rules
    (
        "contract_types",
        "  retainer: {billing: charge_based}\n",
        "",
        "contract_types.yaml:2: contract_types.types: retainer is missing.",
    ),
]


class TestWrongBundle:
    @pytest.mark.parametrize(("file", "old", "new", "said"), WRONG)
    def test_the_problem_is_told_with_file_line_and_field(
        self, folder: Path, edit: Edit, file: str, old: str, new: str, said: str
    ) -> None:
        edit(file, old, new)
        assert problems(folder) == [said]

    def test_all_problems_of_all_files_are_told_at_once(self, folder: Path, edit: Edit) -> None:
        edit("routing", "psa: kantata", "psa: 7")
        edit("tax", "US:", "FR:\n  categories: [services-standard]\nUS:")
        edit("legal_entities", "subsidiary: ", "subsidary: ")
        edit("rate_cards", 'EUR: "6"', 'USD: "6"')
        (folder / "budgets.yaml").unlink()
        told = problems(folder)
        assert [problem.partition(": ")[0] for problem in told] == [
            "legal_entities.yaml:4",
            "legal_entities.yaml:9",
            "rate_cards.yaml:3",
            "budgets.yaml:1",
            "routing.yaml:3",
        ]
        # Once the entities can be read, what other files say of them is told too.
        edit("legal_entities", "subsidary: ", "subsidiary: ")
        told = [problem.partition(": ")[0] for problem in problems(folder)]
        assert told == ["rate_cards.yaml:3", "budgets.yaml:1", "routing.yaml:3", "tax.yaml:2"]

    def test_an_empty_folder_names_every_file(self, tmp_path: Path) -> None:
        assert problems(tmp_path) == [
            f"{name}.yaml:1: {name}: there is no such file; a bundle needs {name}.yaml."
            for name in ("bundle", *FILES)
        ]

    def test_a_file_too_large_is_not_read(self, folder: Path) -> None:
        (folder / "routing.yaml").write_text("#" * (FILE_BYTES_MAX + 1))
        assert problems(folder) == [
            "routing.yaml:1: routing: it has 1000001 bytes, allowed are 1000000."
        ]

    @pytest.mark.parametrize(
        "content",
        [b"[" * TOO_DEEP, b"psa: \x00", b"\xff\xfe\xfa", b"- \xc3"],
        ids=["nested too deep", "NUL", "not UTF-8", "cut off"],
    )
    def test_what_is_no_yaml_is_one_problem(self, folder: Path, content: bytes) -> None:
        (folder / "routing.yaml").write_bytes(content)
        (told,) = problems(folder)
        assert told.startswith("routing.yaml:1: routing: this is not YAML: ")

    def test_an_empty_file_is_one_problem(self, folder: Path) -> None:
        (folder / "routing.yaml").write_text("")
        (told,) = problems(folder)
        assert told.startswith("routing.yaml:1: routing: input should be a valid dictionary")
