"""Where settings come from, which source wins, and what a person is told when one of them is wrong."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from appliance.settings import Settings, environment_names, load_settings
from models.errors import SettingsInvalid


class Machine:
    """A file system of its own, with an /etc, a /var, a home and a working directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home" / "ann"
        self.cwd = root / "somewhere"
        self.home.mkdir(parents=True)
        self.cwd.mkdir()

    @property
    def data(self) -> Path:
        return self.home / ".local" / "share" / "detector-appliance"

    def write(self, path: str | Path, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def load(self, environ: Mapping[str, str] | None = None, **options: Any) -> Settings:
        environ = {"HOME": str(self.home), **(environ or {})}
        return load_settings(environ=environ, working_directory=self.cwd, system_root=self.root, **options)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_with_nothing_given_the_box_is_standalone_and_speaks_to_this_machine_only(machine: Machine) -> None:
    settings = machine.load()
    assert (settings.bind_host, settings.port) == ("127.0.0.1", 8004)
    assert settings.standalone
    assert settings.node_name
    assert settings.data_folder == machine.data
    assert settings.warnings == []
    assert {entry.origin for entry in settings.in_force()} == {"default"}


def test_each_source_wins_over_the_one_below_and_is_named_as_origin(machine: Machine) -> None:
    config = machine.write("somewhere/appliance.toml", "port = 1001\n")
    assert machine.load().port == 1001
    assert machine.load().origin("port") == f"file {config}"

    overlay = machine.write(machine.data / "settings.toml", "port = 1002\n")
    assert machine.load().port == 1002
    assert machine.load().origin("port") == f"file {overlay}"

    from_environment = machine.load({"NODE_PORT": "1003"})
    assert (from_environment.port, from_environment.origin("port")) == (1003, "environment NODE_PORT")

    flagged = machine.load({"NODE_PORT": "1003"}, overrides={"port": 1004, "bind_host": None})
    assert (flagged.port, flagged.origin("port")) == (1004, "command line")
    assert flagged.origin("bind_host") == "default"


def test_the_first_configuration_file_that_exists_counts_alone(machine: Machine) -> None:
    machine.write("somewhere/appliance.toml", "queue_depth = 3\n")
    assert machine.load().queue_depth == 3
    machine.write("etc/detector-appliance/appliance.toml", "port = 1001\n")
    assert machine.load().queue_depth == 32
    assert machine.load().port == 1001
    mine = machine.write("mine.toml", "queue_depth = 5\n")
    assert machine.load(config=mine).queue_depth == 5
    assert machine.load(config=mine).port == 8004


def test_a_configuration_file_that_was_named_must_exist(machine: Machine) -> None:
    with pytest.raises(SettingsInvalid, match=r"There is no configuration file .*nowhere\.toml"):
        machine.load(config=Path("nowhere.toml"))


def test_an_empty_variable_counts_as_not_set(machine: Machine) -> None:
    settings = machine.load({"NODE_PORT": "", "LOOP_HOST": "  "})
    assert settings.port == 8004
    assert settings.loop_host is None


def test_variables_of_others_are_ignored(machine: Machine) -> None:
    assert machine.load({"PORT": "nonsense", "MAX_OUTBOX": "-1", "PATH": "/bin"}).port == 8004


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("NODE_HOST", "0.0.0.0", "bind_host", "0.0.0.0"),
        ("HOST", "loop.example", "loop_host", "loop.example"),
        ("LOOP_HOST", "http://loop.example:81/", "loop_host", "http://loop.example:81"),
        ("ORGANIZATION", "Acme", "loop_organization", "Acme"),
        ("PROJECT", "Weeds", "loop_project", "weeds"),
        ("EXCLUSIVE_MODEL_BUILD", "1", "exclusive_model_build", True),
        ("USE_BACKDOOR_CONTROLS", "false", "use_backdoor_controls", False),
        ("VERSION_CONTROL_DEFAULT", "Pause", "version_control_default", "pause"),
        ("VERSION_CONTROL_DEFAULT", "1.10", "version_control_default", "1.10"),
        ("RUNTIME", "litert/cpu/2", "runtime", "litert/cpu/2"),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("MAX_OUTBOX_SIZE", "7", "max_outbox_size", 7),
        ("ALLOWED_HOSTS", "Box.local, [::1]", "allowed_hosts", ["box.local", "::1"]),
        ("TRUSTED_NETWORKS", "192.168.1.7/24,fd00::/8", "trusted_networks", ["192.168.1.0/24", "fd00::/8"]),
        ("TRUSTED_PROXIES", '["10.0.0.1"]', "trusted_proxies", ["10.0.0.1/32"]),
        ("CAMERA_NAMES", "usb-0:1.2= Front left ,a=b=c,", "camera_names", {"usb-0:1.2": "Front left", "a": "b=c"}),
        ("CAMERA_NAMES", '{"x=1, y": "Höhe 🙂"}', "camera_names", {"x=1, y": "Höhe 🙂"}),
    ],
)
def test_what_a_variable_means(machine: Machine, variable: str, value: str, field: str, expected: object) -> None:
    settings = machine.load({variable: value})
    if field.startswith("trusted"):
        assert isinstance(expected, list)
        expected = [ip_network(each) for each in expected]
    assert getattr(settings, field) == expected
    assert settings.origin(field) == f"environment {variable}"


