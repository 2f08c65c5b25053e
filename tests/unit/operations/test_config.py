"""`dealthread.toml` and the environment: what wins, what is refused, and in which words."""

import os
from pathlib import Path

import pytest

from canonical.ids import Role
from operations.config import Config, ConfigInvalid, Vendor, find_config, load_config

URL = "postgresql://dealthread:s3cret@db.example/dealthread"
CONNECTION = """
[connections.netsuite]
vendor = "netsuite"
role = "erp"
base_url = "https://123456.suitetalk.api.netsuite.com/"
"""
EXAMPLE = Path(__file__).parents[3] / "dealthread.example.toml"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DEALTHREAD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DEALTHREAD_STORE__URL", URL)


def written(folder: Path, text: str) -> Path:
    path = folder / "dealthread.toml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, text: str) -> Config:
    return load_config(written(folder, text))


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        loaded(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


class TestValues:
    def test_an_empty_file_takes_every_default(self, tmp_path: Path) -> None:
        config = loaded(tmp_path, "")
        assert config.temporal.address == "127.0.0.1:7233"
        assert config.worker.health_port == 7241
        assert config.connections == {}

    def test_a_connection_is_read_with_role_vendor_and_plain_address(self, tmp_path: Path) -> None:
        config = loaded(tmp_path, CONNECTION)
        connection = config.connections["netsuite"]
        assert connection.vendor is Vendor.NETSUITE
        assert connection.base_url == "https://123456.suitetalk.api.netsuite.com"
        assert list(config.role(Role.ERP)) == ["netsuite"]
        assert config.role(Role.CRM) == {}

    def test_the_environment_wins_over_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEALTHREAD_CONNECTIONS__NETSUITE__CONCURRENCY", "12")
        monkeypatch.setenv("DEALTHREAD_WORKER__QUEUES", '["sagas"]')
        config = loaded(tmp_path, CONNECTION + "concurrency = 3\nslots = 4\n")
        assert config.connections["netsuite"].concurrency == 12
        assert config.connections["netsuite"].slots == 4
        assert config.worker.queues == ("sagas",)

    def test_relative_paths_count_from_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir("/")
        config = loaded(tmp_path, '[policies]\nbundle = "bundles/ours"')
        assert config.policies.bundle == tmp_path / "bundles/ours"

    def test_people_have_roles(self, tmp_path: Path) -> None:
        maya = 'roles = ["operator", "finance"]\nemail = "maya.chen@example.com"'
        config = loaded(tmp_path, f'[people."maya.chen"]\n{maya}')
        assert config.people_roles() == {"maya.chen": frozenset({"operator", "finance"})}

    @pytest.mark.parametrize("role", ["finance", "controller", "admin"])
    def test_whoever_may_release_needs_an_email(self, tmp_path: Path, role: str) -> None:
        said = refusal(tmp_path, f'[people.tom]\nroles = ["{role}"]')
        assert "people.tom.email: it is missing" in said

    def test_a_person_signs_in_by_a_token_of_file_or_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "token").write_text(f"{'a' * 32}\n")
        monkeypatch.setenv("DEALTHREAD_PEOPLE__TOM__TOKEN", "b" * 32)
        text = (
            '[people."maya.chen"]\nroles = ["operator"]\ntoken_file = "token"\n'
            '[people.tom]\nroles = ["operator"]\n[people.ines]\nroles = ["viewer"]\n'
        )
        people = loaded(tmp_path, text).people
        tokens = {
            name: person.token.get_secret_value() if person.token else None
            for name, person in people.items()
        }
        assert tokens == {"maya.chen": "a" * 32, "tom": "b" * 32, "ines": None}
        assert "aaa" not in repr(people)

    def test_the_example_loads_once_its_secrets_are_there(self, tmp_path: Path) -> None:
        text = EXAMPLE.read_text(encoding="utf-8")
        for name in (
            "store_url",
            "salesforce/client_secret",
            "kantata/token",
            "workday/refresh_token",
            "stripe/api_key",
            "ops_chat_url",
            "finance_mail_url",
        ):
            secret = tmp_path / "secrets" / name
            secret.parent.mkdir(parents=True, exist_ok=True)
            secret.write_text("s3cret\n")
        config = loaded(tmp_path, text)
        assert set(config.connections) == {
            "salesforce",
            "kantata",
            "netsuite",
            "workday",
            "stripe",
        }
        assert config.temporal.tls is not None

    def test_the_example_shows_every_key_there_is(self) -> None:
        text = EXAMPLE.read_text(encoding="utf-8")
        models = [field.annotation for field in Config.model_fields.values()]
        keys = {
            key
            for model in models
            if isinstance(model, type) and hasattr(model, "model_fields")
            for key in model.model_fields
        }
        keys |= set(Config.model_fields)
        keys -= {"api_key", "url", "codec_key"}  # secrets: their variables are named instead
        assert {key for key in keys if key not in text} == set()

    def test_a_build_belongs_to_a_deployment(self, tmp_path: Path) -> None:
        named = '[worker]\ndeployment_name = "dealthread"\n'
        assert loaded(tmp_path, f'{named}build_id = "0.2.0-4c1f2aa"').worker.build_id
        assert "deployment_name and build_id go together" in refusal(tmp_path, named)
        assert "build_id" in refusal(tmp_path, f'{named}build_id = "0.2.0 of today"')


