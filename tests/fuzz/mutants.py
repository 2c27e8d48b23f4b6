"""
Bent answers, calls, configurations and sheets: the form is kept, and something in it is not.

`Mutator` is made of a seed, so that whatever is found can be made again. What it yields is bytes.
"""

import json
import random

EDGES = (
    0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30,
    0.5, -0.0, 1e308, True, False, None, "", " ", "0", "00", "-1", "１２", "²", "1e3",
    "NaN", "null", "9" * 19, "9" * 20, "9" * 5000, [], {}, [[]], [None], {"0": {}}, ["0"],
    "0000-00-00 00:00:00", "9999-12-31 23:59:59", "0001-01-01 00:00:00.000001",
    "2024-02-30 10:00:00", "2024-03-04T09:15:02Z", "2024-3-4 9:05", "2024-03-04 24:00:00",
    "2024-03-04 09:15:02.1234567", "١٢٣٤-٠٣-٠٤", "a\0b", "\ud83d", "\ude00x", "\ufeff", "💥" * 300,
    "x" * 70_000, "<br>Warning", '{"code":0}', "'; drop table inbox; --",
)  # fmt: skip
RAW = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1e-999", b"0.1e1", b"1.0",
    b"9" * 400, b"9" * 5000, b"-0", b"01", b"+1", b"0x10", b'"\\ud83d"', b'"\\u0000"', b'"\xff\xfe"',
    b'"\xed\xa0\x80"', b"[" * 2000 + b"]" * 2000, b'{"a":' * 2000 + b"1" + b"}" * 2000,
    b"[" * 100, b"'x'", b"", b"undefined", b"true", b"null", b'"\n"', b"1,", b"{", b"}",
)  # fmt: skip
MARK = "\ue000raw%d\ue000"

INBOX = {"id": 15, "phone": "+79201234567", "date": "2024-03-04 11:21:40", "msg": "Thanks",
         "id_device": 351, "type": 0}  # fmt: skip
SENT = {
    "id": 371, "phone": "+79201234567", "date": "2024-03-04 09:15:02.418309", "msg": "Ready",
    "id_device": 351, "send_to_phone": "2024-03-04 09:15:06.90412", "is_send_to_phone": 1,
    "is_send": 1, "send": "2024-03-04 11:15:09", "is_delivered": 0, "delivered": None,
    "is_cancel": 0, "cancel": None, "is_error": 0, "is_error_send": 0, "error_date": None,
    "is_out": 0, "type": 0,
}  # fmt: skip
DEVICE = {
    "id": 351, "is_arhive": 0, "is_deliv": 1, "is_work": 1, "power": 1, "device_name": "A12",
    "dop_name": "desk", "speed_sms": 1, "date_last_active": "2024-03-04 09:20:11.30712",
    "version": "61", "limit_phone": None, "limit_use": None, "limit_date": "2024-03-01 00:00:02.5",
    "limit_period": " ", "manufacturer": "ACME", "android_version": "11", "bat": "77", "type": 0,
}  # fmt: skip
USER = {"code": 0, "id_user": 24, "is_pay": 1, "type_premium": 1, "date_end_premium": None,
        "messages_premium": 1730}  # fmt: skip
ROWS = {"inbox_sms": INBOX, "outbox_sms": SENT, "devices": DEVICE}


