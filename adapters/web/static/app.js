// What the page does by itself: Enter sends, the newest message stays in view, times are local, refusals are shown.
(function () {
  "use strict";
  const entries = document.getElementById("entries");
  const composer = document.getElementById("composer");
  const text = composer.elements.text;
  const files = composer.elements.files;
  const refusal = document.getElementById("refusal");
  const SILENT = "Threadbox does not answer. Is it running?";
  const HIDDEN_MS = 2000;

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

  // a browser opens six connections to a host, and each page that listens holds one: those that nobody looks at let go
  let source = null;
  let hiding = 0;
  htmx.createEventSource = (url) => {
    if (source) source.close();
    source = new EventSource(url);
    if (document.hidden) source.close();
    return source;
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (!source) return;
    if (document.hidden) hiding = setTimeout(() => source.close(), HIDDEN_MS);
    // as after a lost connection, the extension opens another one, which begins with a snapshot
    else if (source.readyState === EventSource.CLOSED) source.onerror(new Event("error"));
  });

  // an EventSource cannot read why it was refused
  let unheard = false;
  document.body.addEventListener("htmx:sseError", async (event) => {
    if (event.detail.source.readyState !== EventSource.CLOSED || event.detail.error.isTrusted === false) return;
    const stop = new AbortController();
    try {
      const answer = await fetch(event.detail.source.url, { signal: stop.signal });
      if (!answer.ok) refuse(await answer.text());
    } catch {
      refuse(SILENT);
    }
    unheard = true;
    stop.abort();
  });
  document.body.addEventListener("htmx:sseOpen", () => {
    if (unheard) refuse("");
    unheard = false;
  });

  // notes are in no snapshot: each stays behind what it came after
  document.body.addEventListener("htmx:sseBeforeMessage", (event) => {
    if (event.detail.type !== "snapshot") return;
    const notes = Array.from(entries.querySelectorAll(".note"), (note) => {
      let before = note.previousElementSibling;
      while (before && !before.id) before = before.previousElementSibling;
      return { note, after: before ? before.id : "" };
    });
    entries.addEventListener("htmx:sseMessage", () => {
      for (const { note, after } of notes.reverse()) {
        const place = document.getElementById(after);
        if (place) place.after(note);
        else entries.append(note);
      }
    }, { once: true });
  });
})();
