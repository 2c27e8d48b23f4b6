// How many SMS a text takes (3GPP TS 23.038): the same as semysync/segments.py, which a test sees to.

const GSM = new Set(
  "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà",
);
const EXTENSION = new Set("\f^{}\\[~]|€"); // two septets each, which stay together

/** Return the number of parts, the length in UTF-16 units, and whether the SMS alphabet will do. */
export function segments(text) {
  const characters = [...text];
  const gsm = characters.every((c) => GSM.has(c) || EXTENSION.has(c));
  const parts = gsm
    ? fill(characters.map((c) => (EXTENSION.has(c) ? 2 : 1)), 160, 153)
    : fill(characters.map((c) => c.length), 70, 67);
  return { parts, units: text.length, gsm };
}

function fill(widths, alone, each) {
  if (widths.reduce((sum, width) => sum + width, 0) <= alone) return 1;
  let parts = 1;
  let used = 0;
  for (const width of widths) {
    if (used + width > each) {
      parts += 1;
      used = 0;
    }
    used += width;
  }
  return parts;
}
