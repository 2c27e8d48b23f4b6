"""What can be wrong with hooks and the listener in the configuration: all told at once."""

import pytest
from configuring import SECRET, complaint, read  # noqa: F401

from semysync.errors import ConfigError

HOOK = '[[hook]]\nname = "a"\non = ["message.received"]\n'


def test_all_that_is_wrong_with_hooks_is_told_at_once(complaint):
    said = complaint(f"""
        [[hook]]
        name = "a b"
        on = ["message.recieved", "draft.*"]
        match = {{ kontact = "x", text = " ", channel = "sms" }}
        url = "ftp://example.org/{SECRET}"
        secret = "short"
        [[hook]]
        name = "c"
        on = []
        run = ["true"]
        notify = ["{SECRET}"]
        [[hook]]
        name = "c"
        on = ["*"]
        run = [" "]
        secret = "{SECRET}"
    """)

    assert said == [
        "[[hook]] 1 name: expected a name of letters, digits and -._",
        (
            "[[hook]] 1 on = 'message.recieved': there is no such event; expected a kind such as "
            "message.received, or a pattern such as draft.*"
        ),
        "[[hook]] 1 match: expected contact, device, channel, text, got 'kontact'",
        "[[hook]] 1 match text: expected words, or a shell pattern",
        "[[hook]] 1 url: expected an address such as https://example.org/sms",
        "[[hook]] 1 secret: expected at least 16 characters; behind whsec_ they are base64",
        "[[hook]] 2 on: expected a list of kinds of events, such as message.received",
        "[[hook]] 2: expected one of `run`, `url` and `notify`",
        "[[hook]] 2 notify: expected Apprise addresses, such as tgram://TOKEN/CHAT",
        "[[hook]] 3 name: expected a name of its own",
        "[[hook]] 3 run: expected a program and what it is given, each a text of its own",
        "[[hook]] 3 secret: it signs what goes to a `url`",
    ]


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ('run = ["a\\u0000b"]', "run"),
        ('url = "https://"', "url"),
        ('url = "https://exam ple.org/"', "url"),
        ('url = "https://[::1/"', "url"),
        ('url = "https://example.org:99999/"', "url"),
        ('url = "https://x/"\nsecret = "whsec_!!!!!!!!!!!!!!!!"', "secret"),
        ('notify = ["tgram:/x"]', "notify"),
        ('run = ["x"]\nmatch = { device = true }', "match"),
        ('run = ["x"]\nmatch = { text = "!?!" }', None),  # a shell pattern
        ('run = ["x"]\nmatch = { text = "!!!" }', "match"),
    ],
)
def test_a_hook_that_cannot_be_is_a_mistake(complaint, read, written, key):
    if key is None:
        assert read(HOOK + written).hook
    else:
        assert any(line.startswith(f"[[hook]] 1 {key}") for line in complaint(HOOK + written))


@pytest.mark.parametrize(
    "written",
    [
        'run = ["tell", ""]',
        'url = "http://192.168.1.7:1880/sms?key=x"',
        'url = "https://x/"\nsecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"',
        'notify = ["tgram://a/b", "mailto://c"]\nmatch = { device = 351, contact = "+7*" }',
    ],
)
def test_a_hook_that_can_be_is_taken(read, written):
    assert len(read(HOOK + written).hook) == 1


def test_what_a_hook_does_is_shown_without_what_is_secret(read):
    config = read(
        f'{HOOK}run = ["/bin/tell", "{SECRET}"]\n'
        + f'{HOOK}url = "https://u:{SECRET}@example.org/{SECRET}"\n'.replace('"a"', '"b"')
        + f'{HOOK}notify = ["tgram://{SECRET}/1", "mailto://{SECRET}"]\n'.replace('"a"', '"c"')
    )

    shown = [hook.action for hook in config.hook]

    assert shown == ["run /bin/tell", "url example.org", "notify tgram, mailto"]
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    "listen", ["127.0.0.1", ":8026", "example.org:80", "127.0.0.1:0", "1.2.3.4:99999", "::1:x"]
)
def test_where_it_cannot_listen_is_a_mistake(complaint, listen):
    (said,) = complaint(f'[http]\nlisten = "{listen}"')

    assert said.startswith(f"[http] listen = '{listen}': expected an address and a port")


@pytest.mark.parametrize("listen", ["127.0.0.1:8026", "[::1]:8026", "0.0.0.0:80", "localhost:1"])
def test_where_it_can_listen_is_taken(read, listen):
    assert read(f'[http]\nlisten = "{listen}"').http.listen == listen


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        (["short"], "at least 16 letters"),
        (["a/b/c/d/e/f/g/h/i/j/k"], "at least 16 letters"),
        (["ж" * 20], "at least 16 letters"),
        ([SECRET, SECRET + "1", SECRET + "2"], "one secret, or two"),
    ],
)
def test_secrets_that_cannot_be_are_a_mistake_wherever_they_stand(
    complaint, read, tmp_path, secrets, said
):
    quoted = ", ".join(f'"{secret}"' for secret in secrets)
    (in_list,) = complaint(f"[http]\nwebhook_secrets = [{quoted}]")
    (tmp_path / "secrets").write_text("\n".join(secrets), encoding="utf-8")
    config = read('[http]\nwebhook_secrets_file = "secrets"')

    assert said in in_list
    with pytest.raises(ConfigError, match=said):
        config.webhook_secrets()


def test_secrets_come_from_the_configuration_or_a_file(read, complaint, tmp_path):
    (tmp_path / "secrets").write_text(f"{SECRET}\n{SECRET}-new\n")

    assert read(f'[http]\nwebhook_secrets = ["{SECRET}"]').webhook_secrets() == [SECRET]
    from_file = read('[http]\nwebhook_secrets_file = "secrets"')
    assert from_file.webhook_secrets() == [SECRET, f"{SECRET}-new"]
    assert read("").webhook_secrets() == []
    assert complaint(f'[http]\nwebhook_secrets = ["{SECRET}"]\nwebhook_secrets_file = "x"') == [
        "[http] webhook_secrets and webhook_secrets_file: keep one of them"
    ]
    (tmp_path / "secrets").write_text("")
    with pytest.raises(ConfigError, match="one secret a line"):
        from_file.webhook_secrets()
