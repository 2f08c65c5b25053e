"""The plan of a billing run: who is asked for what, before anything is claimed."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from canonical.engagement import ContractLine, Engagement
from canonical.ids import Role
from canonical.records import RecordRef
from canonical.saga import Route
from canonical.time_to_billing import BillingRunPlan, ProjectPeriod
from policies.bundle import Bundle

TITLE_MAX = 200


def plan_billing_run(
    of: ProjectPeriod, versions: Sequence[Engagement], bundle: Bundle, now: datetime
) -> BillingRunPlan:
    """Return the plan of a run over a project; `versions` are its engagement's, oldest first.

    The day of the run is that of the first line's legal entity. Cost is posted where a person is
    employed, so the terms of every entity are read from the ERPs that keep one of the lines' books.
    """
    entities = tuple(sorted({line.legal_entity for version in versions for line in version.lines}))
    on = now.astimezone(ZoneInfo(bundle.zone(entities[0]))).date()
    current = [version for version in versions if version.effective_from <= on]
    engagement = current[-1] if current else versions[0]
    lines = [line for version in versions for line in version.lines]
    erps = _erps(lines, bundle)
    hcm = bundle.hcm_connection
    routes = {
        **{name: bundle.route(Role.ERP, name) for name in erps},
        of.psa: bundle.route(Role.PSA, of.psa),
    }
    if hcm:
        routes[hcm] = bundle.route(Role.HCM, hcm)
    return BillingRunPlan(
        bundle=bundle.hash,
        title=f"{engagement.title or of.project_id}, {of.period}"[:TITLE_MAX],
        client_id=engagement.client_id,
        project_code=of.project_id,
        legal_entities=entities,
        routes=_named(routes),
        of=of,
        engagement=engagement.id,
        project=RecordRef(system=of.psa, type="project", id=of.project_id),
        hcm=hcm,
        erps=erps,
        on=on,
        contract_on=max(on, versions[0].effective_from),
    )


def _erps(lines: Sequence[ContractLine], bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """Return the subsidiaries whose terms are read, by ERP connection."""
    wanted: dict[str, set[str]] = {line.erp: set() for line in lines}
    for code, entity in bundle.policies.legal_entities.items():
        connection = bundle.erp_connection(code)
        if connection in wanted:
            wanted[connection].add(entity.subsidiary)
    return {name: tuple(sorted(subsidiaries)) for name, subsidiaries in sorted(wanted.items())}


def _named(routes: dict[str, Route]) -> dict[str, Route]:
    return dict(sorted(routes.items()))
