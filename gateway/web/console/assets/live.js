// The list of live calls, kept up to date by server-sent events: rows that are new, changed or gone.

const states = { talking: "talking", ringing: "ringing", waiting: "waiting", routing: "routing", voicemail: "voicemail" };

function cells(row) {
  return {
    2: row.carrier,
    3: row.caller || "withheld",
    4: row.number,
    5: `${row.position}/${row.planned} ${row.destination}`,
    7: row.mos === null ? "–" : row.mos.toFixed(1),
  };
}

function read([id, state, began, carrier, caller, number, position, planned, destination, mos]) {
  return { id, state, began, carrier, caller, number, position, planned, destination, mos };
}

function length(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const part = (value) => String(Math.floor(value)).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${part(seconds % 60)}`;
  return `${Math.floor(minutes / 60)}:${part(minutes % 60)}:${part(seconds % 60)}`;
}

function make(row) {
  const line = document.createElement("tr");
  line.dataset.id = row.id;
  line.dataset.began = row.began;
  line.className = "fresh";
  const head = document.createElement("th");
  head.scope = "row";
  const link = document.createElement("a");
  link.href = `/console/calls/${encodeURIComponent(row.id)}`;
  link.textContent = row.id.slice(0, 8);
  head.append(link);
  line.append(head);
  for (let index = 1; index < 8; index += 1) {
    const cell = document.createElement("td");
    if (index > 5) cell.className = "number";
    line.append(cell);
  }
  const badge = document.createElement("span");
  line.cells[1].append(badge);
  return line;
}

function fill(line, row) {
  const badge = line.cells[1].firstElementChild;
  badge.className = `badge ${states[row.state] ?? "other"}`;
  badge.textContent = row.state;
  for (const [index, text] of Object.entries(cells(row))) {
    if (line.cells[index].textContent !== text) line.cells[index].textContent = text;
  }
}

export function follow(table) {
  const body = table.tBodies[0];
  const lines = new Map([...body.rows].map((line) => [line.dataset.id, line]));
  const feed = document.getElementById("feed");
  const total = document.getElementById("total");
  const none = document.getElementById("none");

  function tick() {
    const now = Date.now() / 1000;
    for (const line of lines.values()) {
      line.cells[6].textContent = length(Math.max(0, now - Number(line.dataset.began)));
    }
  }

  const events = new EventSource(table.dataset.feed);
  let fresh = true;
  events.addEventListener("open", () => { feed.textContent = "Live."; fresh = true; });
  events.addEventListener("error", () => {
    feed.textContent = events.readyState === EventSource.CLOSED
      ? "Not live any more: load the page again." : "The gateway does not answer; trying again.";
  });
  events.addEventListener("message", (event) => {
    const told = JSON.parse(event.data);
    if (fresh) {  // the first message has every call: what it does not name is over
      const named = new Set(told.rows.map((row) => row[0]));
      for (const id of [...lines.keys()]) if (!named.has(id)) told.gone.push(id);
      fresh = false;
    }
    for (const id of told.gone) {
      lines.get(id)?.remove();
      lines.delete(id);
    }
    for (const row of told.rows.map(read).reverse()) {
      let line = lines.get(row.id);
      if (!line) {
        line = make(row);
        lines.set(row.id, line);
        body.prepend(line);
      }
      fill(line, row);
    }
    total.textContent = told.total;
    none.hidden = lines.size > 0;
    tick();
  });
  setInterval(tick, 1000);
  tick();
}
