"""The configuration: where it is found, what it means, and what is said of mistakes."""

import json
import re
import tomllib
from datetime import date
from pathlib import Path

import msgspec
import pytest
from configuring import SECRET, complaint, read  # noqa: F401

from semysync.config import SYSTEM_CONFIG, Config, load, usual_place
from semysync.errors import ConfigError

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"


def sections(config):
    return {
        name: msgspec.to_builtins(getattr(config, name))
        for name in Config.__struct_fields__
        if name not in {"source", "hook"}
    }


# The example


def test_the_example_shows_every_key_and_no_other():
    everything = re.sub(r"^# (\w+ = )", r"\1", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)

    shown = {name: set(keys) for name, keys in tomllib.loads(everything).items()}

    assert shown == {name: set(keys) for name, keys in sections(Config()).items()}


def test_each_value_in_the_example_is_the_default(read):
    everything = re.sub(r"^# (\w+ = )", r"\1", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)

    meant = sections(read(everything))

    for keys in meant.values():
        keys.update({key: None for key, value in keys.items() if value == ""})
    assert meant == sections(Config())


def test_the_example_can_be_used_as_it_stands(read):
    assert sections(read(EXAMPLE.read_text("utf-8"))) == sections(Config())


# Mistakes


def test_all_mistakes_are_told_at_once_each_with_key_value_and_what_was_expected(complaint):
    said = complaint("""
        stray = 1
        [api]
        timeout_s = "30"
        base_url = "http://semysms.net/api/3/"
        [pull]
        inbox_s = 0
        scope = "phone"
        histroy = "all"
        [pul]
        [log]
        level = 5
    """)

    assert said == [
        "[api] timeout_s = '30': expected a whole number of seconds, at least 1 and at most a year",
        "[pull] inbox_s = 0: expected a whole number of seconds, at least 1 and at most a year",
        '[pull] scope = \'phone\': expected one of "auto", "account", "device"',
        "[pull] histroy: there is no such key; did you mean `history`?",
        '[log] level = 5: expected one of "debug", "info", "warning", "error"',
        "stray: a key belongs into a section, such as [pull]",
        "[pul]: there is no such section; did you mean `pull`?",
        "[api] base_url = 'http://semysms.net/api/3/': expected https, since the token goes there",
    ]


def test_an_unknown_key_like_no_other_brings_the_list(complaint):
    assert complaint("[log]\nzzz = 1") == [
        "[log] zzz: there is no such key; known are format, level, numbers"
    ]


@pytest.mark.parametrize("value", ["true", "1.5", "10.0", "-1", '"10"', "[10]", "10000000000000"])
def test_seconds_are_whole_numbers_within_reason(complaint, value):
    (said,) = complaint(f"[pull]\ninbox_s = {value}")

    assert said.startswith("[pull] inbox_s = ")
    assert "expected a whole number of seconds" in said


@pytest.mark.parametrize("text", ["pull = 3", "[[pull]]\ninbox_s = 1"])
def test_a_section_is_a_section(complaint, text):
    assert complaint(text) == ["pull: expected a section [pull]"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"all"', "all"),
        ('"none"', "none"),
        ("2026-01-31", date(2026, 1, 31)),
        ('"2026-01-31"', date(2026, 1, 31)),
    ],
)
def test_history_is_a_word_or_a_date(read, written, meant):
    assert read(f"[pull]\nhistory = {written}").pull.history == meant


@pytest.mark.parametrize(
    "value",
    [
        '"everything"',
        "5",
        "true",
        "[1]",
        "10:00:00",
        "2026-01-31T10:00:00",
        '"31.01.2026"',
        '"2026-02-30"',
        "0001-01-01",
        "9999-12-31",
    ],
)
def test_any_other_history_is_a_mistake(complaint, value):
    (said,) = complaint(f"[pull]\nhistory = {value}")

    assert said.startswith("[pull] history = ")
    assert said.endswith(': expected "all", "none" or a date such as 2026-01-31')


