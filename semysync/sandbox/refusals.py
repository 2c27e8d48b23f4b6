"""
The refusals of the service: a code and a text.

Only code `-1` and `Device not found` have been seen; all other texts are ours. A program must
decide by the code, never by the wording, which is what `error_language` is for.
"""

_TEXTS = {
    "device": ("Device not found", "Устройство не найдено"),
    "no_active_device": ("No active devices", "Нет активных устройств"),
    "token": ("Wrong token", "Неверный токен"),
    "phone": ("Phone is empty", "Не указан телефон"),
    "text": ("Message is empty", "Не указан текст сообщения"),
    "date": ("Wrong date", "Неверная дата"),
    "too_many_ids": ("Too many ids in list_id", "Слишком много номеров в list_id"),
    "parameter": ("Unknown parameter", "Неизвестный параметр"),
    "nothing_named": ("device or id_sms is required", "Укажите device или id_sms"),
    "batch": ("Field data is not a list", "Поле data не является списком"),
    "batch_size": ("Too many messages", "Слишком много сообщений"),
    "my_id": ("Repeated my_id", "Повторный my_id"),
    "text_long": ("Message is too long", "Слишком длинное сообщение"),
    "offline": ("Device is switched off", "Устройство выключено"),
    "plan": ("Your plan has ended", "Тариф не оплачен"),
    "balance": ("No messages left", "Сообщения закончились"),
    "too_late": ("Message is already sent", "Сообщение уже отправлено"),
    "unclear": ("Error", "Ошибка"),
    "internal": ("Internal error", "Внутренняя ошибка"),
}


class Refusal(Exception):
    """The service says no: an object with a non-zero `code` and a text in `error`."""

    def __init__(self, reason: str, *, code: int = -1, status: int = 200) -> None:
        super().__init__(_TEXTS[reason][0])
        self.reason = reason
        self.code = code
        self.status = status

    def text(self, language: str) -> str:
        return _TEXTS[self.reason][language == "ru"]
