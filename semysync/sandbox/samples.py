"""What the seeded history is made of: texts, senders, devices. Written for this, from no one's phone."""

from typing import NamedTuple


class Text(NamedTuple):
    """A text; where there is a tail, a number stands between the two."""

    head: str
    tail: str | None = None


SENT_TEXTS = (
    Text("Order ", " is ready for collection"),
    Text("Your code is ", ". It is good for five minutes"),
    Text("Hello! The courier comes today, parcel ", "."),
    Text("Table for ", " is booked, see you tonight"),
    Text("Заказ ", " собран, ждём вас до восьми"),
    Text("Код для входа: ", ". Никому его не говорите"),
    Text("Напоминаем о записи завтра, кабинет ", "."),
    Text("Спасибо! Платёж по счёту ", " получен"),
    Text("Машина будет через ", " минут, серый фургон"),
    Text("طلبك رقم ", " جاهز للاستلام"),
    Text("موعدك غدا، رقم الحجز ", "."),
    Text("Dein Paket ", " liegt beim Nachbarn"),
    Text("Rechnung ", " ist bezahlt, vielen Dank"),
    Text("Votre rendez-vous est confirmé, dossier ", "."),
    Text("Su pedido ", " sale hoy"),
    Text("🎉 Ticket ", " has won a free coffee"),
    Text('Line one\nline two: "quoted", back\\slash, lot ', " & more"),
    Text("We are closed on Monday"),
    Text("Thank you for your visit"),
    Text("Your parcel could not be handed over. Please ring us"),
    Text("Завтра не работаем, извините"),
    Text("Ключи у соседки из третьей квартиры"),
    Text("Доброе утро! ☀️"),
    Text("شكرا لزيارتكم"),
    Text("Bitte rufen Sie zurück"),
    Text("À bientôt !"),
    Text("您的包裹已到 ", "，请尽快领取"),
    Text("Meter reading is due this week, account ", "."),
)

INBOX_TEXTS = (
    Text("Thanks"),
    Text("Ok, see you at ", ""),
    Text("Is order ", " ready?"),
    Text("Yes please"),
    Text("No, tomorrow is better"),
    Text("Where are you? I wait at gate ", ""),
    Text("Please call me back"),
    Text("Спасибо!"),
    Text("Буду через ", " минут"),
    Text("А можно завтра?"),
    Text("Перезвоните, пожалуйста, это срочно"),
    Text("Да, подходит"),
    Text("Адрес: Садовая, дом ", ""),
    Text("نعم، شكرا"),
    Text("متى يصل الطلب ", "؟"),
    Text("Danke, bis später"),
    Text("Ich komme um ", " Uhr"),
    Text("Merci beaucoup"),
    Text("Vale, gracias"),
    Text("👍"),
    Text("😂😂 great"),
    Text("STOP"),
    Text("Wrong number, sorry"),
    Text("谢谢，", " 号可以"),
)

SERVICE_TEXTS = (
    Text("Balance: ", " roubles"),
    Text("На счёте ", " руб. Пополните баланс"),
    Text("Your monthly plan was renewed. Reference ", "."),
    Text("Код подтверждения ", ""),
    Text("Card payment of ", ".00 accepted"),
)

#: Senders that are no phone number: names, short codes, the answer to a USSD code.
SERVICE_SENDERS = ("Beeline", "900", "MegaFon", "Tele2", "*100#", "InfoSMS", "2020", "Bank-24")

#: model, manufacturer, label, Android version
DEVICE_MODELS = (
    ("Galaxy A12", "samsung", "desk", "11"),
    ("Redmi Note 9", "Xiaomi", "shop", "12"),
    ("Pixel 6a", "Google", "", "14"),
    ("Moto G9", "motorola", "warehouse", "10"),
    ("Nokia 3.4", "HMD Global", "night shift", "12"),
)