class Mutator:
    """Makes mutants; the same of the same seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self._raw = {}

    def answer(self, method, ids=None):
        """An answer to a method, bent in a few places; rows bear some of `ids`."""
        self._raw.clear()
        if method == "user":
            whole = dict(USER)
        elif method == "sms":
            whole = {"code": "0", "id": self.random.choice([371, 2**40]), "id_device": 351}
        elif method == "sms_more":
            whole = {"code": "0", "data": [{"my_id": f"d{n}", "id": 400 + n} for n in range(2)]}
        elif method == "cancel_sms":
            whole = {"code": "0"}
        else:
            rows = [
                dict(ROWS[method], id=i) for i in ids or range(20, 20 + self.random.randrange(5))
            ]
            if rows and self.random.random() < 0.3:  # one that is doubled, and says something else
                rows.append(
                    dict(self.random.choice(rows), msg="Another", date="2020-01-01 00:00:00")
                )
            self.random.shuffle(rows)
            whole = {"code": 0, "count": len(rows), "data": rows}
        for _ in range(self.random.choice([0, 1, 1, 2, 3, 8])):
            whole = self.bend(whole)
        return self._bytes(whole)

    def bend(self, value):
        """Change something somewhere in a value."""
        chance = self.random.random()
        if isinstance(value, dict) and value and chance < 0.93:
            key = self.random.choice(list(value))
            if chance < 0.05:
                return {k: v for k, v in value.items() if k != key}
            if chance < 0.1:
                return value | {
                    self.random.choice(["Id", "", "\ud800", "x" * 50, "data"]): self.odd()
                }
            return value | {key: self.bend(value[key])}
        if isinstance(value, list) and value and chance < 0.93:
            place = self.random.randrange(len(value))
            if chance < 0.05:
                return dict(enumerate(value))
            if chance < 0.1:
                return value * self.random.choice([0, 2, 50])
            return [*value[:place], self.bend(value[place]), *value[place + 1 :]]
        return self.odd()

    def odd(self):
        """A value at the edge of what there is, or beyond JSON."""
        if self.random.random() < 0.6:
            return self.random.choice(EDGES)
        mark = MARK % len(self._raw)
        self._raw[mark] = self.random.choice(RAW)
        return mark

    def _bytes(self, whole):
        ascii_only = self.random.random() < 0.5
        text = json.dumps(whole, ensure_ascii=ascii_only)
        body = text.encode("utf-8", "surrogatepass")
        for mark, raw in self._raw.items():
            body = body.replace(json.dumps(mark, ensure_ascii=ascii_only).encode(), raw)
        return self.spoil(body) if self.random.random() < 0.3 else body

    def spoil(self, body):
        """Change the bytes themselves."""
        place = self.random.randrange(len(body) + 1)
        match self.random.randrange(9):
            case 0:
                return body[:place]
            case 1:
                return b"\xef\xbb\xbf" + body
            case 2:
                return b"<br />\n<b>Warning</b>: {x} in <b>/var</b><br />\n" + body
            case 3:
                return body + body
            case 4:
                return body.decode("utf-8", "replace").encode(
                    self.random.choice(["utf-16", "utf-32", "utf-7", "cp1251"]), "replace"
                )
            case 5:
                return body[:place] + bytes([self.random.randrange(256)]) + body[place + 1 :]
            case 6:
                return body[:place] + self.random.randbytes(self.random.randrange(9)) + body[place:]
            case 7:
                return body[:place] + b"\0" + body[place:]
            case _:
                return b" \n" * self.random.randrange(500) + body + b"\n\0"

    def text(self, whole):
        """Some text, bent: characters that matter in it are doubled, lost or moved."""
        for _ in range(self.random.choice([1, 1, 2, 5])):
            place = self.random.randrange(len(whole) + 1)
            match self.random.randrange(5):
                case 0:
                    end = place + self.random.randrange(12)
                    whole = whole[:place] + whole[end:]
                case 1:
                    odd = self.random.choice(EDGES)
                    whole = (
                        whole[:place] + (odd if isinstance(odd, str) else repr(odd)) + whole[place:]
                    )
                case 2:
                    whole = (
                        whole[:place]
                        + self.random.choice("\"'[]{}=,;\t\n\r\0#\\\u2028é💥")
                        + whole[place:]
                    )
                case 3:
                    lines = whole.splitlines(keepends=True) or [""]
                    self.random.shuffle(lines)
                    whole = "".join(lines)
                case _:
                    end = place + self.random.randrange(30)
                    whole = whole[:end] + whole[place:]
        return whole.encode("utf-8", "surrogatepass")