class TestSecrets:
    def test_a_secret_comes_from_the_environment_and_is_not_shown(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEALTHREAD_CONNECTIONS__NETSUITE__SECRETS__TOKEN_SECRET", "hush-1")
        config = loaded(tmp_path, CONNECTION)
        secrets = config.connections["netsuite"].secrets
        assert secrets["token_secret"].get_secret_value() == "hush-1"
        assert config.store.secret_url.get_secret_value() == URL
        assert "hush-1" not in repr(config)
        assert "s3cret" not in repr(config)

    def test_files_give_secrets_and_the_environment_wins_over_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "secrets"
        folder.mkdir()
        (folder / "token_secret").write_text("of the folder\n")
        (folder / "consumer_secret").write_text("of the folder\n")
        (folder / "private_key").write_text("of the folder\n")
        (folder / "..data").mkdir()
        (tmp_path / "key.pem").write_text("-----BEGIN\nof a file\n")
        monkeypatch.setenv("DEALTHREAD_CONNECTIONS__NETSUITE__SECRETS__TOKEN_SECRET", "of the env")
        config = loaded(
            tmp_path,
            CONNECTION + 'secrets_dir = "secrets"\nsecret_files = {private_key = "key.pem"}\n',
        )
        found = config.connections["netsuite"].secrets
        assert {key: secret.get_secret_value() for key, secret in found.items()} == {
            "token_secret": "of the env",
            "consumer_secret": "of the folder",
            "private_key": "-----BEGIN\nof a file",
        }

    def test_the_stores_url_comes_from_its_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DEALTHREAD_STORE__URL")
        (tmp_path / "url").write_text(f"{URL}\n")
        config = loaded(tmp_path, '[store]\nurl_file = "url"')
        assert config.store.secret_url.get_secret_value() == URL

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (
                '[store]\nurl = "postgresql://x"',
                (
                    "dealthread.toml: store.url: a secret has no place in this file: "
                    "set DEALTHREAD_STORE__URL, or name a file in store.url_file."
                ),
            ),
            (
                CONNECTION + "[connections.netsuite.secrets]\ntoken_secret = 'x'",
                (
                    "dealthread.toml: connections.netsuite.secrets.token_secret: a secret has no "
                    "place in this file: "
                    "set DEALTHREAD_CONNECTIONS__NETSUITE__SECRETS__TOKEN_SECRET, "
                    "or name files with secrets_dir or secret_files."
                ),
            ),
            (
                CONNECTION + "[connections.netsuite.settings.auth]\nclient_secret = 'x'",
                (
                    "dealthread.toml: connections.netsuite.settings.auth.client_secret: a secret "
                    "has no place in this file: "
                    "set DEALTHREAD_CONNECTIONS__NETSUITE__SECRETS__CLIENT_SECRET, "
                    "or name files with secrets_dir or secret_files."
                ),
            ),
            (
                "[temporal]\napi_key = 'x'",
                (
                    "dealthread.toml: temporal.api_key: a secret has no place in this file: "
                    "set DEALTHREAD_TEMPORAL__API_KEY, or name a file in temporal.api_key_file."
                ),
            ),
            (
                "[alerts.channels.chat]\nurl = 'slack://x'",
                (
                    "dealthread.toml: alerts.channels.chat.url: a secret has no place in this "
                    "file: set DEALTHREAD_ALERTS__CHANNELS__CHAT__URL, or name a file in "
                    "alerts.channels.chat.url_file."
                ),
            ),
            (
                "[worker]\ncodec_key = 'x'",
                (
                    "dealthread.toml: worker.codec_key: a secret has no place in this file: "
                    "set DEALTHREAD_WORKER__CODEC_KEY, or name a file in worker.codec_key_file."
                ),
            ),
        ],
    )
    def test_a_secret_in_the_file_is_refused_by_key(
        self, tmp_path: Path, text: str, sentence: str
    ) -> None:
        assert refusal(tmp_path, text) == sentence

    @pytest.mark.parametrize("key", ["token_url", "token_id", "client_secret_file", "rate_card"])
    def test_a_key_that_only_sounds_secret_is_a_setting(self, tmp_path: Path, key: str) -> None:
        text = CONNECTION + f"[connections.netsuite.settings]\n{key} = 'x'"
        assert loaded(tmp_path, text).connections["netsuite"].settings == {key: "x"}

    def test_a_secret_file_that_is_missing_or_empty_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text("\n")
        files = 'secret_files = {a = "absent", b = "empty"}\n'
        assert refusal(tmp_path, CONNECTION + files) == (
            "dealthread.toml: connections.netsuite.secret_files.a: absent can't be used: "
            "No such file or directory.\n"
            "dealthread.toml: connections.netsuite.secret_files.b: empty can't be used: "
            "it is empty."
        )

    def test_a_store_without_url_says_how_to_give_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DEALTHREAD_STORE__URL")
        assert refusal(tmp_path, "") == (
            "dealthread.toml: store.url is missing: set DEALTHREAD_STORE__URL to PostgreSQL's "
            "URL, or name a file in store.url_file."
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("[temporal]\naddres = 1", "dealthread.toml: temporal.addres: this key is not known."),
            (
                "[temporl]\n",
                "dealthread.toml: temporl: this key is not known; perhaps temporal is meant.",
            ),
            (
                "_env_file = 'x'",
                (
                    "dealthread.toml: _env_file: this key is not known; known are alerts, "
                    "connections, gateway, people, policies, store, telemetry, temporal, ui, "
                    "worker."
                ),
            ),
            (
                CONNECTION.replace('role = "erp"', ""),
                "dealthread.toml: connections.netsuite.role: this key is missing.",
            ),
            (
                CONNECTION.replace('"erp"', '"ERP"'),
                (
                    "dealthread.toml: connections.netsuite.role: "
                    "it must be 'crm', 'psa', 'erp', 'billing_engine' or 'hcm'."
                ),
            ),
            (
                CONNECTION + "slots = 0",
                (
                    "dealthread.toml: connections.netsuite.slots: it must be greater than or equal "
                    "to 1."
                ),
            ),
            (
                CONNECTION.replace("https://", "https://me:pw@"),
                (
                    "dealthread.toml: connections.netsuite.base_url: must not carry a user or "
                    "password: secrets come from the environment."
                ),
            ),
            ("temporal = 3", "dealthread.toml: temporal: it must be a table."),
            (
                '[worker]\nqueues = ["vendor.sap"]',
                "dealthread.toml: worker.queues: there is no queue 'vendor.sap'; there are sagas.",
            ),
            (
                CONNECTION + "[worker]\ngrace_seconds = 60",
                (
                    "dealthread.toml: worker.grace_seconds: it must be longer than "
                    "connections.netsuite.http.total_seconds (60), not 60."
                ),
            ),
            (
                '[temporal.tls]\ncert_file = "a.pem"',
                "dealthread.toml: temporal.tls: cert_file and key_file go together.",
            ),
            (
                '[people.dealthread]\nroles = ["operator"]',
                (
                    "dealthread.toml: people.dealthread: this is what Dealthread calls itself: no "
                    "person can have the name."
                ),
            ),
            (
                "[people.maya]\nroles = []",
                "dealthread.toml: people.maya.roles: it must not be empty.",
            ),
        ],
    )
    def test_a_wrong_key_is_named_with_what_it_should_be(
        self, tmp_path: Path, text: str, sentence: str
    ) -> None:
        assert refusal(tmp_path, text) == sentence

    def test_all_wrong_keys_are_named_at_once(self, tmp_path: Path) -> None:
        text = CONNECTION + "slots = 0\nconcurrency = 'many'\n"
        assert refusal(tmp_path, text).count("\n") == 1

    def test_toml_that_cannot_be_parsed_names_its_line(self, tmp_path: Path) -> None:
        assert refusal(tmp_path, "[temporal]\naddress = \n").startswith(
            "dealthread.toml: this is not TOML: Invalid value (at line 2, column 11"
        )

    def test_a_wrong_variable_is_named_instead_of_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEALTHREAD_STORE__POOL_SIZE", "hush")
        sentence = refusal(tmp_path, "")
        assert sentence.startswith("environment DEALTHREAD_STORE__POOL_SIZE: it must be a valid")
        assert "hush" not in sentence

    def test_a_variable_of_no_section_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEALTHREAD_STROE__URL", "hush")
        sentence = "there is no section 'stroe'; perhaps store is meant."
        assert refusal(tmp_path, "") == f"environment DEALTHREAD_STROE__URL: {sentence}"

    def test_a_list_in_a_variable_that_is_not_json_is_refused_in_one_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEALTHREAD_WORKER__QUEUES", "sagas")
        assert refusal(tmp_path, "") == (
            "environment DEALTHREAD_WORKER__QUEUES: a list or table is written as JSON, "
            'as in ["one", "two"].'
        )


