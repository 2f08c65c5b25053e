"""What leaves a process as a trace, how it is called, and what happens when nobody takes it."""

import time
from pathlib import Path

import pytest
import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, StatusCode, set_span_in_context
from pydantic import SecretStr

from operations.config import ConfigInvalid, load_config
from operations.config_models import TelemetryConfig
from operations.exporting import EXPORT_SECONDS, make_provider
from operations.span_ids import chosen_ids, root_span
from tests.support.collector import collecting


def settings(url: str, **more: object) -> TelemetryConfig:
    return TelemetryConfig.model_validate({"otlp_endpoint": url, **more})


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_the_receipt_of_an_event_is_the_same_span_in_every_process() -> None:
    one, again = (root_span("deal-1", "salesforce", "evt_1") for _ in range(2))
    other = root_span("deal-1", "salesforce", "evt_2")
    assert one == again
    assert one.is_valid
    assert one.trace_id == other.trace_id
    assert one.span_id != other.span_id
    assert root_span("", "a", "1").trace_id != root_span("", "b", "1").trace_id


def test_a_root_gets_the_chosen_ids_and_its_children_their_own() -> None:
    with collecting() as collector:
        provider = make_provider(settings(collector.url), "door")
        tracer, chosen = provider.get_tracer("test"), root_span("c", "stripe", "evt_1")
        with chosen_ids(chosen):
            root = tracer.start_span("receive", context=Context())
        root.end()
        remote = set_span_in_context(NonRecordingSpan(chosen), Context())
        tracer.start_span("send", context=remote).end()
        provider.shutdown()
    received, sent = collector.spans
    assert received.id == f"{chosen.span_id:016x}"
    assert (received.parent, sent.parent) == ("", received.id)
    assert received.trace == sent.trace == f"{chosen.trace_id:032x}"
    assert received.service == "dealthread-door"


def test_secrets_people_and_texts_of_errors_stay_here() -> None:
    with collecting() as collector:
        headers = SecretStr("authorization=Bearer%20abc, x-team = one")
        provider = make_provider(settings(collector.url, otlp_headers=headers), "worker")
        with (
            pytest.raises(ValueError, match="Chen"),
            provider.get_tracer("test").start_as_current_span("step") as span,
        ):
            span.set_attribute("url.path", "/users/maya.chen@example.com")
            span.set_attribute("count", 3)
            raise ValueError("Maya Chen owes 17 EUR")
        provider.shutdown()
    (seen,) = collector.spans
    assert seen.attributes["url.path"] == "/users/***"
    assert seen.attributes["count"] == "3"
    assert "ValueError" in seen.said
    assert f"code: STATUS_CODE_{StatusCode.ERROR.name}" in seen.said
    for secret in ("Chen", "17 EUR", "Traceback", "maya"):
        assert secret not in seen.said
    assert collector.headers[0]["authorization"] == "Bearer abc"
    assert collector.headers[0]["x-team"] == "one"


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_a_trace_is_exported_whole_or_not_at_all(ratio: float) -> None:
    with collecting() as collector:
        for process in ("door", "drain"):
            provider = make_provider(settings(collector.url, sampling_ratio=ratio), process)
            tracer = provider.get_tracer("test")
            for number in range(50):
                chosen = root_span(f"deal-{number}", "salesforce", f"evt-{number}")
                if process == "door":
                    with chosen_ids(chosen):
                        tracer.start_span("receive", context=Context()).end()
                else:
                    remote = set_span_in_context(NonRecordingSpan(chosen), Context())
                    tracer.start_span("send", context=remote).end()
            provider.shutdown()
    traces = {
        process: {span.trace for span in collector.spans if span.service.endswith(process)}
        for process in ("door", "drain")
    }
    assert traces["door"] == traces["drain"]
    assert len(traces["door"]) == 50 * ratio or 0 < ratio < 1
    assert (0 < len(traces["door"]) < 50) == (0 < ratio < 1)


def test_a_collector_that_is_away_is_told_once_and_holds_nobody_up() -> None:
    with collecting() as collector:
        collector.status = 400  # refused for good: nothing is tried again
        with structlog.testing.capture_logs() as logs:
            provider = make_provider(settings(collector.url), "worker")
            _export(provider, 5)
            collector.status = 200
            _export(provider, 1)
            provider.shutdown()
    assert [line["event"] for line in logs] == ["traces_not_exported", "traces_exported_again"]

    # The port is closed by now: a stop takes no longer than one export.
    provider = make_provider(settings(collector.url), "worker")
    provider.get_tracer("test").start_span("one").end()
    started = time.monotonic()
    provider.shutdown()
    assert time.monotonic() - started < EXPORT_SECONDS + 2


def _export(provider: TracerProvider, times: int) -> None:
    for _ in range(times):
        provider.get_tracer("test").start_span("one").end()
        provider.force_flush()


def test_headers_that_are_no_pairs_are_refused_without_being_shown() -> None:
    with pytest.raises(ConfigInvalid, match=r"telemetry\.otlp_headers") as refused:
        make_provider(settings("http://127.0.0.1:9", otlp_headers=SecretStr("hush")), "worker")
    assert "hush" not in str(refused.value)


STORE = {"DEALTHREAD_STORE__URL": "postgresql://user:password@127.0.0.1/x"}


def test_headers_come_from_a_file_and_not_from_the_toml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in STORE.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "dealthread.toml"
    table = '[telemetry]\notlp_endpoint = "http://127.0.0.1:4318"\n'
    (tmp_path / "headers").write_text("authorization=Bearer%20hush\n")
    file.write_text(f'{table}otlp_headers_file = "headers"\n')
    headers = load_config(file).telemetry.otlp_headers
    assert headers is not None
    assert headers.get_secret_value() == "authorization=Bearer%20hush"

    file.write_text(f'{table}otlp_headers = "authorization=Bearer%20hush"\n')
    with pytest.raises(ConfigInvalid, match=r"DEALTHREAD_TELEMETRY__OTLP_HEADERS") as refused:
        load_config(file)
    assert "hush" not in str(refused.value)