@pytest.mark.parametrize(
    "url",
    [
        "https://semysms.net/api/3/",
        "https://semysms.net:8443/api/3",
        "http://127.0.0.1:8025/api/3/",
        "http://127.9.9.9/",
        "http://[::1]:8025/",
        "http://localhost/",
        "HTTPS://semysms.net/",
    ],
)
def test_https_or_this_machine_is_a_safe_address(read, url):
    assert read(f"[api]\nbase_url = '{url}'").api.base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://semysms.net/",
        "http://localhost.example.com/",
        "http://127.0.0.1.example.com/",
        "http://10.0.0.1/",
        "http://127.0.0.1@example.com/",
        "ftp://127.0.0.1/",
        "semysms.net",
        "https://",
        "https:///api/3/",
        "https://a b/",
        "https://a..b/",
        "https://semysms.net:99999/",
        "https://semysms.net:x/",
        "https://[::1/",
        "",
        f"https://semysms.net/?token={SECRET}",
        f"https://semysms.net/#{SECRET}",
        f"https://me:{SECRET}@semysms.net/",
        f"https://{SECRET}@semysms.net/",
        f"http://x/?{SECRET}",
        SECRET,
        f"{'a' * 64}.net",
        f"https://{'a' * 64}.net/",
        "https://semysms.net/\a",
    ],
)
def test_any_other_address_is_a_mistake(complaint, url):
    (said,) = complaint(f"[api]\nbase_url = {json.dumps(url)}")

    assert said.startswith("[api] base_url")
    assert "expected" in said


@pytest.mark.parametrize(
    "text",
    [
        f"[api]\ntoken = {SECRET}",
        f'[api]\ntoken = "{SECRET}',
        f'[api]\ntoken = "{SECRET}"\ntoken = "{SECRET}"',
        f"[api]\n{SECRET}",
        f"[api]\ntoken: {SECRET}",
        f"[{SECRET}]\n[{SECRET}]",
        f'[api]\ntoken = {{ "{SECRET}" = 1, "{SECRET}" = 2 }}',
        f"[api\ntoken = '{SECRET}'",
    ],
)
def test_text_that_is_no_toml_is_told_without_what_stands_there(read, tmp_path, text):
    with pytest.raises(ConfigError, match="is no TOML: there is a mistake") as caught:
        read(text)

    assert SECRET not in str(caught.value)
    assert str(tmp_path / "config.toml") in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"token = '{SECRET}'",
        f"tkn = '{SECRET}'",
        f"[api]\ntokn = '{SECRET}'",
        f"[api]\ntoken = ['{SECRET}']",
        f"[api]\ntoken_file = {{ x = '{SECRET}' }}",
        f"[pull]\ntoken = '{SECRET}'",
        f"[api]\ntoken = '{SECRET}'\ntoken_file = '/x'",
        f'["tgram://{SECRET}/CHAT"]',
        f"'{SECRET}' = 1",
        f"[api]\n'{SECRET}' = ''",
    ],
)
def test_a_misplaced_token_is_not_shown(complaint, text):
    assert len(complaint(text)) == 1


def test_text_that_is_not_utf_8_is_told(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"[api]\n# \xff\n")

    with pytest.raises(ConfigError, match="not UTF-8"):
        load(path, {})


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load(tmp_path, {})


# Where it is


def test_the_configuration_is_looked_for_in_order(tmp_path):
    named, ours = tmp_path / "named.toml", tmp_path / "semysync" / "config.toml"
    ours.parent.mkdir()
    for path, seconds in ((named, 1), (ours, 2)):
        path.write_text(f"[pull]\ninbox_s = {seconds}")
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}

    by_option = load(named, environ | {"SEMYSYNC_CONFIG": str(ours)})
    by_environment = load(None, environ | {"SEMYSYNC_CONFIG": str(named)})
    by_habit = load(None, environ)

    assert by_option.pull.inbox_s == by_environment.pull.inbox_s == 1
    assert by_habit.pull.inbox_s == 2


def test_the_home_folder_is_looked_into_without_xdg(tmp_path):
    path = tmp_path / ".config" / "semysync" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[pull]\ninbox_s = 3")

    assert load(None, {"HOME": str(tmp_path)}).source == path


def test_a_new_configuration_belongs_where_it_will_be_looked_for():
    environ = {"HOME": "/home/me", "XDG_CONFIG_HOME": "/config"}

    assert usual_place(environ) == Path("/config/semysync/config.toml")
    assert usual_place(environ | {"SEMYSYNC_CONFIG": "/mine.toml"}) == Path("/mine.toml")


def test_without_any_file_the_defaults_count(tmp_path):
    assert load(None, {"HOME": str(tmp_path)}) == Config()


def test_a_file_that_is_named_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load(None, {"SEMYSYNC_CONFIG": str(tmp_path / "nowhere.toml")})