def test_the_prefixed_name_wins_over_upstreams_short_one_with_a_warning(machine: Machine) -> None:
    settings = machine.load({"LOOP_HOST": "a", "HOST": "b", "LOOP_PROJECT": "p", "PROJECT": "p", "ORGANIZATION": "o"})
    assert (settings.loop_host, settings.loop_organization, settings.loop_project) == ("a", "o", "p")
    assert settings.warnings == ["LOOP_HOST and HOST are both set and differ: LOOP_HOST counts."]
    assert not settings.standalone


def test_half_a_loop_is_no_loop_and_is_said(machine: Machine) -> None:
    settings = machine.load({"LOOP_HOST": "a"})
    assert settings.standalone
    assert "LOOP_ORGANIZATION and LOOP_PROJECT are not set" in settings.warnings[0]


def test_trusting_everybody_is_said(machine: Machine) -> None:
    assert "everybody" in machine.load({"TRUSTED_NETWORKS": "0.0.0.0/0"}).warnings[0]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("prot = 1", "did you mean port?"),
        ("NODE_PORT = 1", "did you mean port?"),
        ("HOST = 'x'", "did you mean loop_host?"),
        ("xyzzy = 1", "`appliance settings` lists those that exist"),
        ("[server]\nport = 1", "server, which is no setting"),
    ],
)
def test_an_unknown_key_of_a_file_is_an_error_that_names_what_was_meant(
    machine: Machine, text: str, meant: str
) -> None:
    machine.write("somewhere/appliance.toml", text)
    with pytest.raises(SettingsInvalid) as caught:
        machine.load()
    assert meant in str(caught.value)
    assert "appliance.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"NODE_PORT": "http"}, "port is 'http' (environment NODE_PORT)"),
        ({"NODE_PORT": "70000"}, "less than or equal to 65535"),
        ({"MAX_WAIT_REST_S": "nan"}, "finite"),
        ({"INFERENCE_DEADLINE_S": "0"}, "greater than 0"),
        ({"TRUSTED_NETWORKS": "10.0.0.300"}, "'10.0.0.300' does not appear to be an IPv4 or IPv6 network"),
        ({"TRUSTED_NETWORKS": '["10.0.0.0/8"'}, "trusted_networks is "),
        ({"CAMERA_NAMES": "Front left"}, "names by camera id are due, such as usb-0=Front left,usb-1=Rear"),
        ({"CAMERA_NAMES": '{"a": "b"'}, "names by camera id are due"),
        ({"CAMERA_NAMES": '{"a": 1}'}, "camera_names is 1"),
        ({"CAMERA_NAMES": "a= "}, "a name has letters or digits that can be seen"),
        ({"CAMERA_NAMES": '{"a": "b\\u0007"}'}, "a name has letters or digits that can be seen"),
        ({"CAMERA_NAMES": "a=" + 61 * "x"}, "at most 60 characters"),
        ({"CAMERA_NAMES": "=x"}, "at least 1 character"),
        ({"CAMERA_NAMES": ",".join(f"{number}=x" for number in range(257))}, "at most 256 items"),
        ({"ALLOWED_HOSTS": "http://box"}, "without scheme, port or path"),
        ({"VERSION_CONTROL_DEFAULT": "newest"}, "follow_loop, pause, or a version"),
        ({"LOOP_HOST": "http://me:secret@loop"}, "must not carry a user name"),
        ({"RUNTIME": "litert/cpu/zero"}, "runtime is 'litert/cpu/zero'"),
        ({"LOG_FORMAT": "xml"}, "'text' or 'json'"),
        ({"MIN_UNCERTAIN_THRESHOLD": "0.7"}, "lies above max_uncertain_threshold (0.6)"),
        ({"LOAD_DEADLINE_S": "5"}, "shorter than inference_deadline_s"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_origin(
    machine: Machine, environ: dict[str, str], told: str
) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        machine.load(environ)
    assert told in str(caught.value)


def test_every_mistake_is_told_at_once(machine: Machine) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        machine.load({"NODE_PORT": "x", "QUEUE_DEPTH": "y"})
    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_no_toml_is_refused_by_name(machine: Machine) -> None:
    machine.write("somewhere/appliance.toml", "port: 8004\n")
    with pytest.raises(SettingsInvalid, match=r"appliance\.toml is no valid TOML file"):
        machine.load()
    (machine.cwd / "appliance.toml").write_bytes(b"node_name = '\xff'\n")
    with pytest.raises(SettingsInvalid, match=r"appliance\.toml is no valid TOML file"):
        machine.load()


def test_files_hold_lists_and_numbers_as_toml_writes_them(machine: Machine) -> None:
    machine.write("somewhere/appliance.toml", 'trusted_networks = ["10.0.0.0/8"]\nmax_wait_rest_s = 3\n')
    settings = machine.load()
    assert settings.trusted_networks == [ip_network("10.0.0.0/8")]
    assert settings.max_wait_rest_s == 3.0


class TestDataFolder:
    def test_a_service_has_its_own(self, machine: Machine) -> None:
        service = machine.root / "var" / "lib" / "detector-appliance"
        assert machine.load({"HOME": "/nonexistent"}).data_folder == service
        assert machine.load({"HOME": ""}).data_folder == service
        service.mkdir(parents=True)
        assert machine.load().data_folder == service

    def test_a_person_has_it_where_the_desktop_says(self, machine: Machine) -> None:
        assert (
            machine.load({"XDG_DATA_HOME": str(machine.root / "x")}).data_folder
            == machine.root / "x/detector-appliance"
        )
        assert machine.load({"XDG_DATA_HOME": "relative"}).data_folder == machine.data

    def test_the_option_wins_over_the_variable_and_the_file(self, machine: Machine) -> None:
        machine.write("somewhere/appliance.toml", "data_folder = '~/box'\n")
        assert machine.load().data_folder == machine.home / "box"
        assert machine.load({"DATA_FOLDER": "here"}).data_folder == machine.cwd / "here"
        chosen = machine.load({"DATA_FOLDER": "here"}, data_dir=Path("there"))
        assert (chosen.data_folder, chosen.origin("data_folder")) == (machine.cwd / "there", "command line")

    def test_the_dashboards_file_inside_it_cannot_move_it(self, machine: Machine) -> None:
        machine.write(machine.data / "settings.toml", "data_folder = '/elsewhere'\n")
        with pytest.raises(SettingsInvalid, match="sets data_folder, but lies in it"):
            machine.load()

    def test_a_number_is_no_folder(self, machine: Machine) -> None:
        machine.write("somewhere/appliance.toml", "data_folder = 7\n")
        with pytest.raises(SettingsInvalid, match="data_folder is 7"):
            machine.load()


def test_every_setting_says_what_it_is_for_and_numbers_have_units() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        if name.endswith("_s"):
            assert "seconds" in field.description, name
        if name.endswith("_mb"):
            assert "megabytes" in field.description, name


def test_no_variable_means_two_settings() -> None:
    names = [name for field in Settings.model_fields for name in environment_names(field)]
    assert len(names) == len(set(names))


def test_a_child_process_is_handed_the_same_settings(machine: Machine) -> None:
    settings = machine.load({"NODE_PORT": "9"})
    copy = pickle.loads(pickle.dumps(settings))
    assert copy == settings
    assert copy.origin("port") == "environment NODE_PORT"


def test_the_user_name_of_the_desktop_is_no_login_but_a_pair_is(machine: Machine) -> None:
    assert machine.load({"USERNAME": "ann"}).loop_username is None
    assert machine.load({"PASSWORD": "secret"}).loop_password is None
    both = machine.load({"USERNAME": "ann", "PASSWORD": "secret"})
    assert both.loop_username == "ann"
    assert both.loop_password is not None and both.loop_password.get_secret_value() == "secret"
    mixed = machine.load({"LOOP_USERNAME": "robot", "USERNAME": "ann"})
    assert (mixed.loop_username, mixed.warnings) == ("robot", [])


def test_a_password_is_never_shown(machine: Machine) -> None:
    settings = machine.load({"LOOP_USERNAME": "ann", "LOOP_PASSWORD": "sesame"})
    assert "sesame" not in repr(settings) + repr(settings.in_force())
