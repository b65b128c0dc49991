// What the page does by itself: Enter sends, the newest message stays in view, times are local, refusals are shown.
(function () {
  "use strict";
  const entries = document.getElementById("entries");
  const composer = document.getElementById("composer");
  const text = composer.elements.text;
  const files = composer.elements.files;
  const refusal = document.getElementById("refusal");
  const SILENT = "Threadbox does not answer. Is it running?";

  function localTimes() {
    for (const time of document.querySelectorAll("time[datetime]:empty")) {
      const moment = new Date(time.getAttribute("datetime"));
      time.textContent = moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      time.title = moment.toLocaleString();
    }
  }

  function grow() {
    text.rows = Math.min(12, text.value.split("\n").length);
  }

  function working() {
    const stop = document.getElementById("stop");
    if (stop) stop.hidden = !entries.querySelector(".status.working, .status.queued");
  }

  let follow = true;
  entries.addEventListener("scroll", () => {
    follow = entries.scrollHeight - entries.scrollTop - entries.clientHeight < 120;
  });

  function changed() {
    localTimes();
    working();
    if (follow && document.body.classList.contains("in-thread")) entries.scrollTop = entries.scrollHeight;
  }

  new MutationObserver(changed).observe(entries, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });
  entries.addEventListener("load", changed, true);
  changed();
  grow();
  text.setSelectionRange(text.value.length, text.value.length);

  text.addEventListener("input", grow);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      composer.requestSubmit();
    }
  });
  function chosen() {
    document.getElementById("chosen").textContent = Array.from(files.files, (file) => file.name).join(", ");
  }
  files.addEventListener("change", chosen);

  // what came between a snapshot and the first update is in both: the newer one stays
  document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
    for (const element of event.detail.fragment.querySelectorAll("article[id]")) {
      const old = document.getElementById(element.id);
      if (old && event.detail.target === entries) old.remove();
    }
  });

  function refuse(words) {
    refusal.textContent = words;
    refusal.hidden = !words;
  }

  let sent = { text: "", files: null };

  composer.addEventListener("htmx:beforeRequest", (event) => {
    if (text.value.trim() || files.files.length) sent = { text: text.value, files: files.files };
    else event.preventDefault();
  });

  // what was typed or chosen while a message went up is the next one's
  function clear() {
    if (text.value.startsWith(sent.text)) text.value = text.value.slice(sent.text.length).trimStart() || text.defaultValue;
    if (files.files === sent.files) files.value = "";
    chosen();
    follow = true;
    grow();
  }

  document.body.addEventListener("htmx:afterRequest", (event) => {
    const request = event.detail.xhr;
    if (!event.detail.successful) {
      refuse(request && request.responseText ? request.responseText : SILENT);
    } else {
      refuse("");
      if (event.detail.elt === composer) clear();
    }
  });
})();