@pytest.mark.parametrize(
    ("source", "mirror"),
    [
        (None, "/home/me/.local/share/semysync/semysync.db"),
        (
            Path("/home/me/.config/semysync/config.toml"),
            "/home/me/.local/share/semysync/semysync.db",
        ),
        (SYSTEM_CONFIG, "/var/lib/semysync/semysync.db"),
        (SYSTEM_CONFIG.with_name("shop.toml"), "/var/lib/semysync/shop/semysync.db"),
    ],
)
def test_the_mirror_lies_where_such_files_belong(source, mirror):
    assert Config(source=source).mirror({"HOME": "/home/me"}) == Path(mirror)


def test_the_mirror_lies_under_xdg_where_that_is_set():
    environ = {"HOME": "/home/me", "XDG_DATA_HOME": "/data"}

    assert Config().mirror(environ) == Path("/data/semysync/semysync.db")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("/srv/x.db", "/srv/x.db"), ("x.db", "{folder}/x.db"), ("~/x.db", "{home}/x.db")],
)
def test_a_path_begins_where_the_file_is(read, tmp_path, monkeypatch, written, meant):
    monkeypatch.setenv("HOME", "/home/me")

    config = read(f"[database]\npath = '{written}'")

    assert str(config.mirror({})) == meant.format(folder=tmp_path, home="/home/me")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("socket = '/run/a.sock'", "/run/a.sock"),
        ("socket = 'a.sock'", "{folder}/a.sock"),
        ("socket = '~/a.sock'", "/home/me/a.sock"),
        ("program = '/opt/litestream'", "/opt/litestream"),
        ("program = 'bin/litestream'", "{folder}/bin/litestream"),
        ("program = '~/litestream'", "/home/me/litestream"),
        ("program = 'litestream'", "litestream"),  # as the shell would find it
    ],
)
def test_the_paths_of_a_replica_begin_where_the_file_is(
    read, tmp_path, monkeypatch, written, meant
):
    monkeypatch.setenv("HOME", "/home/me")

    replica = read(f"[replica]\n{written}").replica

    key = written.partition(" ")[0]
    assert getattr(replica, key) == meant.format(folder=tmp_path)


def test_a_file_named_from_its_own_folder_is_known_by_its_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("shop.toml").write_text("")

    assert load(Path("shop.toml"), {}).source == tmp_path / "shop.toml"


# The token


def test_the_token_is_taken_from_the_first_place_that_has_one(read, tmp_path):
    (tmp_path / "secret").write_text(" from-file\n")
    (tmp_path / "token").write_text("from-systemd\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    assert read("[api]\ntoken = ' from-key '").token(environ) == "from-key"
    assert read("[api]\ntoken_file = 'secret'").token(environ) == "from-file"
    assert Config().token(environ | {"SEMYSYNC_TOKEN": "from-env"}) == "from-env"
    assert Config().token(environ) == "from-systemd"


@pytest.mark.parametrize("token", ["  ", "two words", "line\nline", "жетон"])
def test_what_can_be_no_token_is_refused(token):
    with pytest.raises(ConfigError, match=r"^\$SEMYSYNC_TOKEN holds no token: expected one word"):
        Config().token({"SEMYSYNC_TOKEN": token})


def test_no_token_says_where_to_put_one(tmp_path):
    with pytest.raises(ConfigError, match="set `token_file` in \\[api\\], or \\$SEMYSYNC_TOKEN"):
        Config().token({"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_token_file_that_is_no_text_holds_none(read, tmp_path):
    (tmp_path / "token").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match=r"`token_file` in \[api\] holds no token: expected one"):
        read("[api]\ntoken_file = 'token'").token({})


def test_a_token_file_that_is_not_there_is_named(read):
    with pytest.raises(
        ConfigError, match=r"cannot read the token from /no/where, .*: No such file"
    ):
        read("[api]\ntoken_file = '/no/where'").token({})


def test_a_token_in_the_place_of_its_file_is_not_shown(read):
    with pytest.raises(ConfigError, match="cannot read the token") as caught:
        read(f"[api]\ntoken_file = '{SECRET}'").token({})

    assert SECRET not in str(caught.value)


def test_the_representation_shows_no_token(read):
    assert SECRET not in repr(read(f"[api]\ntoken = '{SECRET}'"))


# What comes with later versions is checked already


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "[send]\nbatch = 51",
            "[send] batch = 51: expected a whole number, at least 1 and at most 50",
        ),
        ("[send]\nenabled = 1", "[send] enabled = 1: expected true or false"),
        ("[send]\nlost_answer = 'drop'", 'expected one of "resend", "hold"'),
        ("[send]\ndevice = 'any'", "expected `auto`, `active`, a device's id, or a list of ids"),
        ("[send]\ndevice = 0", "expected `auto`, `active`, a device's id, or a list of ids"),
        ("[send]\nquiet_hours = '22-8'", 'such as "22:00-08:00 Europe/Moscow"'),
        ("[send]\nquiet_hours = '22:00-24:00 UTC'", 'such as "22:00-08:00 Europe/Moscow"'),
        ("[purge]\ninbox_days = 2", "expected a whole number, at least 3"),
        ("[purge]\nkeep = 'x'", "expected a list of texts in quotes"),
        ("[api]\nbase_url = 4", "base_url = 4: expected a text in quotes"),
        ("[database]\npath = 3", "path = 3: expected a text in quotes"),
        ("[http]\nlisten = 8026", "listen = 8026: expected a text in quotes"),
        ("[http]\nhealth = 9", 'health = 9: expected true, false or "auto"'),
        ("[replica]\nurl = 'nowhere'", "url: expected where Litestream keeps the replica, such as"),
        ("[replica]\nurl = 's3://[x'", "url: expected where Litestream keeps the replica, such as"),
        ("[replica]\noptions = { bucket = 'x' }", "options: `bucket` belongs into `url`"),
        ("[devices]\nbattery_low = 101", "at least 0 and at most 100"),
        ("[api]\ntimezone = 'Moscow'", "a name such as Europe/Berlin"),
        ("[contacts]\nregion = 'Russia'", "the two capital letters of a country"),
        ("[api]\nrequests_per_minute = 0", "expected a whole number, at least 1"),
        (
            "[[hook]]\nname = 'a'\non = ['draft.*']",
            "[[hook]] 1: expected one of `run`, `url` and `notify`",
        ),
        ("[[hook]]\non = ['draft.*']\nrun = ['y']", "[[hook]] 1 name: expected a name of letters"),
        ("[[hook]]\nname = 'a'\nrum = ['y']", "did you mean `run`?"),
        ("[hook]\nname = 'a'", "expected sections in double brackets"),
    ],
)
def test_a_value_out_of_place_is_told_with_what_was_expected(complaint, written, expected):
    said = complaint(written)

    assert any(expected in line for line in said), said


