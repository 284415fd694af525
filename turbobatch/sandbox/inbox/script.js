"use strict";
// The pages work without this; it makes them move, and gives them keys.

const one = name => document.getElementById(name);
const rows = one("rows");
const number = value => value.toLocaleString("en");

function tellTimes(root) {
  for (const time of root.querySelectorAll("time")) {
    const when = new Date(time.dateTime);
    time.textContent = "long" in time.dataset ? when.toLocaleString() : when.toLocaleTimeString();
  }
}
tellTimes(document);

// Live counts: told by the server when they change, a few times a second at most.

const live = one("live");
let before = null;
let source = null;

function tellPace(counts) {
  const pace = before && counts.time > before.time ? (counts.accepted - before.accepted) / (counts.time - before.time) : 0;
  if (!before || counts.time - before.time > 1) before = counts;
  live.className = "live on";
  const text = `${number(counts.accepted)} accepted, ${number(counts.refused + counts.failed)} not`;
  one("live-text").textContent = pace > 0.05 ? `${text}, ${pace.toFixed(pace < 10 ? 1 : 0)}/s` : text;
  clearTimeout(tellPace.rest);
  tellPace.rest = setTimeout(() => { one("live-text").textContent = text; }, 3000);
}

function tellCounts(counts) {
  tellPace(counts);
  for (const place of document.querySelectorAll("[data-count]")) place.textContent = number(counts[place.dataset.count]);
  if (!rows) return;
  if (counts.cleared !== Number(rows.dataset.cleared) || tellCounts.accepted > counts.accepted) return location.reload();
  tellCounts.accepted = counts.accepted;
  fetchNews();
}

function listen() {
  if (source || document.hidden) return;
  source = new EventSource(live.dataset.events);
  source.onmessage = event => tellCounts(JSON.parse(event.data));
  source.onerror = () => {
    live.className = "live off";
    one("live-text").textContent = "the sandbox doesn't answer";
  };
}

function leave() {
  // A browser keeps few connections to one server: pages that nobody sees give theirs back.
  source?.close();
  source = null;
}
document.addEventListener("visibilitychange", () => document.hidden ? leave() : listen());
addEventListener("pagehide", leave);
addEventListener("pageshow", listen);

// New rows: in place at the top of the first page, else only counted.

let isFetching = false;
let isStale = false;
let unseen = 0;

async function fetchNews() {
  if (isFetching) { isStale = true; return; }
  isFetching = true;
  isStale = false;
  try {
    const address = new URL(rows.dataset.news, location);
    address.searchParams.set("after", rows.dataset.last);
    const answer = await fetch(address);
    if (answer.ok) showNews(await answer.json());
  } catch { /* the sandbox has gone; the live line says so */ }
  isFetching = false;
  if (isStale) fetchNews();
}

function showNews(news) {
  rows.dataset.last = news.last;
  const count = document.querySelector("#total b");
  if (count) count.textContent = number(news.total); // of refusals only the last ones stay
  if (!news.count) return;
  if (!one("pages").contains(document.activeElement)) one("pages").innerHTML = news.pages;
  for (const name of ["campaigns", "badges"]) {
    if (document.activeElement !== one(name)) one(name).innerHTML = news.choices[name];
  }
  const isOnTop = rows.dataset.page === "1" && scrollY < 40 && !rows.contains(document.activeElement);
  one("empty")?.remove();
  if (isOnTop && !unseen) showRows(news);
  else {
    unseen += news.count;
    one("news").textContent = `${number(unseen)} new`;
    one("news").hidden = false;
  }
}

function showRows(news) {
  const fresh = document.createElement("template");
  fresh.innerHTML = news.rows; // escaped where it was made
  tellTimes(fresh.content);
  for (const row of fresh.content.children) row.classList.add("fresh");
  rows.prepend(fresh.content);
  while (rows.children.length > Number(rows.dataset.size)) rows.lastElementChild.remove();
  one("total").innerHTML = `1–${number(rows.children.length)} of <b>${number(news.total)}</b>, newest first`;
}

// Choices count at once.

for (const name of ["campaigns", "badges"]) one(name)?.addEventListener("change", event => event.target.form.requestSubmit());
document.querySelector(".tools")?.addEventListener("formdata", event => {
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

// Keys.

const KEYS = { j: "older", ArrowRight: "older", k: "newer", ArrowLeft: "newer", u: "up" };

function moveFocus(step) {
  const links = [...rows.querySelectorAll("a.subject")];
  const place = links.indexOf(document.activeElement);
  links[Math.max(0, Math.min(links.length - 1, place + step))]?.focus();
}

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea")) return;
  if (event.key === "/" && document.querySelector("input[type=search]")) {
    event.preventDefault();
    document.querySelector("input[type=search]").focus();
  } else if (rows && (event.key === "j" || event.key === "k")) moveFocus(event.key === "j" ? 1 : -1);
  else if (KEYS[event.key]) one(KEYS[event.key])?.click();
});

// Copy buttons.

document.addEventListener("click", async event => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.previousElementSibling ?? button);
    button.textContent = "Press Ctrl-C";
  }
  setTimeout(() => { button.textContent = before; }, 1500);
});
