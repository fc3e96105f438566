"use strict";
// Shows the progress of a run, and its result once it has ended. Without this script the page reloads itself.
(() => {
  const place = document.getElementById("progress");
  const EVERY_MS = 700;
  const LONGEST_MS = 10000;
  let pause = EVERY_MS;

  async function look() {
    try {
      const answer = await fetch(place.dataset.source, { redirect: "error" });
      if (answer.status === 204 || answer.status === 404) {
        location.reload();
        return;
      }
      if (answer.ok) {
        place.innerHTML = await answer.text();
        pause = EVERY_MS;
      } else {
        pause = Math.min(pause * 2, LONGEST_MS);
      }
    } catch {
      // The daemon may be restarting, or the session has ended: a reload shows which.
      pause = Math.min(pause * 2, LONGEST_MS);
      if (pause === LONGEST_MS) {
        location.reload();
        return;
      }
    }
    setTimeout(look, pause);
  }

  setTimeout(look, EVERY_MS);
})();
