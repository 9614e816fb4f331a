// Type-ahead for fields of names: the combobox pattern of the ARIA Authoring Practices.
const WAIT = 80; // milliseconds after the last key

class Combobox {
  constructor(input) {
    this.input = input;
    this.list = document.createElement("ul");
    this.list.id = `${input.id}-names`;
    this.list.className = "names";
    this.list.hidden = true;
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", input.labels[0]?.textContent ?? "Names");
    input.after(this.list);
    this.status = document.createElement("span");
    this.status.className = "unseen";
    this.status.setAttribute("role", "status");
    this.list.after(this.status);
    input.setAttribute("role", "combobox");
    input.setAttribute("aria-autocomplete", "list");
    input.setAttribute("aria-expanded", "false");
    input.setAttribute("aria-controls", this.list.id);
    this.chosen = -1;
    input.addEventListener("input", () => this.later());
    input.addEventListener("keydown", (event) => this.key(event));
    input.addEventListener("blur", () => this.close());
    this.list.addEventListener("mousedown", (event) => {
      event.preventDefault();
      const option = event.target.closest("[role=option]");
      if (option) this.take(option);
    });
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.search(), WAIT);
  }

  async search() {
    const text = this.input.value;
    this.request?.abort();
    this.request = new AbortController();
    const query = new URLSearchParams({ q: text.slice(0, 200), kind: this.input.dataset.kind });
    try {
      const answer = await fetch(`/api/v1/labels?${query}`, { signal: this.request.signal });
      if (answer.ok && document.activeElement === this.input) this.show(await answer.json());
    } catch (error) {
      if (error.name !== "AbortError") this.close();
    }
  }

  show(names) {
    this.list.replaceChildren(...names.map((found, place) => this.option(found, place)));
    this.chosen = -1;
    this.input.removeAttribute("aria-activedescendant");
    this.list.hidden = names.length === 0;
    this.input.setAttribute("aria-expanded", String(names.length > 0));
    this.status.textContent = names.length ? `${names.length} names` : "no name matches";
  }

  option(found, place) {
    const option = document.createElement("li");
    option.id = `${this.list.id}-${place}`;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    option.dataset.text = found.text;
    const label = document.createElement("bdi");
    label.dir = "auto";
    label.textContent = found.label || found.name;
    option.append(label);
    if (found.name !== found.label) {
      const name = document.createElement("bdi");
      name.dir = "auto";
      name.className = "quiet";
      name.textContent = found.name;
      option.append(" ", name);
    }
    return option;
  }

  key(event) {
    const options = [...this.list.children];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.list.hidden) return this.search();
      const step = event.key === "ArrowDown" ? 1 : -1;
      const first = step > 0 ? 0 : options.length - 1;
      const next = this.chosen < 0 ? first : this.chosen + step;
      this.mark(options, (next + options.length) % options.length);
    } else if (event.key === "Enter" && !this.list.hidden && this.chosen >= 0) {
      event.preventDefault();
      this.take(options[this.chosen]);
    } else if (event.key === "Escape" && !this.list.hidden) {
      event.preventDefault();
      this.close();
    }
  }

  mark(options, place) {
    options[this.chosen]?.setAttribute("aria-selected", "false");
    this.chosen = place;
    options[place].setAttribute("aria-selected", "true");
    options[place].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", options[place].id);
  }

  take(option) {
    this.input.value = option.dataset.text;
    this.close();
  }

  close() {
    clearTimeout(this.timer);
    this.request?.abort();
    this.list.hidden = true;
    this.chosen = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }
}

for (const input of document.querySelectorAll("input[data-kind]")) new Combobox(input);
