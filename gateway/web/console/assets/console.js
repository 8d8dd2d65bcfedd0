// Every page: the theme, times in the browser's zone, messages that open when they are asked for, the live list.
import { follow } from "./live.js";

const root = document.documentElement;
const theme = document.getElementById("theme");

function kept() {
  try { return localStorage.getItem("theme") } catch { return null }
}

if (kept()) root.dataset.theme = kept();

if (theme) {
  theme.hidden = false;
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { theme.textContent = dark() ? "Light" : "Dark" };
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme) } catch { /* for this page only */ }
    name();
  });
  name();
}

for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  time.title = time.textContent;
  time.textContent = at.toLocaleString([], { dateStyle: "short", timeStyle: "medium" });
}

function open(hash) {
  const message = hash.startsWith("#m") ? document.getElementById(hash.slice(1)) : null;
  if (!(message instanceof HTMLDetailsElement)) return;
  message.open = true;
  message.scrollIntoView({ block: "nearest" });
  message.querySelector("summary").focus();
}

addEventListener("hashchange", () => open(location.hash));
open(location.hash);
for (const link of document.querySelectorAll(".ladder a")) {
  link.addEventListener("click", () => open(link.getAttribute("href")));
}

const live = document.getElementById("live");
if (live) follow(live);
