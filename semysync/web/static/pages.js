// What a script adds to pages that can be read without one: times of the viewer's zone, what is
// new, and help while writing.

import { segments } from "./segments.js";
import { heading, localise, moment } from "./times.js";

const OFTEN_MS = 2000;
const SELDOM_MS = 15000;
const SOON_MS = 60000; // so long after a change, or a key, it is looked often

// What is new.

const live = document.querySelector("[data-live]");
const sources = new Map(); // how each part came from the server, before times were shown here
let tag = null;
let active = Date.now();
let timer = null;

function parts(root) {
  const list = root.querySelector("[data-items]");
  return list ? [...list.children] : [];
}

function nearEnd() {
  const page = document.documentElement;
  return page.scrollHeight - window.scrollY - window.innerHeight < 150;
}

/** Put what came from the server into the page: only what has changed, so that focus stays. */
function take(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  const list = live.querySelector("[data-items]");
  const freshList = fresh.querySelector("[data-items]");
  if (!list || !freshList || list.tagName !== freshList.tagName) {
    live.replaceChildren(...fresh.childNodes);
    remember();
    return;
  }
  const incoming = parts(fresh);
  const known = new Map(parts(live).map((part) => [part.id, part]));
  const ends = "ends" in live.dataset;
  const messages = incoming.filter((part) => part.matches(".message"));
  // So much is new that there is a gap: what is between is on no page that we have.
  if (ends && messages.length && known.size && !messages.some((part) => known.has(part.id))) {
    window.location.reload();
    return;
  }
  const names = new Set(incoming.map((part) => part.id));
  for (const [id, part] of known) {
    if (!names.has(id) && (!ends || part.matches(".draft, .read"))) part.remove();
  }
  let before = null;
  for (const part of incoming.reverse()) {
    if (ends && part.matches(".day")) continue;
    const source = part.outerHTML;
    const old = known.get(part.id);
    let placed = old;
    if (!old || sources.get(part.id) !== source) {
      placed = document.importNode(part, true);
      sources.set(part.id, source);
      if (old?.isConnected) {
        const focused = old.contains(document.activeElement)
          ? [...old.querySelectorAll("a, button")].indexOf(document.activeElement)
          : -1;
        old.replaceWith(placed);
        if (focused >= 0) {
          const heirs = placed.querySelectorAll("a, button");
          (heirs[focused] ?? heirs[0])?.focus();
        }
      }
    }
    if (placed.parentNode !== list || (placed.nextElementSibling !== before && !ends)) {
      list.insertBefore(placed, before);
    }
    before = placed;
  }
}

function remember() {
  for (const part of parts(live)) sources.set(part.id, part.outerHTML);
}

/** Set the days between messages anew: they are days of the viewer's zone. */
function days() {
  const list = document.querySelector("ol.messages");
  if (!list) return;
  for (const old of list.querySelectorAll("li.day[id]")) {
    if (old.id.startsWith("day-none")) continue;
    old.remove();
  }
  for (const old of list.querySelectorAll("li.day:not([id])")) old.remove();
  let last = null;
  for (const item of [...list.children]) {
    const time = item.querySelector(".facts time");
    const at = time && moment(time.dateTime);
    if (!at || at.toDateString() === last) continue;
    last = at.toDateString();
    const row = document.createElement("li");
    row.className = "day";
    row.textContent = heading(at);
    item.before(row);
  }
}

const stale = document.createElement("p");
stale.className = "warning stale";
stale.setAttribute("role", "status");

/** Say that what is shown may be old; or, with nothing to say, that it is not. */
function told(sentence) {
  if (stale.textContent === sentence) return;
  stale.textContent = sentence;
  if (sentence) document.body.append(stale);
  else stale.remove();
}

async function look() {
  timer = null;
  let wait = Date.now() - active < SOON_MS ? OFTEN_MS : SELDOM_MS;
  try {
    const answer = await fetch(live.dataset.live, {
      headers: tag ? { "If-None-Match": tag } : {},
      cache: "no-store",
    });
    if (answer.ok || answer.status === 304) told("");
    if (answer.status === 200) {
      tag = answer.headers.get("ETag");
      const stay = nearEnd() && "ends" in live.dataset;
      take(await answer.text());
      localise(live);
      days();
      if (stay) toEnd();
      active = Date.now();
      wait = OFTEN_MS;
    } else if (answer.status === 403 || answer.status === 404) {
      told("This page is not kept up to date any more: open it again.");
      return; // not ours to read any more
    } else if (answer.status >= 500) {
      told("The mirror cannot be read now: what is shown may be old.");
      wait = SELDOM_MS;
    }
  } catch {
    told("The server does not answer: what is shown may be old.");
    wait = SELDOM_MS; // it may come back
  }
  if (!document.hidden) timer = setTimeout(look, wait);
}

function wake() {
  active = Date.now();
  if (timer === null && !document.hidden) timer = setTimeout(look, 0);
}

function toEnd() {
  window.scrollTo({ top: document.documentElement.scrollHeight });
}

// Help while writing.

function begin(form) {
  const text = form.querySelector("textarea");
  const count = form.querySelector("output");
  const at = form.querySelector("input[type=datetime-local]");
  const utc = form.querySelector("input[name=send_at_utc]");
  const longest = Number(text.dataset.longest);

  function counted() {
    const { parts: number, units, gsm } = segments(text.value);
    const over = units > longest;
    count.classList.toggle("over", over);
    count.value = !text.value
      ? ""
      : over
        ? `${units} of ${longest} characters`
        : `${units} characters, ${number} SMS${gsm ? "" : " (Unicode)"}`;
    grow();
  }

  function grow() {
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight + 2, window.innerHeight * 0.4)}px`;
  }

  text.addEventListener("input", counted);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  counted();

  form.querySelector(".zone").textContent = `(${Intl.DateTimeFormat().resolvedOptions().timeZone})`;
  if (at.value) {
    const given = new Date(`${at.value}Z`);
    at.value = new Date(given - given.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
  }
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault(); // the key would make one message of it all the same
      return;
    }
    form.dataset.sent = "yes";
    const picked = at.value && new Date(at.value);
    utc.disabled = !picked;
    utc.value = picked ? picked.toISOString().slice(0, 19) : "";
  });
  window.addEventListener("pageshow", () => delete form.dataset.sent);
}

/** Let a menu close as people expect it to: by Escape, and by a click beside it. */
function close(menu, event) {
  if (!menu.open || (event.type === "click" && menu.contains(event.target))) return;
  if (event.type === "keydown" && event.key !== "Escape") return;
  menu.open = false;
  if (event.type === "keydown") menu.querySelector("summary").focus();
}

if (live) {
  remember();
  document.addEventListener("visibilitychange", wake);
  window.addEventListener("focus", wake);
  document.addEventListener("keydown", () => (active = Date.now()));
  timer = setTimeout(look, OFTEN_MS);
}
localise(document);
days();
for (const form of document.querySelectorAll("form.writer")) begin(form);
for (const menu of document.querySelectorAll("details.more")) {
  for (const kind of ["click", "keydown"]) document.addEventListener(kind, (e) => close(menu, e));
}
const asked = document.querySelector(".asked");
if (asked) {
  asked.scrollIntoView({ block: "center" });
} else if (live && "ends" in live.dataset && (!location.hash || location.hash === "#end")) {
  toEnd();
  window.addEventListener("load", toEnd);
}
