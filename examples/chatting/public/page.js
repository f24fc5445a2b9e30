// Follow the system's light or dark until the reader chooses.
if (!localStorage.getItem("vite-ui-theme")) localStorage.setItem("vite-ui-theme", "system");

// Chainlit's icons have no names, and its answers are not announced to screen readers.
const names = {
  "#chat-input": "Your question",
  "#upload-button": "Attach files",
  "#upload-button-loading": "Attach files",
  "#chat-submit": "Send",
  "#stop-button": "Stop",
  "#new-chat-button": "New chat",
  "#side-view-title button": "Close the passages",
  "button:has(> svg.lucide-copy)": "Copy the answer",
  "button:has(> svg.lucide-arrow-down)": "Scroll to the end",
};

function describe() {
  for (const [selector, name] of Object.entries(names))
    for (const element of document.querySelectorAll(selector))
      element.setAttribute("aria-label", name);
  for (const picker of document.querySelectorAll("[id^=mode-picker-trigger]"))
    picker.setAttribute("aria-label", `Search in: ${picker.innerText}`);
  for (const link of document.querySelectorAll(".element-link")) {
    link.setAttribute("role", "button");
    link.setAttribute("aria-label", `Show passage ${link.innerText}`);
  }
  const messages = document.querySelector("[data-step-type]")?.parentElement;
  messages?.setAttribute("role", "log");
  document.querySelector("aside")?.setAttribute("aria-label", "Passages");
}

new MutationObserver(describe).observe(document, { childList: true, subtree: true });

// A passage that a citation opens takes the focus, and gives it back when it is closed.
let opener;
document.addEventListener("click", ({ target }) => {
  const link = target.closest(".element-link");
  if (link) {
    opener = link;
    setTimeout(() => document.querySelector("#side-view-title button")?.focus());
  } else if (target.closest("#side-view-title button")) {
    setTimeout(() => opener?.focus());
  }
});