@pytest.mark.parametrize(
    "written",
    [
        "[send]\nquiet_hours = '22:00-08:00 Europe/Moscow'\ndevice = 351",
        "[send]\ndevice = [351, 352]",
        "[send]\ndevice = 'active'",
        "[[hook]]\nname = 'a'\non = ['message.received']\nrun = ['true']\nmatch = { text = 'x' }",
    ],
)
def test_what_the_contract_allows_is_taken(read, written):
    assert read(written).source


def test_secrets_of_hooks_and_of_the_listener_are_not_shown(read, complaint):
    config = read(f"[http]\nwebhook_secrets = ['{SECRET}']")

    assert SECRET not in repr(config)
    assert complaint(f"[[hook]]\nname = 'a'\non = ['x']\nurl = ['{SECRET}']")
    assert complaint(f"[[hook]]\nname = 'a'\non = ['x']\nrun = 'curl -H {SECRET}'")


@pytest.mark.parametrize(
    "written",
    [
        "[database]\npath = '~nobody-by-that-name/x.db'",
        '[database]\npath = "a\\u0000b"',
        "[api]\ntoken_file = '~nobody-by-that-name/token'",
        '[api]\ntoken_file = "a\\u0000b"',
        '[backup]\npath = "\\u0000"',
        '[http]\nwebhook_secrets_file = "\\u0000"',
        '[replica]\nsocket = "\\u0000"',
        '[replica]\nprogram = "a\\u0000b"',
    ],
)
def test_a_path_that_no_file_can_have_is_a_mistake(complaint, written):
    (said,) = complaint(written)

    assert "no file can have this one" in said


@pytest.mark.parametrize(
    "text", [f"[api]\ntimeout_s = {'9' * 5000}", f"x = {'[' * 3000}{']' * 3000}"]
)
def test_toml_beyond_all_measure_is_told(read, text):
    with pytest.raises(ConfigError, match="is no TOML"):
        read(text)


def test_numbers_have_a_measure(complaint):
    (said,) = complaint(f"[api]\nrequests_per_minute = {'9' * 400}")

    assert "at most 1000000000" in said


@pytest.mark.parametrize(
    "key",
    ["[database]\nevents_days", "[pull]\nverify_days", "[purge]\ninbox_days", "[purge]\nsent_days"],
)
def test_who_means_for_ever_by_a_million_days_is_told_the_most(read, complaint, key):
    (said,) = complaint(f"{key} = 1000000")

    assert said.endswith("and at most 36500")
    assert read(f"{key} = 36500").source
