// On Datasette's pages of a mirror: times in the viewer's zone, and the way back to our pages, which
// without a script is in the menu.

import "./times.js";

const menu = document.querySelector("header .nav-menu-inner");
const links = [...(menu?.querySelectorAll("li a") ?? [])].filter((link) =>
  /\/-\/(conversations|drafts|dashboards\/[^/]+)$/.test(link.pathname),
);
if (links.length) {
  const ours = document.createElement("div");
  ours.className = "ours";
  ours.append(...links.map((link) => link.cloneNode(true)));
  const crumbs = document.querySelector("header .crumbs");
  if (crumbs) crumbs.after(ours);
  else document.querySelector("header nav").prepend(ours);
}
