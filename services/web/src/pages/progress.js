// Keeps the numbers of a page that shows a job as they are, until the job has ended.
"use strict";

const numbers = document.querySelector("[data-live]");

async function refresh() {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "application/json" } });
    if (answer.ok) {
      const now = await answer.json();
      if (now.result === "done" || ("unknown" in now && !document.querySelector("[data-number=unknown]"))) {
        // The page says more then than its numbers.
        location.reload();
        return;
      }
      for (const element of document.querySelectorAll("[data-number]")) {
        const text = Number(now[element.dataset.number] ?? 0).toLocaleString("en-US");
        // What has not changed is not read out again.
        if (element.textContent !== text) element.textContent = text;
      }
      const bar = document.querySelector("progress");
      bar.max = Math.max(now.data_in, 1);
      bar.value = now.data_out + now.errors + (now.unknown ?? 0);
    }
  } catch {
    // The server is away for a moment: the next look may reach it.
  }
  setTimeout(refresh, 2000);
}

if (numbers) setTimeout(refresh, 1000);
