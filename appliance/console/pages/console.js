"use strict";
// What the pages do better with a script, and also do without: new decisions come by
// themselves, and what is to be copied has a button for it.

const live = document.querySelector("tbody[data-live]");
if (live) {
  const most = Number(live.dataset.most);
  const says = document.getElementById("live");
  let missed = 0;
  const say = (text) => { if (says.textContent !== text) says.textContent = text; };
  const well = () => say(missed ? "New decisions come by themselves; " + missed + " came too fast and were left out." : "New decisions come by themselves.");
  const source = new EventSource(live.dataset.live);
  source.onopen = well;
  source.onerror = () => {
    say(source.readyState === EventSource.CLOSED ? "No new decisions come: the gate refused it. Load the page again." : "The gate does not answer; it is tried again.");
  };
  source.addEventListener("missed", (e) => { missed += Number(e.data); well(); });
  source.addEventListener("decision", (e) => {
    live.querySelector("tr.none")?.remove();
    live.insertAdjacentHTML("afterbegin", e.data);
    offer(live.firstElementChild);
    while (live.rows.length > most) live.lastElementChild.remove();
    behind();
  });
}

// behind has the link to older decisions begin behind the last row that is left.
function behind() {
  const older = document.querySelector(".pages a[rel=next]"), last = live.lastElementChild?.querySelector("a[title]");
  if (!older || !last) return;
  const to = new URL(older.href);
  to.searchParams.set("before", last.title);
  older.href = to.href;
}

// offer puts a button before each text that is to be copied.
function offer(within) {
  for (const text of within.querySelectorAll("pre.copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "copy";
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(text);
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "copied";
      } catch { // the browser gives the clipboard only to https and to this machine
        button.textContent = document.execCommand("copy") ? "copied" : "selected: press Ctrl+C";
      }
    });
    text.before(button);
  }
}
offer(document);
