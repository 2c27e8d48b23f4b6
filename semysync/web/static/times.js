// Show every time of the mirror, which is UTC, in the viewer's zone and language.

const minute = { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const date = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const styles = {
  clock,
  minute: new Intl.DateTimeFormat(undefined, minute),
  second: new Intl.DateTimeFormat(undefined, { ...minute, second: "2-digit" }),
  full: new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" }),
  heading: new Intl.DateTimeFormat(undefined, {
    weekday: "long", year: "numeric", month: "long", day: "numeric",
  }),
};

/** Read a time of the mirror, which has more digits than a Date keeps. */
export function moment(text) {
  const read = new Date(text.replace(/(\.\d{3})\d+Z$/, "$1Z"));
  return Number.isNaN(read.getTime()) ? null : read;
}

/** Say a moment as briefly as may be: the time of today, else the day. */
function short(at) {
  const now = new Date();
  if (at.toDateString() === now.toDateString()) return clock.format(at);
  return (at.getFullYear() === now.getFullYear() ? day : date).format(at);
}

export function heading(at) {
  return styles.heading.format(at);
}

/** Show the times below an element in the viewer's zone. */
export function localise(root) {
  for (const element of root.querySelectorAll("time[data-local]")) {
    const at = moment(element.dateTime);
    if (!at) continue;
    const style = element.dataset.local;
    element.textContent = style === "short" ? short(at) : styles[style].format(at);
    element.title = styles.full.format(at);
  }
}

localise(document);
