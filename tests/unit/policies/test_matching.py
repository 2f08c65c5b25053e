"""Which customer is the client: every level, every doubt, and nothing overwritten."""

import pytest

from canonical.failures import StepFailed
from canonical.provisioning import ErpClient, MatchClient
from canonical.records import RecordRef
from policies.matching import match_client

OURS = "dt-client-salesforce-1"
WANTED = MatchClient(
    connection="netsuite",
    item="netsuite",
    client_key="client/salesforce/1",
    name="Contoso Marine",
    tax_id="98-7654321",
    country="US",
    subsidiary="2",
    currency="USD",
    payment_terms="NET30",
)


def customer(id_: str = "100", **fields: object) -> ErpClient:
    """Return a customer that has nothing in common with the client but what is given."""
    stranger = ErpClient(
        record=RecordRef(system="netsuite", type="client", id=id_),
        name="Zephyr Bakery",
        country="FR",
        payment_terms="NET30",
    )
    return stranger.model_copy(update=fields)


def matched(*found: ErpClient, **wanted: object) -> str:
    """Return the id of the customer that is used; empty where a new one is to be made."""
    client = match_client(WANTED.model_copy(update=wanted), found, external_id=OURS).client
    return client.record.id if client else ""


def doubt(*found: ErpClient, **wanted: object) -> tuple[str, list[str]]:
    """Return the reason for which a person is asked, and the candidates."""
    with pytest.raises(StepFailed) as caught:
        matched(*found, **wanted)
    detail = caught.value.detail
    assert (detail.system, detail.field, detail.owner) == ("netsuite", "client", "netsuite")
    return detail.reason, [candidate.record.id for candidate in detail.candidates]


class TestOneCustomer:
    @pytest.mark.parametrize(
        "fields",
        [
            {"external_id": OURS},
            {"tax_id": "98-7654321"},
            # the same tax id, written otherwise
            {"tax_id": " 987 654.321 "},
            {"name": "Contoso Marine", "country": "US"},
            # the same name, in other case, spacing and width
            {"name": " CONTOSO  ｍarine ", "country": "US"},
        ],
    )
    def test_is_used(self, fields: dict[str, str]) -> None:
        assert matched(customer("7", **fields), customer("8")) == "7"

    def test_our_key_goes_before_the_tax_id_and_that_before_the_name(self) -> None:
        ours = customer("1", external_id=OURS)
        by_tax = customer("2", tax_id="987654321")
        by_name = customer("3", name="Contoso Marine", country="US")
        assert matched(by_name, by_tax, ours) == "1"
        assert matched(by_name, by_tax) == "2"
        assert matched(by_name) == "3"

    def test_a_seeded_customer_with_the_same_tax_id_but_another_name_is_used(self) -> None:
        assert matched(customer("4", name="Contoso Marine Ltd", tax_id="98-7654321")) == "4"


class TestNoCustomer:
    @pytest.mark.parametrize(
        ("fields", "wanted"),
        [
            ({}, {}),
            # the same name, but both have a tax id and they differ
            ({"name": "Contoso Marine", "country": "US", "tax_id": "11-1111111"}, {}),
            ({"name": "Contoso Marine Inc", "country": "US", "tax_id": "11-1111111"}, {}),
            # placeholders are no tax ids
            ({"tax_id": "N/A"}, {"tax_id": "n.a."}),
            ({"tax_id": "0"}, {"tax_id": "0"}),
            ({"tax_id": ""}, {"tax_id": ""}),
            # no external id is not our external id
            ({"external_id": ""}, {}),
            # a name without letters is like no other
            ({"name": "🚀"}, {"name": "🌍"}),
        ],
    )
    def test_means_a_new_one(self, fields: dict[str, str], wanted: dict[str, str]) -> None:
        assert matched(customer(**fields), **wanted) == ""

    def test_an_empty_key_of_ours_matches_nothing(self) -> None:
        assert match_client(WANTED, (customer(),), external_id="").client is None


class TestDoubt:
    @pytest.mark.parametrize(
        "level",
        [
            {"external_id": OURS},
            {"tax_id": "987654321"},
            {"name": "Contoso Marine", "country": "US"},
        ],
    )
    def test_several_on_one_level_go_to_a_person(self, level: dict[str, str]) -> None:
        found = (customer("1", **level), customer("2", **level), customer("3"))
        assert doubt(*found) == ("ambiguous_client", ["1", "2"])

    @pytest.mark.parametrize(
        ("name", "theirs"),
        [
            ("Contoso Marine", "Contoso Marine Ltd."),
            ("Hansewerk Logistik", "HANSEWERK LOGISTIK GmbH"),
            ("Sakura Denki", "Sakura Denki K.K."),
            ("桜電機", "桜電機株式会社"),
            ("Axa", "AXA S.A."),
            # a typing error
            ("Northwind Robotics", "Northwind Robtics"),
        ],
    )
    def test_a_name_that_is_only_similar_goes_to_a_person(self, name: str, theirs: str) -> None:
        assert doubt(customer("5", name=theirs, country="US"), name=name) == (
            "ambiguous_client",
            ["5"],
        )

    def test_the_same_name_in_another_country_goes_to_a_person(self) -> None:
        found = customer("6", name="Contoso Marine", country="GB")
        assert doubt(found) == ("ambiguous_client", ["6"])

    def test_an_inactive_customer_goes_to_a_person(self) -> None:
        found = customer("9", tax_id="987654321", active=False)
        assert doubt(found) == ("inactive_client", ["9"])

    def test_the_candidates_carry_what_tells_them_apart(self) -> None:
        found = customer("5", name="Contoso Marine Ltd", country="US")
        with pytest.raises(StepFailed) as caught:
            matched(found)
        (candidate,) = caught.value.detail.candidates
        assert (candidate.name, candidate.country) == ("Contoso Marine Ltd", "US")
        assert candidate.matched_by == "a similar name"


class TestAdopted:
    def test_what_a_person_chose_is_used_whatever_it_looks_like(self) -> None:
        match = match_client(WANTED, (), external_id=OURS, adopted=customer("77"))
        assert match.client == customer("77")

    def test_an_inactive_one_is_refused(self) -> None:
        with pytest.raises(StepFailed, match="inactive"):
            match_client(WANTED, (), external_id=OURS, adopted=customer("77", active=False))


class TestTerms:
    @pytest.mark.parametrize(
        ("ours", "theirs", "reasons"),
        [
            (
                "NET60",
                "NET30",
                ("payment terms differ: deal NET60, ERP NET30; the ERP's stay",),
            ),
            ("NET30", "NET30", ()),
            ("NET30", "", ()),
            ("", "NET30", ()),
        ],
    )
    def test_a_difference_is_for_the_gate_and_changes_nothing(
        self, ours: str, theirs: str, reasons: tuple[str, ...]
    ) -> None:
        known = customer("1", tax_id="987654321", payment_terms=theirs)
        wanted = WANTED.model_copy(update={"payment_terms": ours})
        match = match_client(wanted, (known,), external_id=OURS)
        assert match.client == known
        assert match.gate_reasons == reasons
