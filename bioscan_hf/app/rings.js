// Tells which taxon was clicked, and shows the name under the pointer in the line below.
function say(text) {
  const hint = element.querySelector(".hint");
  if (hint) hint.textContent = text ?? hint.dataset.usual;
}

element.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-path]");
  if (chosen) trigger("ring", { path: JSON.parse(chosen.dataset.path) });
});
element.addEventListener("pointerover", (event) => say(event.target.closest("[data-label]")?.dataset.label));
element.addEventListener("pointerleave", () => say());
