// Brings a page to life: keeps its parts fresh, tells times in the reader's zone, sends orders.
// Everything it shows came from the server as HTML; nothing that a job wrote is ever made into HTML here.

const EVERY = 3000; // milliseconds between two looks
const said = document.getElementById("said");
let isBusy = false;

function pad(number) {
  return String(number).padStart(2, "0");
}

function brief(seconds) {
  const whole = Math.round(Math.abs(seconds));
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${pad(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h${pad(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d${Math.floor((whole % 86400) / 3600)}h`;
}

function clock(date) {
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return Math.abs(Date.now() - date) < 86400000 ? time : `${day} ${time}`;
}

// Times stand in UTC for those without script; here they become the reader's own, with how far away they are.
function tellTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const date = new Date(element.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const seconds = (date - Date.now()) / 1000;
    if (element.classList.contains("since")) {
      element.textContent = brief(seconds);
    } else {
      element.textContent = `${clock(date)} (${seconds >= 0 ? "in " : ""}${brief(seconds)}${seconds < 0 ? " ago" : ""})`;
    }
    element.title = element.dateTime;
  }
}

function prepare(root) {
  for (const element of root.querySelectorAll(".orders")) element.hidden = false;
  tellTimes(root);
}

function say(text, kind) {
  said.textContent = text;
  said.className = `notice ${kind}`;
  said.hidden = false;
}

function keyOf(element) {
  return element && element.dataset && element.dataset.order ? `${element.dataset.order} ${element.dataset.job}` : null;
}

async function refresh() {
  if (isBusy || document.hidden) return;
  isBusy = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const focused = keyOf(document.activeElement);
    for (const old of document.querySelectorAll("[data-live]")) {
      const part = fresh.getElementById(old.id);
      if (!part) continue;
      prepare(part);
      old.replaceChildren(...part.childNodes);
    }
    if (focused) {
      const again = [...document.querySelectorAll("button[data-order]")].find((button) => keyOf(button) === focused);
      if (again) again.focus();
    }
    if (said.classList.contains("offline")) said.hidden = true;
  } catch (error) {
    say(`This page is not fresh: ${error.message}.`, "bad offline");
  } finally {
    isBusy = false;
  }
}

async function order(button) {
  const { order: verb, job } = button.dataset;
  button.disabled = true;
  try {
    const answer = await fetch(`/v1/jobs/${encodeURIComponent(job)}/${verb}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Schedulerd-User": "web" },
      body: "{}",
    });
    const found = await answer.json();
    if (!answer.ok) say(found.detail || `the server answered ${answer.status}`, "bad");
    else if (verb === "trigger") say(`${found.outcome} ${found.run_id || ""}`, "good");
    else say(`${verb === "pause" ? "paused" : "resumed"} ${job}`, "good");
  } catch (error) {
    say(`${job}: ${error.message}`, "bad");
  }
  button.disabled = false;
  await refresh();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-order]");
  if (button) order(button);
});
document.addEventListener("keydown", (event) => {
  const field = document.querySelector(".filter input");
  if (event.key === "/" && field && !event.target.closest("input, select, textarea")) {
    event.preventDefault();
    field.focus();
  }
});
document.addEventListener("visibilitychange", refresh);
prepare(document);
setInterval(refresh, EVERY);
setInterval(() => tellTimes(document), 1000);
