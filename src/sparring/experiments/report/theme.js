// Before anything is painted: the reader's own choice, else that of the system.
function chosenTheme() {
  let kept = null;
  try { kept = localStorage.getItem("sparring-theme"); } catch { /* files may have no storage */ }
  return kept ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}
document.documentElement.dataset.theme = chosenTheme();
