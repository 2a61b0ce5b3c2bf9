// What the pages gain with a script; without it every page works, but for the Copy buttons, which stay hidden.
"use strict";

const announce = (text) => {
  document.getElementById("announcement").textContent = text;
};

async function copy(field) {
  const text = field.value ?? field.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // There is no clipboard for scripts on plain HTTP, nor where the reader forbids it.
    if (field.select) field.select();
    else getSelection().selectAllChildren(field);
    if (!document.execCommand("copy")) throw new Error("not copied");
  }
}

for (const button of document.querySelectorAll("[data-copy]")) {
  const label = button.firstChild;
  const words = label.data;
  let timer;
  const say = (short, long) => {
    label.data = short;
    announce(long);
    clearTimeout(timer);
    timer = setTimeout(() => {
      label.data = words;
      announce("");
    }, 2500);
  };
  button.addEventListener("click", () => {
    copy(document.getElementById(button.dataset.copy)).then(
      () => say("Copied", "Copied"),
      () => say("Press Ctrl+C", "Not copied. The text is selected: press Control C."),
    );
  });
  button.hidden = false;
}

async function openDialog(link) {
  const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
  // A redirect leads to a page that wants to be seen, such as the sign-in.
  if (!answer.ok || answer.redirected) throw new Error("no dialog");
  if (document.querySelector("dialog")) return; // the second of two quick clicks
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const content = document.importNode(page.querySelector("[data-dialog-content]"), true);
  const title = document.createElement("h2"); // the page has its h1 already
  title.id = "dialog-title";
  title.append(...content.querySelector("h1").childNodes);
  content.querySelector("h1").replaceWith(title);

  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", title.id);
  dialog.append(content);
  dialog.addEventListener("click", (event) => {
    if (!event.target.closest("[data-dialog-close]")) return;
    event.preventDefault();
    dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    link.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}

for (const link of document.querySelectorAll("a[data-dialog]")) {
  link.addEventListener("click", (event) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    openDialog(link).catch(() => location.assign(link.href));
  });
}