class TestFindConfig:
    def test_the_order_is_option_variable_here_embedded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigInvalid, match="There is no configuration"):
            find_config()
        embedded = Path(".dealthread/dealthread.toml")
        embedded.parent.mkdir()
        embedded.touch()
        assert find_config() == embedded
        Path("dealthread.toml").touch()
        assert find_config() == Path("dealthread.toml")
        Path("other.toml").touch()
        monkeypatch.setenv("DEALTHREAD_CONFIG", "other.toml")
        assert find_config() == Path("other.toml")
        Path("named.toml").touch()
        assert find_config("named.toml") == Path("named.toml")

    @pytest.mark.parametrize("how", ["--config", "DEALTHREAD_CONFIG"])
    def test_a_named_file_that_is_missing_is_no_reason_to_take_another(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("dealthread.toml").touch()
        if how == "DEALTHREAD_CONFIG":
            monkeypatch.setenv(how, "gone.toml")
        with pytest.raises(ConfigInvalid, match=f"gone.toml: there is no such file; {how} names"):
            find_config("gone.toml" if how == "--config" else None)


class TestTokens:
    @pytest.mark.parametrize("token", ["short", "x" * 31, "with a space" * 4, "é" * 40])
    def test_one_that_can_be_guessed_or_sent_by_no_header_is_refused(
        self, tmp_path: Path, token: str
    ) -> None:
        (tmp_path / "token").write_text(token)
        said = refusal(tmp_path, '[people.tom]\nroles = ["operator"]\ntoken_file = "token"')
        assert said.startswith("dealthread.toml: people.tom.token: it must be 32 to 512 printable")
        assert token not in said

    def test_one_that_two_people_have_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("t" * 40)
        person = 'roles = ["operator"]\ntoken_file = "token"\n'
        said = refusal(tmp_path, f"[people.tom]\n{person}[people.ines]\n{person}")
        assert said == (
            "dealthread.toml: people.ines.token is also that of tom: "
            "everybody needs a token of their own."
        )

    def test_one_in_the_file_is_refused_with_where_it_belongs(self, tmp_path: Path) -> None:
        token = "t" * 40
        said = refusal(tmp_path, f'[people.tom]\nroles = ["operator"]\ntoken = "{token}"')
        assert said == (
            "dealthread.toml: people.tom.token: a secret has no place in this file: "
            "set DEALTHREAD_PEOPLE__TOM__TOKEN, or name a file in people.tom.token_file."
        )
