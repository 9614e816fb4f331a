// A key presses the button that names it, unless somebody is typing.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const typing = event.target.closest("input, select, textarea");
  if (typing) return;
  const button = document.querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
  if (button === null) return;
  event.preventDefault();
  button.click();
});

// A form is sent once, so that a second press does not decide on the next candidate unseen.
for (const form of document.querySelectorAll('form[method="post"]')) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});
